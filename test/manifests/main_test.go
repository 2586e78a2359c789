package manifests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/test/env"
	"sigs.k8s.io/yaml"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

// kinds are those of the API, and whether people write them (and so need a sample).
var kinds = map[string]bool{
	"Host":            true,
	"SourceGroup":     true,
	"Schedule":        true,
	"RepoMaintenance": true,
	"HostJob":         true,
	"ScheduleSet":     false,
	"HostQuery":       false, // made with fresh keys for each question
}

// files returns the YAML files of a folder of the repository.
func files(t *testing.T, folder ...string) []string {
	t.Helper()
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(append([]string{root}, folder...)...)
	found, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatalf("no YAML file in %s", dir)
	}
	return found
}

// documents returns the objects in a YAML file.
func documents(t *testing.T, file string) []map[string]any {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var objects []map[string]any
	for document := range strings.SplitSeq("\n"+string(data), "\n---") {
		var object map[string]any
		if err := yaml.UnmarshalStrict([]byte(document), &object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(object) > 0 {
			objects = append(objects, object)
		}
	}
	return objects
}
