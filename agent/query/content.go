package query

import (
	"archive/tar"
	"errors"
	"fmt"
	"strings"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// content says what a file holds, or an archive of a folder. What the path is, is looked up first: restic would archive a folder unasked, and a file never.
func (t *task) content(q *wire.ContentQuery) error {
	return t.repository(t.ctx, func(r Repository) error {
		node, err := t.node(r, q)
		switch {
		case err != nil:
			return err
		case node.Type == nodeDir && !q.Tar:
			return &refusal{wire.AnswerInvalid, fmt.Sprintf("%s is a folder: ask for an archive (tar)", q.Path)}
		case node.Type == nodeDir:
			return r.Restic.DumpFolder(t.ctx, r.Repository, q.Snapshot, q.Path, t.answer, nil)
		case node.Type != restic.NodeFile:
			return &refusal{wire.AnswerInvalid, fmt.Sprintf("%s is a %s, which has no content: ask for an archive (tar) of its folder", q.Path, node.Type)}
		case q.Tar:
			return t.archive(r, q, node)
		}
		return r.Restic.Dump(t.ctx, r.Repository, q.Snapshot, q.Path, t.answer, nil)
	})
}

const nodeDir = "dir"

// errSeen ends a listing after its first node.
var errSeen = errors.New("seen")

// node is what lies at the path of a query.
func (t *task) node(r Repository, q *wire.ContentQuery) (restic.Node, error) {
	node := restic.Node{Path: q.Path, Type: nodeDir}
	if q.Path == "/" {
		return node, nil
	}
	err := r.Restic.ListFolder(t.ctx, r.Repository, q.Snapshot, q.Path, false, func(n restic.Node) error {
		node = n // that of the path itself comes first
		return errSeen
	}, nil)
	if errors.Is(err, errSeen) {
		err = nil
	}
	return node, err
}

// archive puts one file into an archive, as restic does with those of a folder.
func (t *task) archive(r Repository, q *wire.ContentQuery, n restic.Node) error {
	archive := tar.NewWriter(t.answer)
	header := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(q.Path, "/"), Size: count(n.Size),
		Mode: int64(n.Mode.Perm()), Uid: int(n.UID), Gid: int(n.GID), ModTime: n.ModTime, Format: tar.FormatPAX}
	if err := archive.WriteHeader(header); err != nil {
		return fmt.Errorf("the file cannot be archived: %w", err)
	}
	if err := r.Restic.Dump(t.ctx, r.Repository, q.Snapshot, q.Path, archive, nil); err != nil {
		return err
	}
	return archive.Close()
}
