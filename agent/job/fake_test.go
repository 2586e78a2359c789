package job

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock/clocktest"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

var begin = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// call is one call of the fake restic: the test answers it.
type call struct {
	ctx        context.Context
	what       string
	patient    bool
	repository restic.Repository
	backup     restic.BackupOptions
	restore    restic.RestoreOptions
	forget     restic.ForgetOptions
	prune      restic.PruneOptions
	check      restic.CheckOptions
	filter     restic.SnapshotFilter
	observer   restic.Observer
	answer     chan<- reply
}

type reply struct {
	err     error
	state   restic.State
	backup  restic.BackupResult
	restore restic.RestoreResult
	removed int // by unlock
	forget  restic.ForgetResult
	prune   restic.PruneResult
	check   restic.CheckResult
	raw     uint64
	list    []restic.Snapshot
}

// done answers; a test that forgets it hangs.
func (c call) done(r reply) { c.answer <- r }

// fakeRestic hands each call to the test, and ends it with the context as restic does.
type fakeRestic struct {
	calls   chan call
	patient bool // has more patience than another one
}

func (f *fakeRestic) call(c call) reply {
	c.patient = f.patient
	answer := make(chan reply, 1)
	c.answer = answer
	f.calls <- c
	select {
	case r := <-answer:
		return r
	case <-c.ctx.Done():
		kind := restic.KindCancelled
		if errors.Is(context.Cause(c.ctx), context.DeadlineExceeded) {
			kind = restic.KindDeadlineExceeded
		}
		return reply{err: &restic.Error{Kind: kind, Command: c.what, ExitCode: 130, Message: "stopped"}}
	}
}

func (f *fakeRestic) Probe(ctx context.Context, r restic.Repository, o restic.Observer) (restic.State, error) {
	x := f.call(call{ctx: ctx, what: "probe", repository: r, observer: o})
	return x.state, x.err
}

func (f *fakeRestic) Init(ctx context.Context, r restic.Repository, o restic.Observer) error {
	return f.call(call{ctx: ctx, what: "init", repository: r, observer: o}).err
}

func (f *fakeRestic) Unlock(ctx context.Context, r restic.Repository, o restic.Observer) (int, error) {
	x := f.call(call{ctx: ctx, what: "unlock", repository: r, observer: o})
	return x.removed, x.err
}

func (f *fakeRestic) Forget(ctx context.Context, g restic.ForgetOptions, o restic.Observer) (restic.ForgetResult, error) {
	x := f.call(call{ctx: ctx, what: "forget", repository: g.Repository, forget: g, observer: o})
	return x.forget, x.err
}

func (f *fakeRestic) Prune(ctx context.Context, p restic.PruneOptions, o restic.Observer) (restic.PruneResult, error) {
	x := f.call(call{ctx: ctx, what: "prune", repository: p.Repository, prune: p, observer: o})
	return x.prune, x.err
}

func (f *fakeRestic) Check(ctx context.Context, k restic.CheckOptions, o restic.Observer) (restic.CheckResult, error) {
	x := f.call(call{ctx: ctx, what: "check", repository: k.Repository, check: k, observer: o})
	return x.check, x.err
}

func (f *fakeRestic) Snapshots(ctx context.Context, r restic.Repository, filter restic.SnapshotFilter, o restic.Observer) ([]restic.Snapshot, error) {
	x := f.call(call{ctx: ctx, what: "snapshots", repository: r, filter: filter, observer: o})
	return x.list, x.err
}

func (f *fakeRestic) Stats(ctx context.Context, r restic.Repository, _ restic.Limits, o restic.Observer) (uint64, error) {
	x := f.call(call{ctx: ctx, what: "stats", repository: r, observer: o})
	return x.raw, x.err
}

// List and Dump belong to restore drills, which tests of this package replace as a whole.
func (f *fakeRestic) List(context.Context, restic.Repository, string, func(restic.Node) error, restic.Observer) error {
	return errors.New("not faked")
}

func (f *fakeRestic) Dump(context.Context, restic.Repository, string, string, io.Writer, restic.Observer) error {
	return errors.New("not faked")
}

func (f *fakeRestic) Backup(ctx context.Context, b restic.BackupOptions, o restic.Observer) (restic.BackupResult, error) {
	x := f.call(call{ctx: ctx, what: "backup", repository: b.Repository, backup: b, observer: o})
	return x.backup, x.err
}

func (f *fakeRestic) Restore(ctx context.Context, r restic.RestoreOptions, o restic.Observer) (restic.RestoreResult, error) {
	x := f.call(call{ctx: ctx, what: "restore", repository: r.Repository, restore: r, observer: o})
	return x.restore, x.err
}

