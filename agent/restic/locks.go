package restic

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
)

// Lock is one of a repository's locks.
type Lock struct {
	ID        string
	Time      time.Time `json:"time"`
	Exclusive bool      `json:"exclusive"`
	Hostname  string    `json:"hostname"`
	User      string    `json:"username"`
	PID       int       `json:"pid"`
}

// Locks lists the repository's locks, and looks into the first MaxNamed: of the others, and of those that are gone by then, only the id is known. It takes no
// lock.
func (r *Runner) Locks(ctx context.Context, repository Repository, observer Observer) ([]Lock, error) {
	var locks []Lock
	o, err := r.run(ctx, invocation{command: "list locks", args: []string{"--no-lock", "list", "locks"}, repository: repository, observer: observer, silent: true,
		output: func(line string) bool {
			if id := strings.TrimSpace(line); snapshotPattern.MatchString(id) {
				locks = append(locks, Lock{ID: id})
			}
			return false
		}})
	if err != nil {
		return nil, err
	}
	if o.exitCode != 0 || o.stopped != notStopped {
		return nil, o.failure("list locks", repository.URL)
	}
	for i := range locks[:min(len(locks), MaxNamed)] {
		r.readLock(ctx, repository, &locks[i])
	}
	return locks, nil
}

func (r *Runner) readLock(ctx context.Context, repository Repository, lock *Lock) {
	_, _ = r.run(ctx, invocation{command: "cat lock", args: []string{"--no-lock", "cat", "lock", lock.ID}, repository: repository, silent: true,
		stdout: func(out io.Reader) error {
			if err := json.NewDecoder(out).Decode(lock); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			return nil
		}})
}
