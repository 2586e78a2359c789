package job

import (
	"context"
	"crypto/rand"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/dump"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
)

// These run the real restic, and a real rest-server where the network matters.

// TestMain lets this program stand for the agent's where restic runs a command through it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == dump.Subcommand {
		os.Exit(dump.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

type realFixture struct {
	*Manager
	t       *testing.T
	dir     string
	version string
	seen    *recorder
}

func newReal(t *testing.T, change ...func(*Options)) *realFixture {
	t.Helper()
	return newRealVersion(t, env.Restic, change...)
}

func newRealVersion(t *testing.T, version string, change ...func(*Options)) *realFixture {
	t.Helper()
	f := &realFixture{t: t, dir: t.TempDir(), version: version}
	f.open(change...)
	return f
}

func (f *realFixture) open(change ...func(*Options)) {
	f.t.Helper()
	path, err := env.Binary("", f.version)
	if err != nil {
		f.t.Fatal(err)
	}
	f.seen = newRecorder()
	o := options(f.dir, f.seen)
	o.Restic = func(ctx context.Context) (restic.Binary, error) { return restic.Find(ctx, path) }
	o.RetryLock, o.Grace = -1, 20*time.Second
	for _, c := range change {
		c(&o)
	}
	if f.Manager, err = Open(o); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(f.Manager.Close)
}

func (f *realFixture) submit(j Job) {
	f.t.Helper()
	if err := f.Submit(j); err != nil {
		f.t.Fatal(err)
	}
}

func (f *realFixture) result(id string) wire.JobFinished {
	f.t.Helper()
	for {
		r := receive(f.t, f.seen.finished, "the result of "+id)
		if r.Job.JobID == id {
			return r
		}
	}
}

// repository makes one on the local disk.
func (f *realFixture) repository() string {
	f.t.Helper()
	url := filepath.Join(f.t.TempDir(), "repo")
	f.Ensure(backupJob("ignored", url))
	if r := f.result(InitID(url)); r.Outcome != wire.OutcomeSucceeded {
		f.t.Fatalf("init: %+v", r)
	}
	return url
}

func source(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	data := make([]byte, size)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data"), data, 0o640); err != nil {
		t.Fatal(err)
	}
	return dir
}

// slow makes a backup take half a minute. Only so slow that a pack is written within seconds: restic ends a cancelled run between packs.
func slow(j Job, t *testing.T) Job {
	j.Backup.Includes = []string{source(t, 160<<20)}
	j.Bandwidth = wire.Bandwidth{UploadKBps: 5000}
	return j
}

// underway waits until restic has read something.
func (f *realFixture) underway(id string) {
	f.t.Helper()
	for {
		if p := receive(f.t, f.seen.progress, "progress of "+id); p.Job.JobID == id && p.BytesDone > 0 {
			return
		}
	}
}

