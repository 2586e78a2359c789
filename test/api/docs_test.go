package api

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/test/env"
)

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
