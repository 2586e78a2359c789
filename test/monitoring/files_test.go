package monitoring

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"

	"github.com/restic-manager/restic-manager/test/env"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

// path of a file of the repository.
func path(t *testing.T, elements ...string) string {
	t.Helper()
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(append([]string{root}, elements...)...)
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// object is a manifest as kustomize prints it, and its kind and name.
type object struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	manifest []byte
}

// built returns what kubectl kustomize makes of config/monitoring.
func built(t *testing.T) []object {
	t.Helper()
	kubectl, err := env.Binary("", env.Kubectl)
	if err != nil {
		t.Fatal(err)
	}
	// What only a child reads is unknown to the test cache.
	sources, err := filepath.Glob(path(t, "config", "monitoring", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range sources {
		read(t, file)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), kubectl, "kustomize", path(t, "config", "monitoring"))
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kubectl kustomize config/monitoring: %v: %s", err, stderr.Bytes())
	}
	if stderr.Len() > 0 {
		t.Errorf("kubectl kustomize config/monitoring warns: %s", stderr.Bytes())
	}
	var objects []object
	for document := range strings.SplitSeq(string(out), "\n---\n") {
		o := object{manifest: []byte(document)}
		if err := yaml.Unmarshal(o.manifest, &o); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
	return objects
}

// decode reads all objects of a kind strictly: a field that the type does not have is an error.
func decode[T any](t *testing.T, objects []object, kind string) map[string]T {
	t.Helper()
	found := map[string]T{}
	for _, o := range objects {
		if o.Kind != kind {
			continue
		}
		var value T
		if err := yaml.UnmarshalStrict(o.manifest, &value); err != nil {
			t.Fatalf("%s %s: %v", kind, o.Metadata.Name, err)
		}
		found[o.Metadata.Name] = value
	}
	if len(found) == 0 {
		t.Fatalf("config/monitoring has no %s", kind)
	}
	return found
}

// groups returns the groups of the PrometheusRule.
func groups(t *testing.T) []monitoringv1.RuleGroup {
	t.Helper()
	var all []monitoringv1.RuleGroup
	for _, rule := range decode[monitoringv1.PrometheusRule](t, built(t), "PrometheusRule") {
		all = append(all, rule.Spec.Groups...)
	}
	return all
}

// alerts returns all alerts in the order of the file.
func alerts(t *testing.T) []monitoringv1.Rule {
	t.Helper()
	var all []monitoringv1.Rule
	for _, group := range groups(t) {
		all = append(all, group.Rules...)
	}
	return all
}

// writeRules writes groups as a file that Prometheus reads.
func writeRules(t *testing.T, file string, groups []monitoringv1.RuleGroup) {
	t.Helper()
	text, err := yaml.Marshal(map[string]any{"groups": groups})
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(text))
}

// promtool runs promtool and returns what it says.
func promtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	binary, err := env.Binary("", env.Promtool)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
	return string(out), err
}

// board is what the tests look at in the dashboard.
type board struct {
	Title      string `json:"title"`
	UID        string `json:"uid"`
	Templating struct {
		List []struct {
			Name  string          `json:"name"`
			Query json.RawMessage `json:"query"`
		} `json:"list"`
	} `json:"templating"`
	Panels []struct {
		ID      int    `json:"id"`
		Type    string `json:"type"`
		Title   string `json:"title"`
		GridPos struct {
			X, Y, W, H int
		} `json:"gridPos"`
		Targets []struct {
			RefID string `json:"refId"`
			Expr  string `json:"expr"`
		} `json:"targets"`
	} `json:"panels"`
}

func dashboardFile(t *testing.T) string { return path(t, "config", "monitoring", "dashboard.json") }

func readBoard(t *testing.T) board {
	t.Helper()
	var b board
	if err := json.Unmarshal([]byte(read(t, dashboardFile(t))), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// expression is one of the dashboard or of the rules, with Grafana's variables replaced.
type expression struct{ of, text string }

var variables = strings.NewReplacer("$namespace", ".*", "$host", ".*", "$__rate_interval", "1m")

func (b board) expressions() []expression {
	var all []expression
	for _, panel := range b.Panels {
		for _, target := range panel.Targets {
			all = append(all, expression{fmt.Sprintf("panel %q, query %s", panel.Title, target.RefID), variables.Replace(target.Expr)})
		}
	}
	return all
}
