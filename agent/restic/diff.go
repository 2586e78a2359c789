package restic

import (
	"context"
	"encoding/json"
	"errors"
	"io"
)

// Difference is one path that differs between two snapshots.
type Difference struct {
	Path string
	// Modifier is restic's: + added, - removed, M content, T type, U metadata, ? bit rot, and combinations.
	Modifier string
}

// DiffSummary counts the differences.
type DiffSummary struct {
	ChangedFiles, FilesAdded, FilesRemoved uint64
	BytesAdded, BytesRemoved               uint64
}

// Diff calls each for every difference between two snapshots. An error of each ends it and is returned. It takes no lock, as List.
func (r *Runner) Diff(ctx context.Context, repository Repository, from, to string, each func(Difference) error, observer Observer) (DiffSummary, error) {
	var summary DiffSummary
	for _, id := range []string{from, to} {
		if err := checkSnapshotID(id); err != nil {
			return summary, err
		}
	}
	err := r.stream(ctx, invocation{command: "diff", args: []string{"--no-lock", "diff", "--", from, to}, repository: repository, observer: observer},
		func(out io.Reader) (err error) {
			summary, err = readDifferences(out, each)
			return err
		})
	return summary, err
}

func readDifferences(r io.Reader, each func(Difference) error) (summary DiffSummary, err error) {
	type counts struct {
		Files uint64 `json:"files"`
		Bytes uint64 `json:"bytes"`
	}
	for decoder := json.NewDecoder(r); ; {
		var m struct {
			MessageType  string `json:"message_type"`
			Path         string `json:"path"`
			Modifier     string `json:"modifier"`
			ChangedFiles uint64 `json:"changed_files"`
			Added        counts `json:"added"`
			Removed      counts `json:"removed"`
		}
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			return summary, nil
		} else if err != nil {
			return summary, unreadable("diff", err)
		}
		switch m.MessageType {
		case "change":
			if err := each(Difference{m.Path, m.Modifier}); err != nil {
				return summary, err
			}
		case "statistics":
			summary = DiffSummary{m.ChangedFiles, m.Added.Files, m.Removed.Files, m.Added.Bytes, m.Removed.Bytes}
		}
	}
}
