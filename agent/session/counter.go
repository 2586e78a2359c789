package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"syscall"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
)

// maxCounter is the greatest counter that is believed: integers in JSON are exact up to it. A gateway that names a greater one lies, and
// would push the counter to its end.
const maxCounter = 1 << 53

// Counter is the machine's session counter, durable in a file (session.json).
type Counter struct {
	file atomicfile.File
	mu   sync.Mutex
	last int64
}

type counterFile struct {
	Session int64 `json:"session"`
}

// maxCounterFile bounds what is read, generously.
const maxCounterFile = 4 << 10

// OpenCounter reads the counter in a file of the disk, as ReadCounter.
func OpenCounter(path string) (*Counter, error) { return ReadCounter(atomicfile.At(path)) }

// ReadCounter reads the counter. A file that is missing starts at 0. One that is damaged does too, since the gateway tells the counter on
// record (stale_session), which then looks like a disk that went back in time; the error says so, and the counter can be used nevertheless.
func ReadCounter(file atomicfile.File) (*Counter, error) {
	c := &Counter{file: file}
	raw, err := file.Read(maxCounterFile)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("session counter: %w", err)
	}
	var f counterFile
	if err := json.Unmarshal(raw, &f); err != nil || f.Session < 0 || f.Session > maxCounter {
		return c, fmt.Errorf("session counter: %s is damaged; starting from 0, the gateway will tell the counter on record", file)
	}
	c.last = f.Session
	return c, nil
}

// Next increments the counter and returns it once it is on disk.
func (c *Counter) Next() (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.last + 1
	raw, err := json.Marshal(counterFile{Session: next})
	if err != nil {
		return 0, err
	}
	if err := c.file.Write(raw); err != nil {
		// The innermost error alone: the outer ones name a temporary file, another one each time.
		var number syscall.Errno
		if errors.As(err, &number) {
			err = number
		}
		return 0, fmt.Errorf("session counter: %s cannot be written: %w", c.file, err)
	}
	c.last = next
	return next, nil
}

// maxRaise leaves a counter room for ever: after a gateway that lied, it still counts on, and what it counts to is believed at the next
// start.
const maxRaise = maxCounter / 2

// Raise lets the counter continue after n, when that is greater and believable.
func (c *Counter) Raise(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > c.last && n <= maxRaise {
		c.last = n
	}
}
