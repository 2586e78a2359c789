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
	Mode     fs.FileMode
	UID, GID uint32
	ModTime  time.Time
	// LinkTarget of a symbolic link, where restic tells it.
	LinkTarget string
	// Inexact: the name is not valid UTF-8, and restic's JSON cannot express it. Dump and ExactPaths do not find such a path.
	Inexact bool
}

// List calls each for every node of a snapshot, in restic's order, while restic prints them: memory does not grow with the snapshot. An error of each ends the listing and is
// returned. It takes no lock; a prune at the same time can make it fail, and never wrong.
func (r *Runner) List(ctx context.Context, repository Repository, snapshotID string, each func(Node) error, observer Observer) error {
	return r.list(ctx, repository, []string{"--no-lock", "ls", "--", snapshotID}, snapshotID, each, observer)
}

// ListFolder calls each for the node at path, and for what lies in it where that is a folder; with recursive for all below it. That of the root itself does not come. Otherwise it
// is as List. A path that the snapshot does not hold is KindNothingRestored.
func (r *Runner) ListFolder(ctx context.Context, repository Repository, snapshotID, path string, recursive bool, each func(Node) error, observer Observer) error {
	if err := checkFolderPath(path); err != nil {
		return err
	}
	args := []string{"--no-lock", "ls"}
	if recursive {
		args = append(args, "--recursive")
	}
	found := path == "/"
	err := r.list(ctx, repository, append(args, "--", snapshotID, path), snapshotID, func(n Node) error {
		found = true
		return each(n)
	}, observer)
	if err == nil && !found {
		return &Error{Kind: KindNothingRestored, Command: "ls", Message: shorten(fmt.Sprintf("the snapshot holds no %s", path))}
	}
	return err
}

func (r *Runner) list(ctx context.Context, repository Repository, args []string, snapshotID string, each func(Node) error, observer Observer) error {
	if err := checkSnapshotID(snapshotID); err != nil {
		return err
	}
	return r.stream(ctx, invocation{command: "ls", args: args, repository: repository, observer: observer}, func(out io.Reader) error { return readNodes(out, each) })
}

// node is a Node as restic prints it.
type node struct {
	MessageType string      `json:"message_type"`
	Path        string      `json:"path"`
	Type        string      `json:"type"`
	Size        uint64      `json:"size"`
	Mode        fs.FileMode `json:"mode"`
	UID         uint32      `json:"uid"`
	GID         uint32      `json:"gid"`
	ModTime     time.Time   `json:"mtime"`
	LinkTarget  string      `json:"linktarget"`
}

func (n node) node() Node {
	return Node{Path: n.Path, Type: n.Type, Size: n.Size, Mode: n.Mode, UID: n.UID, GID: n.GID, ModTime: n.ModTime, LinkTarget: n.LinkTarget,
		Inexact: strings.ContainsRune(n.Path, utf8.RuneError)}
}

func readNodes(r io.Reader, each func(Node) error) error {
	for decoder := json.NewDecoder(r); ; {
		var n node
		if err := decoder.Decode(&n); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return unreadable("ls", err)
		}
		if n.MessageType != "node" {
			continue
		}
		if err := each(n.node()); err != nil {
			return err
		}
	}
}
