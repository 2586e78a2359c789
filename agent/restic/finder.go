package restic

import (
	"context"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock"
)

// askAgain is how long a version counts while the file stays the same. The file may be a wrapper, and what it starts another version by then.
const askAgain = time.Hour

// Finder finds restic before each run, so that one that is installed or replaced later is found too. A program that is the same file as before is not asked for its
// version again within the hour: that takes as long as all else that comes before a backup. It is safe for concurrent use.
type Finder struct {
	path  string
	clock clock.Clock

	mu    sync.Mutex
	last  Binary // without a version: the last look found none that is usable
	file  fs.FileInfo
	asked time.Time
}

// NewFinder looks at path, or (when that is empty) in $PATH.
func NewFinder(path string, c clock.Clock) *Finder {
	return &Finder{path: path, clock: c}
}

// Find is the function Find, with its errors.
func (f *Finder) Find(ctx context.Context) (Binary, error) {
	return f.find(ctx, false)
}

// FindAnew asks in any case: for who wants to know whether it works now.
func (f *Finder) FindAnew(ctx context.Context) (Binary, error) {
	return f.find(ctx, true)
}

func (f *Finder) find(ctx context.Context, anew bool) (Binary, error) {
	found, file, err := look(f.path)
	if err != nil {
		f.keep(Binary{}, nil)
		return Binary{}, err
	}
	if binary, known := f.known(found, file); known && !anew {
		return binary, nil
	}
	binary, err := ask(ctx, found)
	if err != nil {
		file = nil
	}
	f.keep(binary, file)
	return binary, err
}

// look is locate, and what the file is now: before it is asked, so that one that is replaced meanwhile is asked again.
func look(path string) (found string, file fs.FileInfo, err error) {
	if found, err = locate(path); err != nil {
		return "", nil, err
	}
	if file, err = os.Stat(found); err != nil {
		return "", nil, notStarted(err, "cannot look at %s: %v", found, rootCause(err))
	}
	return found, file, nil
}

func (f *Finder) known(found string, file fs.FileInfo) (Binary, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil || f.last.Path != found || !sameFile(f.file, file) {
		return Binary{}, false
	}
	age := f.clock.Now().Sub(f.asked)
	return f.last, age >= 0 && age < askAgain
}

func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (f *Finder) keep(binary Binary, file fs.FileInfo) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.file, f.asked = binary, file, f.clock.Now()
}

// Version is that of the restic that was found last; empty when that look failed, and before the first.
func (f *Finder) Version() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last.Version
}
