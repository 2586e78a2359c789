package drill

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const scratchPrefix = "drill-"

// scratch is the folder of one drill.
type scratch struct{ path string }

func newScratch(parent string) (*scratch, error) {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(parent, 0o700); err != nil {
		return nil, err
	}
	path, err := os.MkdirTemp(parent, scratchPrefix) // mode 0700
	if err != nil {
		return nil, err
	}
	return &scratch{path: path}, nil
}

// folder makes a fresh one; the one before is not needed any more.
func (s *scratch) folder() (string, error) {
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if err := removeAll(filepath.Join(s.path, e.Name())); err != nil {
			return "", err
		}
	}
	return os.MkdirTemp(s.path, "group-")
}

func (s *scratch) remove() error { return removeAll(s.path) }

// removeAll removes what was restored, folders without permissions too: root needs no help there, others do.
func removeAll(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if entry != nil && entry.IsDir() {
			_ = os.Chmod(path, 0o700) // before it is read
		}
		return nil
	})
	return os.RemoveAll(path)
}

// RemoveLeftovers removes the scratch folders of drills whose agent was killed. Call it once, before the first drill.
func RemoveLeftovers(scratchDir string) error {
	entries, err := os.ReadDir(scratchDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), scratchPrefix) {
			err = errors.Join(err, removeAll(filepath.Join(scratchDir, e.Name())))
		}
	}
	return err
}

// freeBytes is the room on the disk of a folder for ordinary users.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(min(uint64(st.Bavail)*uint64(st.Bsize), math.MaxInt64)), nil
}
