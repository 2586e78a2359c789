package atomicfile

import (
	"errors"
	"fmt"
	"os"
)

// ErrUnusable is the error of a Read of what cannot be this program's own: no regular file, or one beyond the limit.
var ErrUnusable = errors.New("not a regular file of a sensible size")

// File is one small file that is read and replaced as a whole: what a package needs of a disk whose state is one file. At is on the disk;
// package atomicfiletest has one in memory.
type File interface {
	// Read returns the content, at most limit bytes. Errors: fs.ErrNotExist, ErrUnusable, or those of the file system.
	Read(limit int64) ([]byte, error)
	// Write replaces the content durably, or leaves it as it was and returns an error.
	Write(data []byte) error
	// SetAside keeps a damaged file under another name, which it returns. fs.ErrNotExist when there is none.
	SetAside() (string, error)
	// String is the file's name, for people.
	String() string
}

// At is the file at a path. Its folder must exist before it is written.
func At(path string) File { return file(path) }

type file string

func (f file) Read(limit int64) ([]byte, error) {
	info, err := os.Stat(string(f))
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s: %w", f, ErrUnusable)
	}
	return os.ReadFile(string(f))
}

func (f file) Write(data []byte) error   { return Write(string(f), data) }
func (f file) SetAside() (string, error) { return SetAside(string(f)) }
func (f file) String() string            { return string(f) }
