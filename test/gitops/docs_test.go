package gitops

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readPages returns the text of README.md and of all pages below docs but the decisions, by their path from the root.
func readPages(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	add := func(path string) error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root(t), path)
		pages[name] = string(text)
		return err
	}
	err := filepath.WalkDir(filepath.Join(root(t), "docs"), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "adr":
			return fs.SkipDir
		case filepath.Ext(path) == ".md":
			return add(path)
		}
		return nil
	})
	if err == nil {
		err = add(filepath.Join(root(t), "README.md"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

var fence = regexp.MustCompile("(?ms)^( *)```(\\w*)\n(.*?)^ *```")

// blocks returns the fenced blocks of a language, without the indentation that a list gives them. The empty one is a language too.
func blocks(text, language string) []string {
	var found []string
	for _, match := range fence.FindAllStringSubmatch(text, -1) {
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
