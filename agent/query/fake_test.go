package query

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock/clocktest"
	"github.com/restic-manager/restic-manager/agent/query/querytest"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

var begin = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const snapshotID = "0123456789abcdef"

// fakeRestic does what the test says; the rest panics.
type fakeRestic struct {
	Restic
	snapshots  func(restic.SnapshotFilter, func(restic.Snapshot) error) error
	list       func(path string, recursive bool, each func(restic.Node) error) error
	find       func(restic.FindOptions, func(string, restic.Node) error) error
	diff       func(each func(restic.Difference) error) (restic.DiffSummary, error)
	dump       func(ctx context.Context, path string, w io.Writer) error
	dumpFolder func(ctx context.Context, path string, w io.Writer) error
	probe      func(ctx context.Context) (restic.State, error)
	locks      []restic.Lock
}

func (f *fakeRestic) EachSnapshot(_ context.Context, _ restic.Repository, filter restic.SnapshotFilter, each func(restic.Snapshot) error, _ restic.Observer) error {
	return f.snapshots(filter, each)
}

func (f *fakeRestic) List(_ context.Context, _ restic.Repository, _ string, each func(restic.Node) error, _ restic.Observer) error {
	return f.list("", true, each)
}

func (f *fakeRestic) ListFolder(_ context.Context, _ restic.Repository, _, path string, recursive bool, each func(restic.Node) error, _ restic.Observer) error {
	return f.list(path, recursive, each)
}

func (f *fakeRestic) Find(_ context.Context, _ restic.Repository, o restic.FindOptions, each func(string, restic.Node) error, _ restic.Observer) error {
	return f.find(o, each)
}

func (f *fakeRestic) Diff(_ context.Context, _ restic.Repository, _, _ string, each func(restic.Difference) error, _ restic.Observer) (restic.DiffSummary, error) {
	return f.diff(each)
}

func (f *fakeRestic) Dump(ctx context.Context, _ restic.Repository, _, path string, w io.Writer, _ restic.Observer) error {
	return f.dump(ctx, path, w)
}

func (f *fakeRestic) DumpFolder(ctx context.Context, _ restic.Repository, _, path string, w io.Writer, _ restic.Observer) error {
	return f.dumpFolder(ctx, path, w)
}

func (f *fakeRestic) Probe(ctx context.Context, _ restic.Repository, _ restic.Observer) (restic.State, error) {
	return f.probe(ctx)
}

func (f *fakeRestic) Locks(context.Context, restic.Repository, restic.Observer) ([]restic.Lock, error) {
	return f.locks, nil
}

// noLogs is a machine on which no job ever ran.
type noLogs struct{}

func (noLogs) NewestLog(string, bool) (string, bool)          { return "", false }
func (noLogs) Log(string) (wire.LogRecord, bool)              { return wire.LogRecord{}, false }
func (noLogs) OpenLog(string) (*os.File, error)               { return nil, os.ErrNotExist }
func (noLogs) FlushLog(string)                                {}
func (noLogs) Follow(string) (bell <-chan struct{}, _ func()) { return nil, func() {} }
func (noLogs) Verbose(string, string) (release func())        { return func() {} }

// fixture is a machine that answers by a fake restic and a clock of the test.
type fixture struct {
	*Answers
	t       *testing.T
	machine *querytest.Machine
	restic  *fakeRestic
	clock   *clocktest.Clock
	log     *lockedBuffer
	streams uint32
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newFixture(t *testing.T, change ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, machine: querytest.NewMachine(t), restic: &fakeRestic{}, clock: clocktest.New(begin), log: &lockedBuffer{}}
	o := Options{Verify: f.machine.Verify, SealingKey: f.machine.SealingKey, Sign: f.machine.Sign, AllowContent: true, Logs: noLogs{},
		Repository: func(context.Context) (Repository, error) {
			return Repository{Restic: f.restic, ResticHost: "shop/web-1", Tag: func(group string) string { return "tag-of-" + group }}, nil
		},
		Diagnosis: func() wire.DiagnosisRecord { return wire.DiagnosisRecord{Time: begin, Agent: "v1"} },
		Clock:     f.clock, Logger: slog.New(slog.NewTextHandler(f.log, nil))}
	for _, c := range change {
		c(&o)
	}
	f.Answers = New(o)
	t.Cleanup(f.Stop)
	return f
}

// question makes a query that is valid for an hour.
func (f *fixture) question(kind wire.QueryKind, p wire.QueryParameters, change ...func(*wire.HostQuery)) *querytest.Answer {
	f.t.Helper()
	return f.machine.Ask(kind, p, f.clock.Now().Add(time.Hour), change...)
}

// open asks under the next number, which it returns.
func (f *fixture) open(a *querytest.Answer) uint32 {
	f.streams++
	f.Open(a.Open(f.streams), a)
	return f.streams
}

// ask asks, and gives back the credit for all that is collected.
func (f *fixture) ask(kind wire.QueryKind, p wire.QueryParameters) *querytest.Answer {
	f.t.Helper()
	a := f.question(kind, p)
	number := f.streams + 1
	a.Grant = func(bytes int64) { f.Credit(&wire.StreamCredit{Stream: number, Bytes: bytes}) }
	f.open(a)
	return a
}

func contentOf(path string, archive bool) wire.QueryParameters {
	return wire.QueryParameters{Content: &wire.ContentQuery{Snapshot: snapshotID, Path: path, Tar: archive}}
}

// aFile lists one file at whatever path.
func aFile(size uint64) func(string, bool, func(restic.Node) error) error {
	return func(path string, _ bool, each func(restic.Node) error) error {
		return each(restic.Node{Path: path, Type: restic.NodeFile, Size: size, Mode: 0o640, ModTime: begin})
	}
}

// hang is a dump that says nothing until it is ended.
func hang(began chan<- struct{}) func(context.Context, string, io.Writer) error {
	return func(ctx context.Context, _ string, _ io.Writer) error {
		began <- struct{}{}
		<-ctx.Done()
		return context.Cause(ctx)
	}
}

func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case x := <-c:
		return x
	case <-time.After(20 * time.Second):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

func (f *fixture) logged(part string) int { return strings.Count(f.log.String(), part) }
