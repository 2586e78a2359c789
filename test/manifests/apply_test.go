package manifests

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/test/env"
	"sigs.k8s.io/yaml"
)

// sample is one object of config/samples, moved into the test's namespace.
type sample struct {
	file   string
	object map[string]any
}

func (s sample) kind() string { kind, _ := s.object["kind"].(string); return kind }

func (s sample) metadata() map[string]any {
	metadata, _ := s.object["metadata"].(map[string]any)
	return metadata
}

// verb is create for an object whose name the API server is to find: apply needs a name.
func (s sample) verb() string {
	if s.metadata()["name"] == nil {
		return "create"
	}
	return "apply"
}

func readSamples(t *testing.T, namespace string) []sample {
	t.Helper()
	var samples []sample
	for _, file := range files(t, "config", "samples") {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		for _, object := range documents(t, file) {
			s := sample{filepath.Base(file), object}
			if s.kind() == "Namespace" {
				continue
			}
			if s.metadata() == nil {
				t.Fatalf("%s: a %s without metadata", s.file, s.kind())
			}
			s.metadata()["namespace"] = namespace
			samples = append(samples, s)
		}
	}
	return samples
}

func TestSamplesApply(t *testing.T) {
	cp := env.Shared(t)
	namespace := cp.NewNamespace(t, "samples")
	samples := readSamples(t, namespace)

	seen := map[string]bool{}
	for _, s := range samples {
		seen[s.kind()] = true
	}
	for kind, written := range kinds {
		if written && !seen[kind] {
			t.Errorf("config/samples has no %s", kind)
		}
	}

	run := func(s sample, args ...string) (string, error) {
		manifest, err := yaml.Marshal(s.object)
		if err != nil {
			t.Fatal(err)
		}
		// Strict: an unknown field is an error, as for a person who applies the file.
		args = append([]string{s.verb(), "-f", "-", "--validate=strict", "-o", "yaml"}, args...)
		return cp.KubectlInput(t.Context(), cp.AdminKubeconfig, string(manifest), args...)
	}
	for _, s := range samples {
		if _, err := run(s, "--dry-run=server"); err != nil {
			t.Errorf("%s: dry run: %v", s.file, err)
			continue
		}
		out, err := run(s)
		if err != nil {
			t.Errorf("%s: %v", s.file, err)
			continue
		}
		if _, ours := kinds[s.kind()]; ours {
			expectNotCurrent(t, s, out)
		}
	}
}

// expectNotCurrent looks at an object that no controller has seen: tools that wait for it must not take it for done.
func expectNotCurrent(t *testing.T, s sample, manifest string) {
	t.Helper()
	var object struct {
		Status struct{ ObservedGeneration *int64 }
	}
	if err := yaml.Unmarshal([]byte(manifest), &object); err != nil {
		t.Fatal(err)
	}
	if observed := object.Status.ObservedGeneration; observed == nil || *observed != -1 {
		t.Errorf("%s: a new %s has no status.observedGeneration -1", s.file, s.kind())
	}
}

func TestDefaultInstallationApplies(t *testing.T) {
	cp := env.Shared(t)
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(root, "config", "default")
	t.Logf("applying %s twice", folder)
	for _, want := range []string{"serverside-applied", "serverside-applied"} {
		out, err := cp.Kubectl(t.Context(), "apply", "--server-side", "-k", folder)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out) {
			if !strings.Contains(line, want) {
				t.Errorf("kubectl apply -k config/default: %s", strings.TrimSpace(line))
			}
		}
	}
}