// recorder is an Observer.
type recorder struct {
	started  chan wire.JobStarted
	progress chan wire.JobProgress
	finished chan wire.JobFinished
	states   chan wire.RepoState
	stats    chan wire.RepoStats

	mu      sync.Mutex
	refused error // what Finished returns
}

func newRecorder() *recorder {
	return &recorder{started: make(chan wire.JobStarted, 100), progress: make(chan wire.JobProgress, 10_000), finished: make(chan wire.JobFinished, 100), states: make(chan wire.RepoState, 100),
		stats: make(chan wire.RepoStats, 100)}
}

func (r *recorder) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = err
}

func (r *recorder) Started(m wire.JobStarted)   { r.started <- m }
func (r *recorder) Progress(m wire.JobProgress) { r.progress <- m }
func (r *recorder) RepoState(m wire.RepoState)  { r.states <- m }
func (r *recorder) RepoStats(m wire.RepoStats)  { r.stats <- m }
func (r *recorder) Finished(m wire.JobFinished) error {
	r.finished <- m
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

// fixture is a Manager with a fake restic.
type fixture struct {
	*Manager
	t      *testing.T
	dir    string
	clock  *clocktest.Clock
	restic *fakeRestic
	seen   *recorder
}

func newFixture(t *testing.T, change ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), clock: clocktest.New(begin)}
	f.open(change...)
	return f
}

// open begins a new life on the same folder.
func (f *fixture) open(change ...func(*Options)) {
	f.t.Helper()
	f.restic, f.seen = &fakeRestic{calls: make(chan call, 10)}, newRecorder()
	o := options(f.dir, f.seen)
	o.Clock = f.clock
	for _, c := range change {
		c(&o)
	}
	m, err := Open(o)
	if err != nil {
		f.t.Fatal(err)
	}
	fake := f.restic
	m.newRunner = func(context.Context, *Job) (runners, error) { return runners{fake, fake}, nil }
	f.Manager = m
	f.t.Cleanup(m.Close)
}

func options(dir string, o Observer) Options {
	return Options{Dir: filepath.Join(dir, "ledger"), LogDir: filepath.Join(dir, "logs"), CacheDir: filepath.Join(dir, "cache"), TempDir: filepath.Join(dir, "tmp"),
		RestoreDir: filepath.Join(dir, "restore"), RetryBackoff: []time.Duration{}, Protected: []string{dir}, Observer: o, Logger: slog.New(slog.DiscardHandler),
		Restic: func(context.Context) (restic.Binary, error) { return restic.Binary{}, errors.New("no restic here") }}
}

func credential() (wire.Credential, error) {
	return wire.Credential{Environment: map[string]string{"RESTIC_PASSWORD": "correct horse"}}, nil
}

func backupJob(id, url string) Job {
	return Job{Ref: wire.JobRef{JobID: id, Kind: wire.JobBackup, SourceGroup: "etc"}, ResticHost: "web-1.shop",
		Repository: wire.Repository{URL: url, Credential: wire.CredentialRepository}, Credential: credential,
		Backup: &wire.SourceGroup{Name: "etc", Tag: "etc", Includes: []string{"/etc"}}}
}

func restoreJob(id, url, target string) Job {
	j := backupJob(id, url)
	j.Ref.Kind, j.Backup = wire.JobRestore, nil
	j.Restore = &wire.Restore{Snapshot: wire.LatestSnapshot, Tag: "etc", Target: target}
	return j
}

func (f *fixture) submit(j Job) {
	f.t.Helper()
	if err := f.Submit(j); err != nil {
		f.t.Fatal(err)
	}
}

// next waits for a call of restic and checks what it is.
func (f *fixture) next(what string) call {
	f.t.Helper()
	c := receive(f.t, f.restic.calls, "a call of restic "+what)
	if c.what != what {
		f.t.Fatalf("restic %s was called, want %s", c.what, what)
	}
	return c
}

func (f *fixture) result(id string) wire.JobFinished {
	f.t.Helper()
	r := receive(f.t, f.seen.finished, "the result of "+id)
	if r.Job.JobID != id {
		f.t.Fatalf("result of %s, want of %s: %+v", r.Job.JobID, id, r)
	}
	check := r
	check.SetID(wire.ReportID{Epoch: "e", Seq: 1})
	if err := check.Validate(); err != nil {
		f.t.Errorf("the result of %s is not valid: %v", id, err)
	}
	return r
}

func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case x := <-c:
		return x
	case <-time.After(time.Minute):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

func none[T any](t *testing.T, c <-chan T, what string) {
	t.Helper()
	select {
	case x := <-c:
		t.Errorf("%s: %+v", what, x)
	default:
	}
}

func failure(kind restic.Kind) error {
	return &restic.Error{Kind: kind, Command: "backup", ExitCode: 1, Message: "restic says " + string(kind)}
}
