package query

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/test/tree"
)

// same fails the test unless two folders are equal in all that a backup keeps.
func (w *world) same(compare func(want, got string, limit int) ([]string, error), original, restored string) {
	w.Helper()
	diffs, err := compare(original, restored, 20)
	w.must(err)
	if len(diffs) > 0 {
		w.Errorf("%s differs from %s:\n  %s", restored, original, strings.Join(diffs, "\n  "))
	}
}

func whole(want, got string, limit int) ([]string, error) { return tree.Compare(want, got, limit) }

func TestRestoresToWhereverThePersonWants(t *testing.T) {
	w := newWorld(t, "restore")
	targets := filepath.Join(w.Dir, "machines", w.ns, "restored")
	first, source := w.machine("web-1", "--allow-queries", "--allow-restore="+targets)
	_, err := tree.Make(source, 200, 11)
	w.must(err)
	w.write(filepath.Join(source, "one", "file.bin"), bytes.Repeat([]byte{0, 1, 2, 255}, 100_000))
	admin := w.user("admin")
	w.backup(admin, "web-1")
	file := filepath.Join(source, "one", "file.bin")
	content, err := os.ReadFile(file)
	w.must(err)

	t.Run("a file on the machine", func(t *testing.T) {
		target := filepath.Join(targets, "file")
		w.succeed(admin, "restore", "web-1", file, "--target", target, "--yes")
		got, err := os.ReadFile(filepath.Join(target, file))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("restored %d bytes of %d, %v", len(got), len(content), err)
		}
	})
	t.Run("a tree on the machine, after a dry run that changes nothing", func(t *testing.T) {
		target := filepath.Join(targets, "tree")
		w.succeed(admin, "restore", "web-1", source, "--target", target, "--dry-run")
		if _, err := os.Stat(target); err == nil {
			t.Error("the dry run wrote something")
		}
		w.succeed(admin, "restore", "web-1", source, "--target", target, "--yes", "--verify")
		w.same(whole, source, filepath.Join(target, source))
	})
	t.Run("a tree here", func(t *testing.T) {
		here := t.TempDir()
		w.succeed(admin, "restore", "web-1", source, "--to-local", here, "--yes")
		w.same(tree.CompareArchived, source, filepath.Join(here, source))
	})
	t.Run("a file here, as an archive", func(t *testing.T) {
		archive := w.succeed(admin, "restore", "web-1", file, "--tar", "-", "--yes")
		found := false
		for r := tar.NewReader(strings.NewReader(archive)); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			w.must(err)
			if got, err := io.ReadAll(r); h.Typeflag == tar.TypeReg {
				found = err == nil && bytes.Equal(got, content)
			}
		}
		if !found {
			t.Error("the file is not in the archive, or differs")
		}
	})
	t.Run("onto another machine, when the first one is dead", func(t *testing.T) {
		w.must(first.Stop())
		_, _ = w.successor("web-2", "web-1", "--allow-queries", "--allow-restore="+targets)
		target := filepath.Join(targets, "successor")
		w.succeed(admin, "restore", "web-1", source, "--onto", "web-2", "--target", target, "--yes")
		w.same(whole, source, filepath.Join(target, source))
	})
}