func TestRealBackupAndRestoreOfTheLatest(t *testing.T) {
	f := newReal(t)
	server, err := env.StartRestServer(t.Context(), env.RestServerOptions{Dir: t.TempDir(), Users: map[string]string{"web-1": "server pass"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	ca, err := os.ReadFile(server.CA.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	with := func(j Job) Job {
		j.Repository.CABundle = string(ca)
		j.Credential = func() (wire.Credential, error) {
			return wire.Credential{Environment: map[string]string{"RESTIC_PASSWORD": "correct horse", "RESTIC_REST_USERNAME": "web-1", "RESTIC_REST_PASSWORD": "server pass"}}, nil
		}
		return j
	}
	url := server.RepositoryURL("web-1")
	f.Ensure(with(backupJob("ignored", url)))
	if r := f.result(InitID(url)); r.Outcome != wire.OutcomeSucceeded {
		t.Fatalf("init: %+v", r)
	}
	if s := receive(t, f.seen.states, "the state"); s.State != wire.RepositoryReady {
		t.Errorf("state %+v", s)
	}
	dir := source(t, 100_000)
	j := with(backupJob("job-1", url))
	j.Backup.Includes = []string{dir, dir + "-gone"}
	f.submit(j)
	r := f.result("job-1")
	if r.Outcome != wire.OutcomeCompletedWithErrors || r.Reason != wire.ReasonSourceMissing || r.Backup.SnapshotID == "" || !slices.Equal(r.Backup.FailedPaths, []string{dir + "-gone"}) {
		t.Errorf("%+v %+v", r, r.Backup)
	}
	f.submit(with(restoreJob("job-2", url, "")))
	restored := f.result("job-2")
	if restored.Outcome != wire.OutcomeSucceeded || restored.Restore.SnapshotID != r.Backup.SnapshotID || restored.Restore.FilesRestored == 0 {
		t.Fatalf("%+v %+v", restored, restored.Restore)
	}
	want, err := os.ReadFile(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(f.dir, "restore", "job-2", dir, "data")); err != nil || !slices.Equal(got, want) {
		t.Errorf("restored %d bytes, %v", len(got), err)
	}
	wrong := with(backupJob("job-3", url))
	wrong.Credential = func() (wire.Credential, error) {
		return wire.Credential{Environment: map[string]string{"RESTIC_PASSWORD": "battery staple", "RESTIC_REST_USERNAME": "web-1", "RESTIC_REST_PASSWORD": "server pass"}}, nil
	}
	wrong.Backup.Includes = []string{dir}
	f.submit(wrong)
	if r := f.result("job-3"); r.Reason != wire.ReasonWrongPassword || strings.Contains(r.Message+r.LogTail, "battery") {
		t.Errorf("%+v", r)
	}
	if s := receive(t, f.seen.states, "the state"); s.State != wire.RepositoryFailed || s.Reason != wire.ReasonWrongPassword {
		t.Errorf("state %+v", s)
	}
}

func TestRealResticShowsRetryingLongBeforeItGivesUpAndCanBeCancelled(t *testing.T) {
	f := newReal(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "rest:http://" + listener.Addr().String() + "/x"
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	j := backupJob("job-1", url)
	j.Backup.Includes = []string{source(t, 10)}
	f.submit(j)
	if s := receive(t, f.seen.states, "retrying"); s.State != wire.RepositoryRetrying || s.Reason != wire.ReasonUnreachable {
		t.Errorf("state %+v", s)
	}
	if p := receive(t, f.seen.progress, "retrying"); !strings.Contains(p.Retrying, "refused") {
		t.Errorf("progress %+v", p)
	}
	if err := f.Cancel("job-1"); err != nil {
		t.Fatal(err)
	}
	if r := f.result("job-1"); r.Outcome != wire.OutcomeCancelled {
		t.Errorf("%+v", r)
	}
}

func TestRealBackupCancelledHalfwayLeavesNoLock(t *testing.T) {
	f := newReal(t)
	url := f.repository()
	f.submit(slow(backupJob("job-1", url), t))
	f.underway("job-1")
	if err := f.Cancel("job-1"); err != nil {
		t.Fatal(err)
	}
	if r := f.result("job-1"); r.Outcome != wire.OutcomeCancelled || r.Reason != wire.ReasonCancelled {
		t.Errorf("%+v", r)
	}
	if locks, err := os.ReadDir(filepath.Join(url, "locks")); err != nil || len(locks) != 0 {
		t.Errorf("locks %v, %v", locks, err)
	}
}

func TestRealJobsQueueForOneRepositoryAndAnotherGoesOn(t *testing.T) {
	f := newReal(t)
	a, b := f.repository(), f.repository()
	f.submit(slow(backupJob("job-1", a), t))
	f.underway("job-1")
	second := backupJob("job-2", a)
	second.Backup.Includes = []string{source(t, 10)}
	f.submit(second)
	other := backupJob("job-3", b)
	other.Backup.Includes = []string{source(t, 10)}
	f.submit(other)
	if r := f.result("job-3"); r.Outcome != wire.OutcomeSucceeded {
		t.Errorf("%+v", r)
	}
	if !slices.Equal(f.Running(), []string{"job-1"}) || !slices.Equal(f.Queued(), []string{"job-2"}) {
		t.Errorf("running %v, queued %v", f.Running(), f.Queued())
	}
	if err := f.Cancel("job-1"); err != nil {
		t.Fatal(err)
	}
	f.result("job-1")
	if r := f.result("job-2"); r.Outcome != wire.OutcomeSucceeded {
		t.Errorf("%+v", r)
	}
}

func TestRealAgentThatStopsReportsItsJobAndTheNextLifeGoesOn(t *testing.T) {
	f := newReal(t)
	url := f.repository()
	j := slow(backupJob("job-1", url), t)
	f.submit(j)
	f.underway("job-1")
	f.Close()
	if r := f.result("job-1"); r.Outcome != wire.OutcomeFailed || r.Reason != wire.ReasonAgentRestarted {
		t.Errorf("%+v", r)
	}
	f.open()
	if left := f.Recover(); len(left) != 0 {
		t.Errorf("reported twice: %+v", left)
	}
	next := backupJob("job-2", url)
	next.Backup.Includes = []string{source(t, 10)}
	f.submit(next)
	if r := f.result("job-2"); r.Outcome != wire.OutcomeSucceeded {
		t.Errorf("%+v", r)
	}
}
