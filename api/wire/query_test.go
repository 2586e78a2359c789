package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// MarshalJSON leaves the wrapper out, and UnmarshalJSON puts it back.
func (i *inside[T]) MarshalJSON() ([]byte, error)   { return json.Marshal(i.Value) }
func (i *inside[T]) UnmarshalJSON(raw []byte) error { return json.Unmarshal(raw, &i.Value) }

func TestMessagesOfStreamsThatAreNotValid(t *testing.T) {
	checkBroken(t, []broken{
		breaking(t, "an open without a query", func(m *wire.StreamOpen) { m.Query = "" }, "query is missing"),
		breaking(t, "an open with a large query", func(m *wire.StreamOpen) { m.Query = long(wire.MaxBundle + 1) }, "query is longer than"),
		breaking(t, "an open with many signatures", func(m *wire.StreamOpen) { m.Signatures = make([]wire.Signature, wire.MaxSignatures+1) }, "signatures has 9 entries"),
		breaking(t, "an open with too little credit", func(m *wire.StreamOpen) { m.Credit = wire.MaxChunk }, "credit is below one chunk"),
		breaking(t, "an open with credit below nothing", func(m *wire.StreamOpen) { m.Credit = -1 }, "credit is below one chunk"),
		breaking(t, "no credit", func(m *wire.StreamCredit) { m.Bytes = 0 }, "bytes is 0, want 1 to 1048576"),
		breaking(t, "credit that is taken away", func(m *wire.StreamCredit) { m.Bytes = -5 }, "bytes is -5"),
		breaking(t, "credit beyond the window", func(m *wire.StreamCredit) { m.Bytes = wire.StreamWindow + 1 }, "bytes is 1048577"),
		breaking(t, "a close with a long reason", func(m *wire.StreamClose) { m.Reason = wire.RefusalReason(long(254)) }, "reason is longer than 253 bytes"),
	})
}

func TestQueriesThatAreNotValid(t *testing.T) {
	query := func(sentence string, damage func(*wire.HostQuery), want string) broken {
		return changed(sentence, sampleQuery(), damage, want)
	}
	checkBroken(t, []broken{
		query("another label", func(q *wire.HostQuery) { q.Label = wire.JobCommandLabel }, "label is"),
		query("no host", func(q *wire.HostQuery) { q.Host.Name = "" }, "host: name is missing"),
		query("no identity", func(q *wire.HostQuery) { q.IdentityHash = "" }, "identityHash is missing"),
		query("no name", func(q *wire.HostQuery) { q.Name = "" }, "name is missing"),
		query("no uid", func(q *wire.HostQuery) { q.UID = "" }, "uid is missing"),
		query("no end", func(q *wire.HostQuery) { q.NotAfter = time.Time{} }, "notAfter is missing"),
		query("an unknown kind", func(q *wire.HostQuery) { q.Kind = "Shell" }, `kind "Shell" is not known`),
		query("large parameters", func(q *wire.HostQuery) { q.Parameters = make([]byte, wire.MaxQueryParameters+1) }, "parameters have 16385 bytes"),
		query("half a key", func(q *wire.HostQuery) { q.PublicKey = q.PublicKey[:16] }, "publicKey has 16 bytes, want 32"),
	})
}

// asked are parameters with the kind that they are for.
type asked struct {
	kind wire.QueryKind
	wire.QueryParameters
}

func (a asked) Validate() error { return a.QueryParameters.Validate(a.kind) }

