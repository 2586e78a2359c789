// Package atomicfiletest is a file in memory, for tests: it can be full, it survives the restart of what writes it, and ten thousand writes do
// not take the minutes that a disk takes for their fsyncs.
//
//	f := atomicfiletest.New("cron.json")
//	f.Fail(syscall.ENOSPC)    // from here on no write succeeds
//	f.Fail(nil)
package atomicfiletest

import (
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
)

// File implements atomicfile.File. All methods may be called from any goroutine.
type File struct {
	name string

	mu     sync.Mutex
	data   []byte
	exists bool
	aside  int
	fail   error
}

var _ atomicfile.File = (*File)(nil)

// New returns a file that does not exist yet.
func New(name string) *File { return &File{name: name} }

// Fail lets every write and SetAside fail with err; nil ends that.
func (f *File) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// Read implements atomicfile.File.
func (f *File) Read(limit int64) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.exists {
		return nil, fmt.Errorf("%s: %w", f.name, fs.ErrNotExist)
	}
	if int64(len(f.data)) > limit {
		return nil, fmt.Errorf("%s: %w", f.name, atomicfile.ErrUnusable)
	}
	return slices.Clone(f.data), nil
}

// Write implements atomicfile.File.
func (f *File) Write(data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail
	}
	f.data, f.exists = slices.Clone(data), true
	return nil
}

// SetAside implements atomicfile.File. What was set aside is gone.
func (f *File) SetAside() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return "", f.fail
	}
	if !f.exists {
		return "", fmt.Errorf("%s: %w", f.name, fs.ErrNotExist)
	}
	f.data, f.exists = nil, false
	f.aside++
	return fmt.Sprintf("%s.damaged-%d", f.name, f.aside), nil
}

// String implements atomicfile.File.
func (f *File) String() string { return f.name }
