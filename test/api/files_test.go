package api

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/restic-manager/restic-manager/test/env"
)

// kinds are those of the API; true for those that people write.
var kinds = map[string]bool{
	"Host":            true,
	"SourceGroup":     true,
	"Schedule":        true,
	"RepoMaintenance": true,
	"HostJob":         true,
	"ScheduleSet":     false,
}

// files lists the YAML files of a folder of the repository.
func files(t *testing.T, folder ...string) []string {
	t.Helper()
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(slices.Concat([]string{root}, folder, []string{"*.yaml"})...))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatalf("no YAML file in %s", filepath.Join(folder...))
	}
	return found
}

// documents parses the objects of a file.
func documents(t *testing.T, file string) []map[string]any {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var objects []map[string]any
	for document := range strings.SplitSeq(string(data), "\n---") {
		object := map[string]any{}
		if err := yaml.UnmarshalStrict([]byte(document), &object); err != nil {
			t.Fatalf("%s: %v", filepath.Base(file), err)
		}
		if len(object) > 0 {
			objects = append(objects, object)
		}
	}
	return objects
}
