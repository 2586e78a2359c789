package restic_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/agent/restic"
)

// oddNames are what people and programs really call files.
var oddNames = []string{"plain", "a*b", "a?b", "[x]", "[", "x]", "!y", "-dash", "--include", "two words", " leads", "trails ", "trails\u00a0", "tab\tinside", "new\nline", "ends with return\r", "#comment",
	"$HOME", "$$", "a\\b", `\*`, "**", "ünï", "日本語", "ümlaut-decomposed-u\u0308", `"quoted"`, "'single'", "{a,b}", "~", "con:trol\x01"}

// decoys would be restored too if a special character of the names above had its meaning.
var decoys = []string{"aXb", "x", "y", "acb", "HOME", "root", "comment", "leads", "trails", "new", "line", "a", "b", "*"}

func TestExactPathsRestoreWhatTheyNameWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository, source := initialised(t, r), t.TempDir()
		for _, name := range append(append([]string{"bad\xff"}, oddNames...), decoys...) {
			if err := os.WriteFile(filepath.Join(source, name), []byte("content of "+name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		backup, err := r.Backup(t.Context(), restic.BackupOptions{Repository: repository, Tag: "t", Paths: []string{source}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		restore := func(names ...string) map[string]string {
			var paths []string
			for _, name := range names {
				paths = append(paths, filepath.Join(source, name))
			}
			target := t.TempDir()
			if result, err := r.Restore(t.Context(), restic.RestoreOptions{Repository: repository, Snapshot: backup.SnapshotID, Target: target, ExactPaths: paths}, nil); err != nil {
				t.Errorf("%q: %+v, %v", names, result, err)
			}
			return fileContents(t, filepath.Join(target, source))
		}
		want := map[string]string{}
		for _, name := range oddNames {
			want[name] = "content of " + name
		}
		if diff := cmp.Diff(want, restore(oddNames...)); diff != "" {
			t.Error("all at once:", diff)
		}
		for _, name := range []string{"a*b", "[x]", "!y", "new\nline", "$HOME", "trails ", "**"} {
			if diff := cmp.Diff(map[string]string{name: "content of " + name}, restore(name)); diff != "" {
				t.Errorf("%q alone: %s", name, diff)
			}
		}

		// The same names by listing and dumping.
		listed := map[string]restic.Node{}
		if err := r.List(t.Context(), repository, backup.SnapshotID, func(n restic.Node) error {
			listed[n.Path] = n
			return nil
		}, nil); err != nil {
			t.Fatal(err)
		}
		for _, name := range oddNames {
			n := listed[filepath.Join(source, name)]
			if n.Type != restic.NodeFile || n.Size != uint64(len("content of "+name)) || n.Inexact || n.Mode.Perm() != 0o600 || n.ModTime.IsZero() {
				t.Errorf("%q is listed as %+v", name, n)
			}
		}
		if n := listed[source]; n.Type != "dir" || !n.Mode.IsDir() {
			t.Errorf("the folder is listed as %+v", n)
		}
		if n, there := listed[filepath.Join(source, "bad\ufffd")]; !there || !n.Inexact {
			t.Errorf("a name that is no UTF-8 is listed as %+v", n)
		}
		for _, name := range []string{"a*b", "[x]", "!y", "-dash", "new\nline", "trails ", "a\\b", "日本語", "bad\xff"} {
			var content bytes.Buffer
			if err := r.Dump(t.Context(), repository, backup.SnapshotID, filepath.Join(source, name), &content, nil); err != nil || content.String() != "content of "+name {
				t.Errorf("dump of %q: %q, %v", name, content.String(), err)
			}
		}
	})
}

func fileContents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir+"/")] = string(data)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return out
}

func TestListAndDumpStreamWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository, source := initialised(t, r), tree(t)
		write(t, filepath.Join(source, "big"), 24<<20)
		for i := range 300 {
			write(t, filepath.Join(source, "many", fmt.Sprint(i)), 1)
		}
		backup, err := r.Backup(t.Context(), restic.BackupOptions{Repository: repository, Tag: "t", Paths: []string{source}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		enough := errors.New("enough")
		seen := 0
		if err := r.List(t.Context(), repository, backup.SnapshotID, func(restic.Node) error {
			if seen++; seen == 5 {
				return enough
			}
			return nil
		}, nil); !errors.Is(err, enough) || seen != 5 {
			t.Errorf("a listing that is ended early: %d seen, %v", seen, err)
		}
		want, err := os.ReadFile(filepath.Join(source, "big"))
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		dump := func(ctx context.Context, id, path string, w interface{ Write([]byte) (int, error) }) error {
			return r.Dump(ctx, repository, id, path, w, nil)
		}
		if err := dump(t.Context(), backup.SnapshotID, filepath.Join(source, "big"), &got); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%d bytes of %d came, or others: %v", got.Len(), len(want), err)
		}
		full := &limited{room: 1 << 20}
		if err := dump(t.Context(), backup.SnapshotID, filepath.Join(source, "big"), full); !errors.Is(err, errFull) {
			t.Error("a writer that is full:", err)
		}
		for name, path := range map[string]string{"no such file": filepath.Join(source, "none"), "below a file": filepath.Join(source, "a.txt", "x"), "a link": filepath.Join(source, "link")} {
			if err := dump(t.Context(), backup.SnapshotID, path, &got); !errors.Is(err, restic.ErrNothingRestored) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := dump(t.Context(), "0123456789abcdef", filepath.Join(source, "big"), &got); !errors.Is(err, restic.ErrNoSuchSnapshot) {
			t.Error("no such snapshot:", err)
		}
		if err := r.List(t.Context(), repository, "0123456789abcdef", func(restic.Node) error { return nil }, nil); !errors.Is(err, restic.ErrNoSuchSnapshot) {
			t.Error("listing no such snapshot:", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if err := dump(ctx, backup.SnapshotID, filepath.Join(source, "big"), writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })); !errors.Is(err, restic.ErrCancelled) {
			t.Error("a dump that is cancelled:", err)
		}
		if locks, err := os.ReadDir(filepath.Join(repository.URL, "locks")); err != nil || len(locks) > 0 {
			t.Error("locks left:", locks, err)
		}
		snapshots, err := r.Snapshots(t.Context(), repository, restic.SnapshotFilter{}, nil)
		if err != nil || len(snapshots) != 1 || snapshots[0].TotalBytes != backup.TotalBytes {
			t.Errorf("%+v, %v", snapshots, err)
		}
		if raw, err := r.Stats(t.Context(), repository, restic.Limits{}, nil); err != nil || !near(raw, backup.BytesStored) {
			t.Errorf("stats: %d, %v; %d were stored", raw, err, backup.BytesStored)
		}
	})
}

var errFull = errors.New("full")

type limited struct{ room int }

func (l *limited) Write(p []byte) (int, error) {
	if l.room -= len(p); l.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
