package query

import (
	"context"
	"io"
	"math"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// Restic is what queries need of restic.Runner. Nothing of it takes a lock.
type Restic interface {
	Probe(context.Context, restic.Repository, restic.Observer) (restic.State, error)
	Locks(context.Context, restic.Repository, restic.Observer) ([]restic.Lock, error)
	EachSnapshot(context.Context, restic.Repository, restic.SnapshotFilter, func(restic.Snapshot) error, restic.Observer) error
	List(ctx context.Context, r restic.Repository, snapshot string, each func(restic.Node) error, o restic.Observer) error
	ListFolder(ctx context.Context, r restic.Repository, snapshot, path string, recursive bool, each func(restic.Node) error, o restic.Observer) error
	Find(context.Context, restic.Repository, restic.FindOptions, func(snapshot string, n restic.Node) error, restic.Observer) error
	Diff(ctx context.Context, r restic.Repository, from, to string, each func(restic.Difference) error, o restic.Observer) (restic.DiffSummary, error)
	Dump(ctx context.Context, r restic.Repository, snapshot, path string, w io.Writer, o restic.Observer) error
	DumpFolder(ctx context.Context, r restic.Repository, snapshot, path string, w io.Writer, o restic.Observer) error
}

// Repository is the machine's own, as the set in force names it, with the means to open it.
type Repository struct {
	Restic     Restic
	Repository restic.Repository
	// ResticHost is restic's --host of this machine; Tag is the tag of a source group.
	ResticHost string
	Tag        func(group string) string
}

// repository waits for its turn and calls use.
func (t *task) repository(ctx context.Context, use func(Repository) error) error {
	done, err := t.answers.child(ctx)
	if err != nil {
		return err
	}
	defer done()
	r, err := t.answers.o.Repository(ctx)
	if err != nil {
		return err
	}
	err = use(r)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return cause // what restic said about being stopped is of no interest
	}
	return err
}

func (t *task) snapshots(q *wire.SnapshotsQuery) error {
	return t.repository(t.ctx, func(r Repository) error {
		return r.Restic.EachSnapshot(t.ctx, r.Repository, r.filter(q.ResticHost, q.AllHosts, q.Group), func(s restic.Snapshot) error {
			return t.answer.record(snapshotRecord(s))
		}, nil)
	})
}

// filter selects this machine's snapshots, unless another host or all are asked for.
func (r Repository) filter(host string, all bool, group string) restic.SnapshotFilter {
	f := restic.SnapshotFilter{Host: host}
	if host == "" && !all {
		f.Host = r.ResticHost
	}
	if group != "" {
		f.Tag = r.Tag(group)
	}
	return f
}

func (t *task) files(q *wire.FilesQuery) error {
	return t.repository(t.ctx, func(r Repository) error {
		each := func(n restic.Node) error { return t.answer.record(fileRecord("", n)) }
		path := q.Path
		switch {
		case q.Recursive && (path == "" || path == "/"):
			return r.Restic.List(t.ctx, r.Repository, q.Snapshot, each, nil)
		case path == "":
			path = "/"
		}
		return r.Restic.ListFolder(t.ctx, r.Repository, q.Snapshot, path, q.Recursive, each, nil)
	})
}

func (t *task) find(q *wire.FindQuery) error {
	return t.repository(t.ctx, func(r Repository) error {
		o := restic.FindOptions{Pattern: q.Pattern, IgnoreCase: q.IgnoreCase, Snapshot: q.Snapshot, Filter: r.filter(q.ResticHost, false, q.Group)}
		return r.Restic.Find(t.ctx, r.Repository, o, func(snapshot string, n restic.Node) error { return t.answer.record(fileRecord(snapshot, n)) }, nil)
	})
}

func (t *task) diff(q *wire.DiffQuery) error {
	return t.repository(t.ctx, func(r Repository) error {
		summary, err := r.Restic.Diff(t.ctx, r.Repository, q.From, q.To, func(d restic.Difference) error {
			return t.answer.record(wire.DiffRecord{Path: d.Path, Modifier: d.Modifier})
		}, nil)
		if err != nil {
			return err
		}
		return t.answer.record(wire.DiffRecord{Summary: &wire.DiffSummary{ChangedFiles: count(summary.ChangedFiles), FilesAdded: count(summary.FilesAdded),
			FilesRemoved: count(summary.FilesRemoved), BytesAdded: count(summary.BytesAdded), BytesRemoved: count(summary.BytesRemoved)}})
	})
}

// maxPaths bounds the paths of a snapshot in its record, in bytes, and so the record; whoever wants the rest lists the snapshot.
const maxPaths = 64 << 10

func snapshotRecord(s restic.Snapshot) wire.SnapshotRecord {
	r := wire.SnapshotRecord{ID: s.ID, Time: s.Time, ResticHost: s.Hostname, Tags: s.Tags, Parent: s.Parent,
		Files: count(s.TotalFiles), Bytes: count(s.TotalBytes), BytesAdded: count(s.BytesAdded)}
	size := 0
	for _, path := range s.Paths {
		if size += len(path); size > maxPaths {
			break
		}
		r.Paths = append(r.Paths, path)
	}
	return r
}

func fileRecord(snapshot string, n restic.Node) wire.FileRecord {
	return wire.FileRecord{Path: n.Path, Type: n.Type, Mode: uint32(n.Mode), UID: n.UID, GID: n.GID,
		Size: count(n.Size), MTime: n.ModTime, LinkTarget: n.LinkTarget, Snapshot: snapshot}
}

func count(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
