package manifests

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/test/env"
	agentyaml "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// page is one page of the documentation; its name is the path from the root of the repository.
type page struct{ name, text string }

// readPages returns README.md and all pages below docs, but for the decisions, which are history.
func readPages(t *testing.T) []page {
	t.Helper()
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	files := []string{filepath.Join(root, "README.md")}
	err = filepath.WalkDir(filepath.Join(root, "docs"), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "adr":
			return fs.SkipDir
		case filepath.Ext(path) == ".md":
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var pages []page
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, page{name, string(text)})
	}
	return pages
}

// fence is a fenced block, which in a list is indented.
var fence = regexp.MustCompile("(?ms)^( *)```(\\w*)\n(.*?)^ *```")

// blocks returns the blocks of a language, without their indentation.
func (p page) blocks(language string) []string {
	var found []string
	for _, match := range fence.FindAllStringSubmatch(p.text, -1) {
		if match[2] != language {
			continue
		}
		var block strings.Builder
		for line := range strings.Lines(match[3]) {
			block.WriteString(strings.TrimPrefix(line, match[1]))
		}
		found = append(found, block.String())
	}
	return found
}

// What a person copies from a page must work as it stands.
func TestExamplesInTheDocumentationAreAccepted(t *testing.T) {
	cp := env.Shared(t)
	namespace := cp.NewNamespace(t, "docs")
	seen := map[string]bool{}
	for _, p := range readPages(t) {
		for _, block := range p.blocks("yaml") {
			for document := range strings.SplitSeq(block, "\n---\n") {
				// Parts of objects, and the abridged ScheduleSet, are for reading.
				if !strings.HasPrefix(document, "apiVersion:") || strings.Contains(document, "…") {
					continue
				}
				var object map[string]any
				if err := yaml.UnmarshalStrict([]byte(document), &object); err != nil {
					t.Errorf("%s: %v in\n%s", p.name, err, document)
					continue
				}
				s := sample{p.name, object}
				seen[s.kind()] = true
				if s.metadata() == nil {
					t.Errorf("%s: a %s without metadata", p.name, s.kind())
					continue
				}
				if s.metadata()["namespace"] != nil { // an admission policy has none
					s.metadata()["namespace"] = namespace
				}
				manifest, err := yaml.Marshal(object)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := cp.KubectlInput(t.Context(), cp.AdminKubeconfig, string(manifest), "create", "-f", "-", "--dry-run=server", "--validate=strict"); err != nil {
					t.Errorf("%s: %v in\n%s", p.name, err, document)
				}
			}
		}
	}
	for kind, written := range kinds {
		if written && !seen[kind] {
			t.Errorf("no page has an example of a %s", kind)
		}
	}
}

// Parts of agent.yaml must be understood by the agent.
func TestExamplesOfConsentAreUnderstood(t *testing.T) {
	found := 0
	for _, p := range readPages(t) {
		for _, block := range p.blocks("yaml") {
			if !strings.HasPrefix(block, "allow:") {
				continue
			}
			found++
			var part struct {
				Allow config.Allow `yaml:"allow"`
			}
			decoder := agentyaml.NewDecoder(bytes.NewReader([]byte(block)))
			decoder.KnownFields(true)
			if err := decoder.Decode(&part); err != nil && !errors.Is(err, io.EOF) {
				t.Errorf("%s: %v in\n%s", p.name, err, block)
			}
			if !part.Allow.Hooks.Granted() && !part.Allow.Commands.Granted() {
				t.Errorf("%s: nothing is allowed by\n%s", p.name, block)
			}
		}
	}
	if found == 0 {
		t.Error("no page shows the consent in agent.yaml")
	}
}

// Lines to copy must at least be understood by a shell; what they do is for the people who wrote them to try.
func TestShellExamplesParse(t *testing.T) {
	parsed := 0
	for _, p := range readPages(t) {
		for _, block := range p.blocks("sh") {
			parsed++
			shell := exec.CommandContext(t.Context(), "sh", "-n")
			shell.Stdin = strings.NewReader(block)
			if out, err := shell.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s in\n%s", p.name, err, out, block)
			}
		}
	}
	if parsed == 0 {
		t.Error("no page has a shell example: does the pattern still find them?")
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	noSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the names by which the headings of a page can be linked to, as GitHub makes them.
func (p page) anchors() []string {
	var names []string
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(p.text, ""), -1) {
		names = append(names, strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(match[1]), ""), " ", "-"))
	}
	return names
}

func TestLinksInTheDocumentationLeadSomewhere(t *testing.T) {
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]page{}
	for _, p := range readPages(t) {
		pages[p.name] = p
	}
	checked := 0
	for _, p := range pages {
		for _, match := range link.FindAllStringSubmatch(fence.ReplaceAllString(p.text, ""), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			checked++
			file, anchor, _ := strings.Cut(match[1], "#")
			target := p.name
			if file != "" {
				target = filepath.Join(filepath.Dir(p.name), file)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s, which does not exist", p.name, match[1])
				continue
			}
			if to, isPage := pages[target]; anchor != "" && (!isPage || !slices.Contains(to.anchors(), anchor)) {
				t.Errorf("%s links to %s, where there is no such heading", p.name, match[1])
			}
		}
	}
	if checked < 20 {
		t.Errorf("%d links were checked, expected more: does the pattern still find them?", checked)
	}
}
