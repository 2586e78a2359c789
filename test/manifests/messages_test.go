package manifests

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/test/env"
)

// What docs/troubleshooting.md quotes from the programs must be what they say.
func TestQuotedMessagesAreInTheCode(t *testing.T) {
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, folder := range []string{"agent", "agentgateway", "api", "cmd", "controllers"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			data, err := os.ReadFile(path)
			code.Write(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	// What the platform below says is not ours.
	others := []string{"x509: ", "connection refused`"}
	inTable, quoted := false, 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		switch {
		case len(cells) < 4:
			inTable = false
		case strings.TrimSpace(cells[1]) == "message":
			inTable = true
		case inTable && strings.HasPrefix(strings.TrimSpace(cells[1]), "`"):
			cell := strings.TrimPrefix(strings.TrimSpace(cells[1]), "`")
			if strings.HasPrefix(cell, others[0]) || cell == others[1] {
				continue
			}
			quoted++
			for part := range strings.SplitSeq(strings.TrimSuffix(cell, "`"), "…") {
				if part = strings.TrimSpace(part); !strings.Contains(code.String(), part) {
					t.Errorf("no program says %q", part)
				}
			}
		}
	}
	if quoted < 20 {
		t.Errorf("%d messages were looked for, expected more: does the page still have its tables?", quoted)
	}
}