func TestParametersThatAreNotValid(t *testing.T) {
	logs := func(q wire.LogQuery) asked { return asked{wire.QueryLog, wire.QueryParameters{Log: &q}} }
	files := func(q wire.FilesQuery) asked { return asked{wire.QueryFiles, wire.QueryParameters{Files: &q}} }
	find := func(q wire.FindQuery) asked { return asked{wire.QueryFind, wire.QueryParameters{Find: &q}} }
	snapshots := func(q wire.SnapshotsQuery) asked {
		return asked{wire.QuerySnapshots, wire.QueryParameters{Snapshots: &q}}
	}
	content := func(q wire.ContentQuery) asked { return asked{wire.QueryContent, wire.QueryParameters{Content: &q}} }
	checkBroken(t, []broken{
		{"parameters of another kind", asked{wire.QueryDiagnosis, wire.QueryParameters{Log: &wire.LogQuery{}}}, "log belongs to kind Log"},
		{"parameters of two kinds", asked{wire.QueryLog, wire.QueryParameters{Log: &wire.LogQuery{}, Diff: &wire.DiffQuery{}}}, "diff belongs to kind Diff"},
		{"files of nothing", asked{wire.QueryFiles, wire.QueryParameters{}}, "files is missing for kind Files"},
		{"content of nothing", asked{wire.QueryContent, wire.QueryParameters{}}, "content is missing for kind Content"},
		{"a job id that is a path", logs(wire.LogQuery{JobID: "../ledger/x"}), "log.jobID is no job id"},
		{"a job and its group", logs(wire.LogQuery{JobID: "j", Group: "etc"}), "group and previous exclude it"},
		{"a job and the one before", logs(wire.LogQuery{JobID: "j", Previous: true}), "group and previous exclude it"},
		{"an offset before the log", logs(wire.LogQuery{Offset: -1}), "log.offset is negative"},
		{"a long group", logs(wire.LogQuery{Group: long(254)}), "log.group is longer than 253 bytes"},
		{"one host and all", snapshots(wire.SnapshotsQuery{ResticHost: "h", AllHosts: true}), "exclude each other"},
		{"a snapshot that is an option", files(wire.FilesQuery{Snapshot: "--repo=/"}), "is no id"},
		{"the latest snapshot", files(wire.FilesQuery{Snapshot: "latest"}), "is no id"},
		{"a relative folder", files(wire.FilesQuery{Snapshot: sampleSnapshot, Path: "etc"}), "files.path is not absolute"},
		{"a long path", files(wire.FilesQuery{Snapshot: sampleSnapshot, Path: "/" + long(wire.MaxString)}), "files.path is longer"},
		{"a search for nothing", find(wire.FindQuery{}), "find.pattern is missing"},
		{"a search for what is no text", find(wire.FindQuery{Pattern: "\xff"}), "find.pattern is not valid UTF-8"},
		{"a search in no snapshot", find(wire.FindQuery{Pattern: "x", Snapshot: "x"}), "find.snapshot"},
		{"a difference to nothing", asked{wire.QueryDiff, wire.QueryParameters{Diff: &wire.DiffQuery{From: sampleSnapshot}}}, "diff.to"},
		{"a relative file", content(wire.ContentQuery{Snapshot: sampleSnapshot, Path: "../x"}), "content.path is not absolute"},
		{"content of no snapshot", content(wire.ContentQuery{Path: "/x"}), "content.snapshot"},
	})
}

func TestChunksHoldWhatWasPutIntoThem(t *testing.T) {
	var chunk []byte
	var err error
	for n := 0; ; n++ {
		before := len(chunk)
		if chunk, err = wire.AppendRecord(chunk, wire.FileRecord{Path: "/" + long(1000)}); err != nil {
			if !errors.Is(err, wire.ErrChunkFull) || len(chunk) != before || n < 100 {
				t.Fatalf("after %d records of %d bytes: %v", n, len(chunk), err)
			}
			break
		}
	}
	kind, rest, err := wire.DecodeChunk(chunk)
	if err != nil || kind != wire.ChunkRecords || !bytes.HasSuffix(rest, []byte("\n")) || len(chunk) > wire.MaxChunk {
		t.Errorf("%c %v, %d bytes", kind, err, len(chunk))
	}
	if _, err := wire.AppendRecord(nil, long(wire.MaxChunk)); err == nil || errors.Is(err, wire.ErrChunkFull) {
		t.Errorf("a record that no chunk holds: %v", err)
	}
	kind, rest, err = wire.DecodeChunk(wire.EndChunk(wire.AnswerEnd{Reason: wire.AnswerBusy}))
	if err != nil || kind != wire.ChunkEnd || string(rest) != `{"reason":"Busy"}` {
		t.Errorf("%c %s %v", kind, rest, err)
	}
	if _, _, err := wire.DecodeChunk(nil); err == nil {
		t.Error("an empty chunk was decoded")
	}
}

func TestDataFramesAreReadAsTheyWereWritten(t *testing.T) {
	frame := wire.EncodeData(0xfffffffe, []byte("chunk"))
	if stream, chunk, err := wire.DecodeData(frame); err != nil || stream != 0xfffffffe || string(chunk) != "chunk" {
		t.Errorf("%d %q %v", stream, chunk, err)
	}
	for name, frame := range map[string][]byte{"nothing": nil, "half a number": {0, 0}, "a number alone": {0, 0, 0, 1}, "too much": make([]byte, wire.MaxChunk+wire.ChunkOverhead+5)} {
		if _, _, err := wire.DecodeData(frame); err == nil || !strings.Contains(err.Error(), "binary frame") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
