package tree

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCompareFindsEveryDifference(t *testing.T) {
	tests := map[string]struct {
		change func(root string) error
		want   string
	}{
		"an equal tree": {func(string) error { return nil }, ""},
		"other content, same size and time": {func(root string) error {
			path := filepath.Join(root, "names/ünïcode-日本語-🗄")
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			if err := os.WriteFile(path, make([]byte, info.Size()), 0o644); err != nil {
				return err
			}
			return os.Chtimes(path, info.ModTime(), info.ModTime())
		}, "differs"},
		"another mode":        {func(root string) error { return os.Chmod(filepath.Join(root, "modes/executable"), 0o700) }, "executable"},
		"another time":        {func(root string) error { return os.Chtimes(filepath.Join(root, "empty"), time.Now(), time.Now()) }, "empty"},
		"a missing file":      {func(root string) error { return os.Remove(filepath.Join(root, "empty")) }, `"empty" is missing`},
		"a file too many":     {func(root string) error { return os.WriteFile(filepath.Join(root, "extra"), nil, 0o644) }, `"extra" should not be there`},
		"another link target": {func(root string) error { return relink(root) }, "links/dangling"},
		"a hard link that is a copy": {func(root string) error {
			path := filepath.Join(root, "links/hard")
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			if err := os.Remove(path); err != nil {
				return err
			}
			if err := os.WriteFile(path, raw, info.Mode()); err != nil {
				return err
			}
			return os.Chtimes(path, info.ModTime(), info.ModTime())
		}, "links/hard"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
			for _, root := range []string{a, b} {
				if _, err := Make(root, 10, 42); err != nil {
					t.Fatal(err)
				}
			}
			alignFolders(t, a, b)
			if err := test.change(b); err != nil {
				t.Fatal(err)
			}
			alignFolders(t, a, b)
			diffs, err := Compare(a, b, 0)
			if err != nil {
				t.Fatal(err)
			}
			all := strings.Join(diffs, "\n")
			if test.want == "" && all != "" {
				t.Errorf("equal trees differ:\n%s", all)
			}
			if !strings.Contains(all, test.want) {
				t.Errorf("differences are %q, want one with %q", all, test.want)
			}
		})
	}
}

// alignFolders gives the folders of b the times of those of a: they were made one after the other.
func alignFolders(t *testing.T, a, b string) {
	t.Helper()
	err := filepath.WalkDir(a, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(a, path)
		if err != nil {
			return err
		}
		return os.Chtimes(filepath.Join(b, name), info.ModTime(), info.ModTime())
	})
	if err != nil {
		t.Fatal(err)
	}
}

func relink(root string) error {
	path := filepath.Join(root, "links/dangling")
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.Symlink("/elsewhere", path)
}
