package restic

import (
	"context"
	"encoding/json"
	"errors"
	"io"
)

// Stats returns the size in bytes of the data that the repository's snapshots refer to, of all hosts, as it is stored. What a prune would free is not in it. It takes
// seconds, reads the whole index and all trees, and takes no lock.
func (r *Runner) Stats(ctx context.Context, repository Repository, limits Limits, observer Observer) (uint64, error) {
	if err := limits.check(); err != nil {
		return 0, err
	}
	var stats struct {
		TotalSize *uint64 `json:"total_size"`
	}
	o, err := r.run(ctx, invocation{command: "stats", args: []string{"--no-lock", "stats", "--mode=raw-data"}, repository: repository, limits: limits, observer: observer,
		stdout: func(out io.Reader) error {
			if err := json.NewDecoder(out).Decode(&stats); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			return nil
		}})
	if err != nil {
		return 0, err
	}
	if o.exitCode != 0 || o.stopped != notStopped || stats.TotalSize == nil {
		return 0, o.failure("stats", repository.URL)
	}
	return *stats.TotalSize, nil
}
