package wire_test

import (
	"io/fs"

	"github.com/restic-manager/restic-manager/api/wire"
)

// inside gives what exists inside sealed bytes only what the golden test asks for.
type inside[T any] struct{ Value T }

func (*inside[T]) Validate() error { return nil }

func in[T any](v T) *inside[T] { return &inside[T]{v} }

// insideDocuments are the parameters of queries, and the records of answers.
func insideDocuments() map[string]interface{ Validate() error } {
	began, next := sampleTime, sampleTime.Add(24*3600e9)
	return map[string]interface{ Validate() error }{
		"query.parameters.log":       in(wire.QueryParameters{Log: &wire.LogQuery{Group: "etc-and-home", Since: &began, Follow: true, Verbose: true}}),
		"query.parameters.snapshots": in(wire.QueryParameters{Snapshots: &wire.SnapshotsQuery{Group: "etc-and-home"}}),
		"query.parameters.files":     in(wire.QueryParameters{Files: &wire.FilesQuery{Snapshot: sampleSnapshot, Path: "/home/ann", Recursive: true}}),
		"query.parameters.find":      in(wire.QueryParameters{Find: &wire.FindQuery{Pattern: "*.kdbx", IgnoreCase: true, Group: "etc-and-home"}}),
		"query.parameters.diff":      in(wire.QueryParameters{Diff: &wire.DiffQuery{From: "b0e1c2d3", To: sampleSnapshot}}),
		"query.parameters.content":   in(wire.QueryParameters{Content: &wire.ContentQuery{Snapshot: sampleSnapshot, Path: "/home/ann", Tar: true}}),
		"answer.log": in(wire.LogRecord{JobID: "fire-1f", Kind: wire.JobBackup, Group: "etc-and-home", Schedule: "nightly",
			StartTime: &began, Offset: 4711, State: wire.LogEnded, Outcome: wire.OutcomeSucceeded, NotVerbose: true}),
		"answer.snapshots": in(wire.SnapshotRecord{ID: sampleSnapshot, Time: sampleTime, ResticHost: sampleHost.ResticHost(),
			Tags: []string{"etc-and-home"}, Paths: []string{"/etc", "/home"}, Parent: "b0e1c2d3", Files: 4000, Bytes: 209715200, BytesAdded: 1048576}),
		"answer.files": in(wire.FileRecord{Path: "/home/ann/notes.txt", Type: "file", Mode: uint32(fs.FileMode(0o640)),
			UID: 1000, GID: 1000, Size: 1234, MTime: sampleTime, Snapshot: sampleSnapshot}),
		"answer.diff":         in(wire.DiffRecord{Path: "/home/ann/notes.txt", Modifier: "M"}),
		"answer.diff.summary": in(wire.DiffRecord{Summary: &wire.DiffSummary{ChangedFiles: 1, FilesAdded: 2, FilesRemoved: 3, BytesAdded: 4096, BytesRemoved: 512}}),
		"answer.diagnosis": in(wire.DiagnosisRecord{
			Time: sampleTime, Agent: "v0.4.0", Restic: "0.19.1", ResticPath: "/usr/bin/restic",
			OS: "linux", Arch: "amd64", Hostname: "web-1", StartTime: sampleTime.Add(-3600e9),
			Revision: "b1946ac92492d234", Serial: 1772328600000000, NextFire: &next,
			Disks:            []wire.DiskRecord{{Path: "/var/lib/restic-manager", BytesFree: 10737418240, BytesTotal: 53687091200, InodesFree: 3000000}},
			RepositoryReason: string(wire.ReasonLocked), RepositoryMessage: "the repository is locked by another process", RepositoryChecked: true,
			Locks:   []string{"5f2a9c01 exclusive, of process 4242 of root on db-1, refreshed 2026-03-01T01:25:00Z"},
			Running: []string{"fire-1f"}, Queued: []string{"job-2a"}, Unacked: 2, Consent: map[string]string{"hooks": "deny", "queries": "allow"},
		}),
		"answer.end": in(wire.AnswerEnd{Reason: wire.AnswerNotFound, Message: "the snapshot holds no /home/bob"}),
	}
}

// newInside returns an empty value of the type of a sample, nil for another one.
func newInside(v interface{ Validate() error }) interface{ Validate() error } {
	switch v.(type) {
	case *inside[wire.QueryParameters]:
		return &inside[wire.QueryParameters]{}
	case *inside[wire.LogRecord]:
		return &inside[wire.LogRecord]{}
	case *inside[wire.SnapshotRecord]:
		return &inside[wire.SnapshotRecord]{}
	case *inside[wire.FileRecord]:
		return &inside[wire.FileRecord]{}
	case *inside[wire.DiffRecord]:
		return &inside[wire.DiffRecord]{}
	case *inside[wire.DiagnosisRecord]:
		return &inside[wire.DiagnosisRecord]{}
	case *inside[wire.AnswerEnd]:
		return &inside[wire.AnswerEnd]{}
	}
	return nil
}
