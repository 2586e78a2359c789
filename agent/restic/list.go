package restic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
	"unicode/utf8"
)

// NodeFile is the Type of a regular file. The others are "dir", "symlink", "dev", "chardev", "fifo" and "socket".
const NodeFile = "file"

// Node is one entry of a snapshot.
type Node struct {
	// Path from the root of the snapshot, absolute.
	Path string
	Type string
	// Size of a regular file in bytes.
	Size uint64
	// Mode holds the permissions and the type.
	Mode    fs.FileMode
	ModTime time.Time
	// Inexact: the name is not valid UTF-8, and restic's JSON cannot express it. Dump and ExactPaths do not find such a path.
	Inexact bool
}

// errEnough ends a listing that its caller has seen enough of.
var errEnough = errors.New("the listing is not wanted any further")

// List calls each for every node of a snapshot, in restic's order, while restic prints them: memory does not grow with the snapshot. An error of each ends the listing and is
// returned. It takes no lock; a prune at the same time can make it fail, and never wrong.
func (r *Runner) List(ctx context.Context, repository Repository, snapshotID string, each func(Node) error, observer Observer) error {
	if !snapshotPattern.MatchString(snapshotID) {
		return invalid("the snapshot %q is not an id (8 to 64 of 0-9 and a-f)", snapshotID)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var failed error
	o, err := r.run(ctx, invocation{command: "ls", args: []string{"--no-lock", "ls", "--", snapshotID}, repository: repository, observer: observer,
		stdout: func(out io.Reader) error {
			if failed = readNodes(out, each); failed != nil {
				cancel(errEnough)
			}
			return nil
		}})
	switch {
	case err != nil:
		return err
	case failed != nil && (o.exitCode == 0 || errors.Is(o.cause, errEnough)):
		return failed
	case o.exitCode != 0 || o.stopped != notStopped:
		return o.failure("ls", repository.URL)
	}
	return nil
}

func readNodes(r io.Reader, each func(Node) error) error {
	for decoder := json.NewDecoder(r); ; {
		var n struct {
			MessageType string      `json:"message_type"`
			Path        string      `json:"path"`
			Type        string      `json:"type"`
			Size        uint64      `json:"size"`
			Mode        fs.FileMode `json:"mode"`
			ModTime     time.Time   `json:"mtime"`
		}
		if err := decoder.Decode(&n); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return &Error{Kind: KindFailed, Command: "ls", Message: fmt.Sprintf("cannot read restic's output: %v", err), cause: err}
		}
		if n.MessageType != "node" {
			continue
		}
		node := Node{Path: n.Path, Type: n.Type, Size: n.Size, Mode: n.Mode, ModTime: n.ModTime, Inexact: strings.ContainsRune(n.Path, utf8.RuneError)}
		if err := each(node); err != nil {
			return err
		}
	}
}

// Dump writes the content of one regular file of a snapshot to w while restic reads it. The error of w, if any, ends the run and is returned. Of a folder restic would write a tar
// archive: ask for files only. It takes no lock, as List.
func (r *Runner) Dump(ctx context.Context, repository Repository, snapshotID, path string, w io.Writer, observer Observer) error {
	if !snapshotPattern.MatchString(snapshotID) {
		return invalid("the snapshot %q is not an id (8 to 64 of 0-9 and a-f)", snapshotID)
	}
	if err := checkSnapshotPath(path); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var failed error
	o, err := r.run(ctx, invocation{command: "dump", args: []string{"--no-lock", "dump", "--", snapshotID, path}, repository: repository, observer: observer,
		stdout: func(out io.Reader) error {
			if _, failed = io.Copy(w, out); failed != nil {
				cancel(errEnough)
			}
			return nil
		}})
	switch {
	case err != nil:
		return err
	case failed != nil && (o.exitCode == 0 || errors.Is(o.cause, errEnough)):
		return failed
	case o.exitCode != 0 || o.stopped != notStopped:
		failure := o.failure("dump", repository.URL)
		if failure.Kind == KindFailed && notInSnapshot(o.exitMessage) {
			failure.Kind = KindNothingRestored
		}
		return failure
	}
	return nil
}

func notInSnapshot(text string) bool {
	return strings.Contains(text, "not found in snapshot") || strings.Contains(text, "should be a file, but is a") || strings.Contains(text, "should be a dir, but is a")
}
