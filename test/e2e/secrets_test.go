package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"go.yaml.in/yaml/v3"

	"github.com/restic-manager/restic-manager/test/stack"
)

// arguments collects the arguments of every process that lives while a test runs.
type arguments struct {
	t    *testing.T
	stop context.CancelFunc
	wg   sync.WaitGroup
	seen map[string]bool
}

func watchArguments(t *testing.T) *arguments {
	ctx, cancel := context.WithCancel(t.Context())
	a := &arguments{t: t, stop: cancel, seen: map[string]bool{}}
	look := time.NewTicker(5 * time.Millisecond)
	a.wg.Go(func() {
		defer look.Stop()
		for ctx.Err() == nil {
			<-look.C
			files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, file := range files {
				if raw, err := os.ReadFile(file); err == nil && len(raw) > 0 {
					a.seen[string(raw)] = true
				}
			}
		}
	})
	return a
}

func (a *arguments) stopAndSearch(secrets map[string]string) {
	a.stop()
	a.wg.Wait()
	restic := false
	for line := range a.seen {
		restic = restic || strings.Contains(line, "restic") && strings.Contains(line, "backup")
		for name, secret := range secrets {
			if strings.Contains(line, secret) {
				a.t.Errorf("%s stands in the arguments of a process that begins with %.30q", name, line)
			}
		}
	}
	if !restic {
		a.t.Error("no restic backup was among the processes seen: the search proves nothing")
	}
}

// agentKeys returns the private values of an agent.yaml.
func agentKeys(t *testing.T, a *stack.Agent) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(a.Config)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Identity map[string]string `yaml:"identity"`
	}
	if err := yaml.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	if len(config.Identity) < 2 {
		t.Fatalf("agent.yaml holds %d keys, want two", len(config.Identity))
	}
	keys := map[string]string{}
	for name, value := range config.Identity {
		keys["the machine's "+name] = value
	}
	return keys
}

// controllerKeys returns the values of the Secret with the controllers' keys.
func controllerKeys(t *testing.T, s *stack.Stack, c client.Client) map[string]string {
	t.Helper()
	var secret corev1.Secret
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: stack.Namespace, Name: "restic-manager-signing-key"}, &secret); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for name, value := range secret.Data {
		// A PEM file's lines are what would appear.
		for i, line := range strings.Split(strings.TrimSpace(string(value)), "\n") {
			if !strings.HasPrefix(line, "-----") && len(line) > 20 {
				keys[fmt.Sprintf("the controllers' %s, line %d", name, i)] = line
			}
		}
	}
	if len(keys) == 0 {
		t.Fatal("the controllers have no key")
	}
	return keys
}

func searchFor(t *testing.T, where string, text []byte, secrets map[string]string) {
	t.Helper()
	for name, secret := range secrets {
		if secret == "" {
			t.Fatalf("%s is empty: the search would prove nothing", name)
		}
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s stands in %s", name, where)
		}
	}
}

// searchLogs looks into the logs of all programs.
func searchLogs(t *testing.T, s *stack.Stack, secrets map[string]string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Dir, "logs", "*.log"))
	if err != nil || len(files) < 4 {
		t.Fatalf("found %d logs (%v), want those of controllers, two replicas and an agent", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		searchFor(t, file, raw, secrets)
	}
}

// searchObjects looks into every object of the group and into Events.
func searchObjects(t *testing.T, s *stack.Stack, secrets map[string]string) {
	t.Helper()
	for _, kind := range []string{"hosts", "sourcegroups", "schedules", "repomaintenances", "hostjobs", "hostqueries", "schedulesets", "events", "events.events.k8s.io", "leases", "configmaps"} {
		out, err := s.CP.Kubectl(t.Context(), "get", kind, "-A", "-o", "json")
		if err != nil {
			t.Fatal(err)
		}
		searchFor(t, "the "+kind+" of the cluster", []byte(out), secrets)
	}
}

// searchState looks into the agent's folder: what it must not hold in plain. agent.yaml alone holds the machine's keys.
func searchState(t *testing.T, a *stack.Agent, secrets map[string]string) {
	t.Helper()
	var files []string
	err := filepath.WalkDir(a.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type().IsRegular() && path != a.Config && !strings.HasPrefix(path, filepath.Join(a.Dir, "srv")) && !strings.HasPrefix(path, filepath.Join(a.Dir, "restored")) {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(files, filepath.Join(a.StateDir, "secrets.enc")) {
		t.Errorf("no secrets.enc among %d files: the search proves nothing", len(files))
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		searchFor(t, file, raw, secrets)
	}
}
