package restic

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Probe tells whether there is a repository that opens with the given password, without touching its locks. A half-initialised one
// looks missing here; Init tells it.
func (r *Runner) Probe(ctx context.Context, repository Repository, observer Observer) (State, error) {
	o, err := r.run(ctx, invocation{command: "cat config", args: []string{"--no-lock", "cat", "config"}, repository: repository, observer: observer,
		silent: true, stdout: discard})
	if err != nil {
		return "", err
	}
	if o.exitCode == 0 && o.stopped == notStopped {
		return StateExists, nil
	}
	failure := o.failure("cat config", repository.URL)
	if failure.Kind == KindNoRepository {
		return StateMissing, nil
	}
	return "", failure
}

// discard reads to the end; what `cat config` prints is not needed.
func discard(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// Init makes the repository. One that exists and opens with the given password is success too.
func (r *Runner) Init(ctx context.Context, repository Repository, observer Observer) error {
	o, err := r.run(ctx, invocation{command: "init", args: []string{"init"}, repository: repository, observer: observer, silent: true})
	if err != nil {
		return err
	}
	if o.exitCode == 0 && o.stopped == notStopped {
		return nil
	}
	// The first is of rest: and local repositories, the second of all whose server has no word for "create, unless it is there".
	exists := strings.Contains(o.exitMessage, "config file already exists") || strings.Contains(o.exitMessage, "config already initialized")
	if o.stopped == notStopped && exists {
		// init does not try the password; a repository of somebody else is no success.
		_, err := r.Probe(ctx, repository, observer)
		return err
	}
	return o.failure("init", repository.URL)
}

// maxSnapshots bounds what Snapshots keeps in memory.
const maxSnapshots = 100_000

// Snapshots lists those that match, oldest first. It takes no lock, so that it works while another host prunes.
func (r *Runner) Snapshots(ctx context.Context, repository Repository, filter SnapshotFilter, observer Observer) ([]Snapshot, error) {
	var out []Snapshot
	err := r.EachSnapshot(ctx, repository, filter, func(s Snapshot) error {
		if len(out) == maxSnapshots {
			return &Error{Kind: KindFailed, Command: "snapshots", Message: fmt.Sprintf("more than %d snapshots match; use a narrower filter", maxSnapshots)}
		}
		out = append(out, s)
		return nil
	}, observer)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b Snapshot) int { return a.Time.Compare(b.Time) })
	return out, nil
}

// EachSnapshot calls each for every snapshot that matches, in restic's order, while restic prints them. An error of each ends the listing and is returned. It takes no lock.
func (r *Runner) EachSnapshot(ctx context.Context, repository Repository, filter SnapshotFilter, each func(Snapshot) error, observer Observer) error {
	if err := filter.check(); err != nil {
		return err
	}
	return r.stream(ctx, invocation{command: "snapshots", args: snapshotsArgs(filter), repository: repository, observer: observer},
		func(out io.Reader) error { return readSnapshots(out, each) })
}

// readSnapshots reads the one long JSON array piece by piece.
func readSnapshots(r io.Reader, each func(Snapshot) error) error {
	return eachElement(r, "snapshots", func(decoder *json.Decoder) error {
		var s struct {
			ID       string    `json:"id"`
			Time     time.Time `json:"time"`
			Hostname string    `json:"hostname"`
			Tags     []string  `json:"tags"`
			Paths    []string  `json:"paths"`
			Parent   string    `json:"parent"`
			Summary  struct {
				Files uint64 `json:"total_files_processed"`
				Bytes uint64 `json:"total_bytes_processed"`
				Added uint64 `json:"data_added"`
			} `json:"summary"`
		}
		if err := decoder.Decode(&s); err != nil {
			return unreadable("snapshots", err)
		}
		return each(Snapshot{ID: s.ID, Time: s.Time, Hostname: s.Hostname, Tags: s.Tags, Paths: s.Paths, Parent: s.Parent,
			TotalFiles: s.Summary.Files, TotalBytes: s.Summary.Bytes, BytesAdded: s.Summary.Added})
	})
}
