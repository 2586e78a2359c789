package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/restic-manager/restic-manager/test/env"
)

func TestTheChartLints(t *testing.T) {
	eachValues(t, func(t *testing.T, file string) {
		if _, err := run(t.Context(), os.DevNull, "", env.Helm, "lint", "--strict", "--values", file, chartFolder(t)); err != nil {
			t.Error(err)
		}
	})
}

// exception is a finding of kube-score that stands, and why.
type exception struct {
	Check  string `json:"check"`
	Only   string `json:"only"` // the values with which it may be found; empty: any
	Reason string `json:"reason"`
}

func TestFindingsOfKubeScoreAreMendedOrExplained(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "exceptions.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var exceptions []exception
	if err := yaml.UnmarshalStrict(data, &exceptions); err != nil {
		t.Fatal(err)
	}
	used := make([]bool, len(exceptions))
	eachValues(t, func(t *testing.T, file string) {
		manifests, err := template(t, "--values", file)
		if err != nil {
			t.Fatal(err)
		}
		// It exits with 1 when there is a finding.
		out, err := run(t.Context(), os.DevNull, manifests, env.KubeScore, "score", "--kubernetes-version=v1.37", "--output-format=json", "-")
		var scored []struct {
			ObjectName string `json:"object_name"`
			Checks     []struct {
				Check    struct{ ID string }
				Grade    int
				Skipped  bool
				Comments []struct{ Path, Summary string }
			}
		}
		if parseErr := json.Unmarshal([]byte(out), &scored); parseErr != nil || len(scored) == 0 {
			t.Fatalf("%v; %v", err, parseErr)
		}
		values := strings.TrimSuffix(filepath.Base(file), "-values.yaml")
		for _, object := range scored {
			for _, c := range object.Checks {
				if c.Skipped || c.Grade > 5 { // 10 is fine, 7 nearly
					continue
				}
				i := slices.IndexFunc(exceptions, func(e exception) bool { return e.Check == c.Check.ID && (e.Only == "" || e.Only == values) })
				if i < 0 {
					t.Errorf("%s: %s: %+v; mend it, or explain it in testdata/exceptions.yaml", object.ObjectName, c.Check.ID, c.Comments)
					continue
				}
				used[i] = true
			}
		}
	})
	for i, e := range exceptions {
		if !used[i] {
			t.Errorf("nothing is found by %s any more: remove the exception", e.Check)
		}
		if len(e.Reason) < 20 {
			t.Errorf("the exception of %s has no reason", e.Check)
		}
	}
}
