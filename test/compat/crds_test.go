package compat

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const bases = "../../config/crd/bases"

// newest is the folder of the last release.
func newest(t *testing.T, parent string) string {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(parent, "v*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("%s holds no version, %v", parent, err)
	}
	return slices.MaxFunc(folders, func(a, b string) int {
		return slices.CompareFunc(numbers(a), numbers(b), cmp.Compare[int])
	})
}

func numbers(folder string) []int {
	var all []int
	for part := range strings.SplitSeq(strings.TrimPrefix(filepath.Base(folder), "v"), ".") {
		n, _ := strconv.Atoi(part)
		all = append(all, n)
	}
	return all
}

func TestCRDsAreCompatibleWithTheLastRelease(t *testing.T) {
	release := newest(t, "crds")
	raw, err := os.ReadFile("accepted.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var accepted []Change
	if err := yaml.UnmarshalStrict(raw, &accepted); err != nil {
		t.Fatalf("accepted.yaml: %v", err)
	}
	found, err := Compare(release, bases)
	if err != nil {
		t.Fatal(err)
	}
	refused, idle := Judge(found, accepted)
	for _, c := range refused {
		t.Errorf("incompatible with %s, so objects or tools of its users may stop to work; if it is right all the same, say why in test/compat/accepted.yaml:\n%s", release, c)
	}
	for _, c := range idle {
		t.Errorf("accepted.yaml accepts what is no change, or says no why: %s %s %s %s", c.CRD, c.Version, c.Path, c.Check)
	}
}

func TestIncompatibleChangesAreFound(t *testing.T) {
	const schedules = "backup.restic-manager.io_schedules.yaml"
	const hosts = "backup.restic-manager.io_hosts.yaml"
	for _, tt := range []struct {
		name, file, old, new string
		want                 string // path and check; empty: compatible
	}{
		{"a description", schedules, "description: ", "description: In other words, ", ""},
		{"a removed version", schedules, "    served: true", "    served: false", "VersionRemoved"},
		{"another scope", schedules, "scope: Namespaced", "scope: Cluster", "scope"},
		{"another type", schedules, "jitter:\n", "jitter:\n                x-kubernetes-preserve-unknown-fields: true\n", "^.spec.jitter unhandled"},
		{"a removed field", schedules, "              jitter:\n", "              jitters:\n", "existingFieldRemoval"},
		{"a new required field", schedules, "            - cron\n", "            - cron\n            - jitter\n", "^.spec required"},
		{"narrower bounds", hosts, "maxLength: 2048", "maxLength: 1", "maxLength"},
		{"a new CEL rule", schedules, "            required:\n            - cron\n", "            x-kubernetes-validations:\n            - rule: self.cron != ''\n            required:\n            - cron\n", "^.spec unhandled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			after := t.TempDir()
			if err := os.CopyFS(after, os.DirFS(bases)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(after, tt.file)
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(raw), tt.old, tt.new, 1)
			if changed == string(raw) {
				t.Fatalf("%s does not hold %q", tt.file, tt.old)
			}
			if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			found, err := Compare(bases, after)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				if len(found) > 0 {
					t.Errorf("found %v", found)
				}
				return
			}
			if !slices.ContainsFunc(found, func(c Change) bool { return strings.Contains(fmt.Sprint(c.Path, " ", c.Check), tt.want) }) {
				t.Errorf("found %v, want %s", found, tt.want)
			}
			if refused, _ := Judge(found, nil); len(refused) != len(found) {
				t.Error("what nobody accepted passes")
			}
			for i := range found {
				found[i].Why = "a test"
			}
			if refused, idle := Judge(found, found); len(refused)+len(idle) > 0 {
				t.Errorf("what is accepted is refused: %v, %v", refused, idle)
			}
		})
	}
}

func TestAKindThatIsGoneIsFound(t *testing.T) {
	after := t.TempDir()
	if err := os.CopyFS(after, os.DirFS(bases)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(after, "backup.restic-manager.io_hosts.yaml")); err != nil {
		t.Fatal(err)
	}
	found, err := Compare(bases, after)
	if err != nil || len(found) != 1 || found[0].Check != "CRDRemoved" {
		t.Errorf("found %v, %v", found, err)
	}
}

func TestTheNewestVersionIsComparedWith(t *testing.T) {
	parent := t.TempDir()
	for _, v := range []string{"v0.9.0", "v0.10.0", "v0.2.11"} {
		if err := os.Mkdir(filepath.Join(parent, v), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got := filepath.Base(newest(t, parent)); got != "v0.10.0" {
		t.Errorf("it is %s", got)
	}
}
