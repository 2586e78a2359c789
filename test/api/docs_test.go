package api

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/test/env"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// What a person copies from a page must work as it stands.
func TestExamplesInTheDocumentationAreAccepted(t *testing.T) {
	cp := installed(t)
	c, namespace := admin(t, cp), cp.NewNamespace(t, "docs")
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs", "spec", "v1alpha1", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
			for document := range strings.SplitSeq(block[1], "\n---\n") {
				// Parts of objects, and the abridged ScheduleSet, are for reading.
				if !strings.HasPrefix(document, "apiVersion:") || strings.Contains(document, "…") {
					continue
				}
				o := object(t, namespace, document)
				seen[o.GetKind()] = true
				if err := c.Create(t.Context(), o, client.DryRunAll, client.FieldValidation("Strict")); err != nil {
					t.Errorf("%s: %s: %v", filepath.Base(page), o.GetKind(), err)
				}
			}
		}
	}
	for _, kind := range []string{"Host", "SourceGroup", "Schedule", "RepoMaintenance", "HostJob"} {
		if !seen[kind] {
			t.Errorf("no page has an example of a %s", kind)
		}
	}
}

// Every reason and condition type of the API has a line somewhere in its pages.
func TestEveryConditionAndReasonIsDocumented(t *testing.T) {
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(root, "api", "v1alpha1", "conditions.go"))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs", "spec", "v1alpha1", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, page := range pages {
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(content)
	}
	constants := regexp.MustCompile(`(?m)^\s*(?:Condition|Reason)\w+\s*=\s*"(\w+)"`).FindAllStringSubmatch(string(source), -1)
	if len(constants) < 40 {
		t.Fatalf("found %d conditions and reasons in conditions.go, expected more", len(constants))
	}
	for _, constant := range constants {
		if !strings.Contains(text.String(), "`"+constant[1]+"`") {
			t.Errorf("%s is in no page of docs/spec/v1alpha1", constant[1])
		}
	}
}
