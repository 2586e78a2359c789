package atomicfile

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteMakesAPrivateFileAndLeavesNothingElse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	for _, content := range []string{"first", "second and longer", ""} {
		if err := Write(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Fatalf("read %q, %v, want %q", got, err, content)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %o, want 600", info.Mode().Perm())
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("folder holds %v, want only state.json", got)
	}
}

func TestWriteTightensTheModeOfAnExistingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %o, want 600", info.Mode().Perm())
	}
}

func TestAFailedWriteKeepsTheOldContentAndNoTemporaryFile(t *testing.T) {
	dir := t.TempDir()
	// A folder in the target's place makes the rename fail, after the temporary file was written whole.
	path := filepath.Join(dir, "state.json")
	if err := os.MkdirAll(filepath.Join(path, "child"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("new")); err == nil {
		t.Fatal("writing over a folder succeeded")
	}
	if got := names(t, dir); len(got) != 1 || got[0] != "state.json" {
		t.Errorf("folder holds %v, want only state.json", got)
	}
	if err := Write(filepath.Join(dir, "missing", "state.json"), nil); err == nil {
		t.Error("writing into a missing folder succeeded")
	}
}

func TestConcurrentWritersLeaveOneWholeContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			if err := Write(path, bytes.Repeat([]byte{byte('a' + i)}, 10_000)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 10_000 || !bytes.Equal(got, bytes.Repeat(got[:1], 10_000)) {
		t.Errorf("content of %d bytes is a mixture", len(got))
	}
}

func TestCleanTempRemovesOnlyWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{TempPrefix + "state.json-123", "state.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := CleanTemp(dir); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 1 || got[0] != "state.json" {
		t.Errorf("folder holds %v, want only state.json", got)
	}
	if err := CleanTemp(filepath.Join(dir, "missing")); err != nil {
		t.Errorf("a missing folder is an error: %v", err)
	}
}

func TestRemoveAndRename(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := Remove(from); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
	if err := Write(from, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := Rename(from, filepath.Join(dir, "sub", "b")); err == nil {
		t.Error("a rename into another folder succeeded")
	}
	if err := Rename(from, to); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 1 || got[0] != "b" {
		t.Errorf("folder holds %v, want only b", got)
	}
	if err := Remove(to); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("folder holds %v, want nothing", got)
	}
}

func TestMkdirAllMakesPrivateFolders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "outbox")
	for range 2 {
		if err := MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		info, err := os.Stat(d)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o700 {
			t.Errorf("mode of %s is %o, want 700", d, info.Mode().Perm())
		}
	}
}
