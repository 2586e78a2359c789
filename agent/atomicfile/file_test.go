package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/agent/atomicfile/atomicfiletest"
)

func TestAFileBehavesTheSameOnDiskAndInMemory(t *testing.T) {
	for where, f := range map[string]atomicfile.File{
		"on disk": atomicfile.At(filepath.Join(t.TempDir(), "state.json")), "in memory": atomicfiletest.New("state.json"),
	} {
		t.Run(where, func(t *testing.T) {
			if _, err := f.Read(100); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("reading what is not there: %v", err)
			}
			if _, err := f.SetAside(); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("setting aside what is not there: %v", err)
			}
			for _, content := range []string{"one", "two"} {
				if err := f.Write([]byte(content)); err != nil {
					t.Fatal(err)
				}
				if got, err := f.Read(3); err != nil || string(got) != content {
					t.Errorf("read %q, %v; want %q", got, err, content)
				}
			}
			if _, err := f.Read(2); !errors.Is(err, atomicfile.ErrUnusable) {
				t.Errorf("reading more than the limit: %v", err)
			}
			if aside, err := f.SetAside(); err != nil || !strings.HasSuffix(aside, "state.json.damaged-1") {
				t.Errorf("set aside as %q, %v", aside, err)
			}
			if _, err := f.Read(100); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("reading what was set aside: %v", err)
			}
		})
	}
}

func TestAFolderInPlaceOfAFileIsUnusable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := atomicfile.At(path).Read(100); !errors.Is(err, atomicfile.ErrUnusable) {
		t.Errorf("reading a folder: %v", err)
	}
}
