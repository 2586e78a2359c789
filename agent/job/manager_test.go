package job

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestABackupIsTranslatedBothWays(t *testing.T) {
	f := newFixture(t)
	j := backupJob("job-1", "/srv/repo")
	j.Bandwidth = wire.Bandwidth{UploadKBps: 100, DownloadKBps: 200}
	j.Backup = &wire.SourceGroup{Name: "etc", Tag: "tag", Includes: []string{"/etc"}, Excludes: []string{"*.x"}, IExcludes: []string{"*.Y"},
		ExcludeIfPresent: []string{".no"}, ExcludeCaches: true, ExcludeLargerThan: "1G", OneFileSystem: true, Bandwidth: wire.Bandwidth{UploadKBps: 50}}
	j.Offline = true
	f.submit(j)
	c := f.next("backup")
	want := restic.BackupOptions{Tag: "tag", Paths: []string{"/etc"}, Excludes: []string{"*.x"}, ExcludesIgnoreCase: []string{"*.Y"}, ExcludeIfPresent: []string{".no"},
		ExcludeCaches: true, ExcludeLargerThan: "1G", OneFileSystem: true, Limits: restic.Limits{UploadKBps: 50, DownloadKBps: 200},
		Repository: restic.Repository{URL: "/srv/repo", Environment: map[string]string{"RESTIC_PASSWORD": "correct horse"}, CABundle: []byte{}, ClientCertificate: []byte{}}}
	if diff := cmp.Diff(want, c.backup); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	if s := receive(t, f.seen.started, "the start"); s.Queued || !s.StartedAt.Equal(begin) {
		t.Errorf("started %+v", s)
	}
	if diff := cmp.Diff([]string{"job-1"}, f.Running()); diff != "" {
		t.Errorf("running: %s", diff)
	}
	f.clock.Advance(time.Minute)
	c.observer.Line(restic.Line{Time: f.clock.Now(), Text: "scanning"})
	c.done(reply{backup: restic.BackupResult{SnapshotID: "abcdef0123456789", CompletedWithErrors: true, Message: "2 paths are missing in the backup",
		Missing: restic.Failures{Count: 1, First: []restic.Failure{{Item: "/gone"}}}, Unreadable: restic.Failures{Count: 1, First: []restic.Failure{{Item: "/etc/shadow"}}},
		FilesNew: 3, TotalFiles: 5, TotalBytes: 7, BytesAdded: 6, BytesStored: 4, ExitCode: 3}})
	got := f.result("job-1")
	if !strings.Contains(got.LogTail, "scanning") || !strings.Contains(got.LogTail, "agent: CompletedWithErrors: 2 paths are missing") {
		t.Errorf("log tail %q", got.LogTail)
	}
	got.LogTail = ""
	result := wire.JobFinished{Job: j.Ref, Outcome: wire.OutcomeCompletedWithErrors, Reason: wire.ReasonSourceMissing, Message: "2 paths are missing in the backup",
		ExitCode: 3, StartedAt: begin, FinishedAt: begin.Add(time.Minute), Offline: true,
		Backup: &wire.BackupSummary{SnapshotID: "abcdef0123456789", FilesNew: 3, FilesProcessed: 5, BytesProcessed: 7, BytesAdded: 6, BytesStored: 4, Errors: 2, FailedPaths: []string{"/gone", "/etc/shadow"}}}
	if diff := cmp.Diff(result, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	if s := receive(t, f.seen.states, "the repository's state"); s.State != wire.RepositoryReady {
		t.Errorf("state %+v", s)
	}
}

func TestFailuresHaveAReasonAndASentence(t *testing.T) {
	for kind, want := range map[restic.Kind]wire.Reason{
		restic.KindNoRepository: wire.ReasonNoRepository, restic.KindHalfInitialised: wire.ReasonHalfInitialised, restic.KindWrongPassword: wire.ReasonWrongPassword,
		restic.KindUnauthorized: wire.ReasonUnauthorized, restic.KindUnreachable: wire.ReasonUnreachable, restic.KindTLS: wire.ReasonTLS,
		restic.KindNothingToBackUp: wire.ReasonSourceMissing, restic.KindFailed: wire.ReasonResticFailed, restic.KindNoSpace: wire.ReasonNoSpace,
		restic.KindKilled: wire.ReasonResticFailed, restic.KindNotStarted: wire.ReasonResticMissing,
	} {
		t.Run(string(kind), func(t *testing.T) {
			f := newFixture(t)
			f.submit(backupJob("job-1", "/srv/repo"))
			f.next("backup").done(reply{err: failure(kind), backup: restic.BackupResult{ExitCode: 1}})
			got := f.result("job-1")
			if got.Outcome != wire.OutcomeFailed || got.Reason != want || got.Message != "restic says "+string(kind) || got.ExitCode != 1 {
				t.Errorf("%s %s %q exit %d", got.Outcome, got.Reason, got.Message, got.ExitCode)
			}
			about := kind != restic.KindNothingToBackUp && kind != restic.KindFailed && kind != restic.KindNoSpace && kind != restic.KindKilled && kind != restic.KindNotStarted
			select {
			case s := <-f.seen.states:
				if !about || s.State != wire.RepositoryFailed || s.Reason != want || s.Message == "" {
					t.Errorf("repository state %+v", s)
				}
			default:
				if about {
					t.Error("the repository's state was not told")
				}
			}
		})
	}
}

func TestWhatFailsBeforeResticSaysWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*fixture, *Job)
		reason wire.Reason
		say    string
	}{
		{"no restic", func(f *fixture, _ *Job) { f.newRunner = f.resticRunner }, wire.ReasonResticMissing, "no restic here"},
		{"no credential", func(_ *fixture, j *Job) {
			j.Credential = func() (wire.Credential, error) { return wire.Credential{}, errors.New("the vault is empty") }
		}, wire.ReasonNoCredential, "the vault is empty"},
		{"a credential that runs programs", func(_ *fixture, j *Job) {
			j.Credential = func() (wire.Credential, error) {
				return wire.Credential{Environment: map[string]string{"RESTIC_PASSWORD": "x", "RESTIC_PASSWORD_COMMAND": "id"}}, nil
			}
		}, wire.ReasonNoCredential, "RESTIC_PASSWORD_COMMAND"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			j := backupJob("job-1", "/srv/repo")
			c.change(f, &j)
			f.submit(j)
			got := f.result("job-1")
			if got.Outcome != wire.OutcomeFailed || got.Reason != c.reason || !strings.Contains(got.Message, c.say) || got.ExitCode != -1 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestJobsOfOneRepositoryRunOneAfterTheOther(t *testing.T) {
	f := newFixture(t)
	f.submit(backupJob("job-1", "/srv/a"))
	first := f.next("backup")
	f.submit(backupJob("job-2", "/srv/a"))
	f.submit(backupJob("job-3", "/srv/b"))
	other := f.next("backup")
	if other.repository.URL != "/srv/b" {
		t.Fatalf("%s runs beside the first, want the other repository", other.repository.URL)
	}
	if diff := cmp.Diff([]string{"job-2"}, f.Queued()); diff != "" {
		t.Errorf("queued: %s", diff)
	}
	queued := false
	for range 3 {
		s := receive(t, f.seen.started, "a start")
		queued = queued || s.Job.JobID == "job-2" && s.Queued
	}
	if !queued {
		t.Error("the waiting job was not shown as queued")
	}
	first.done(reply{})
	f.result("job-1")
	second := f.next("backup")
	if s := receive(t, f.seen.started, "the start of job-2"); s.Job.JobID != "job-2" || s.Queued {
		t.Errorf("%+v", s)
	}
	second.done(reply{})
	f.result("job-2")
	other.done(reply{})
	f.result("job-3")
}

func TestAnIdRunsOnceAndADuplicateIsAnswered(t *testing.T) {
	f := newFixture(t)
	j := backupJob("job-1", "/srv/a")
	f.submit(j)
	running := f.next("backup")
	receive(t, f.seen.started, "the start")
	if err := f.Submit(j); !errors.Is(err, ErrKnown) {
		t.Errorf("while it runs: %v", err)
	}
	if s := receive(t, f.seen.started, "the answer"); s.Queued || s.StartedAt.IsZero() {
		t.Errorf("the answer while it runs: %+v", s)
	}
	running.done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01"}})
	first := f.result("job-1")
	settled(t, func() bool { e, _ := f.ledger.lookup("job-1"); return e.delivered })
	if err := f.Submit(j); !errors.Is(err, ErrKnown) {
		t.Errorf("after its end: %v", err)
	}
	if diff := cmp.Diff(first, f.result("job-1")); diff != "" {
		t.Errorf("the answer after its end: %s", diff)
	}
	f.Close()
	f.open()
	if err := f.Submit(j); !errors.Is(err, ErrKnown) {
		t.Errorf("in the next life: %v", err)
	}
	if diff := cmp.Diff(first, f.result("job-1")); diff != "" {
		t.Errorf("the answer in the next life: %s", diff)
	}
	none(t, f.restic.calls, "restic ran again")
}

// settled polls for something that follows at once on another goroutine.
func settled(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("waited in vain")
		}
	}
}

func TestTheIdIsDurableBeforeResticStarts(t *testing.T) {
	f := newFixture(t)
	f.submit(backupJob("job-1", "/srv/a"))
	c := f.next("backup")
	raw, err := os.ReadFile(filepath.Join(f.dir, "ledger", "job-1.json"))
	if err != nil || !strings.Contains(string(raw), `"state":"Started"`) || strings.Contains(string(raw), "correct horse") {
		t.Errorf("the ledger while restic runs: %s, %v", raw, err)
	}
	c.done(reply{})
	f.result("job-1")
}

func TestALedgerThatCannotBeWrittenStartsNothing(t *testing.T) {
	f := newFixture(t)
	if err := os.RemoveAll(filepath.Join(f.dir, "ledger")); err != nil {
		t.Fatal(err)
	}
	if err := f.Submit(backupJob("job-1", "/srv/a")); err == nil || errors.Is(err, ErrKnown) {
		t.Errorf("accepted without a ledger: %v", err)
	}
	none(t, f.restic.calls, "restic was started")
}

func TestCancellingARunningJobEndsResticAndAWaitingOneNeverStarts(t *testing.T) {
	f := newFixture(t)
	f.submit(backupJob("job-1", "/srv/a"))
	c := f.next("backup")
	f.submit(backupJob("job-2", "/srv/a"))
	for _, id := range []string{"job-2", "job-1"} {
		if err := f.Cancel(id); err != nil {
			t.Fatal(err)
		}
		got := f.result(id)
		if got.Outcome != wire.OutcomeCancelled || got.Reason != wire.ReasonCancelled || got.StartedAt.IsZero() != (id == "job-2") {
			t.Errorf("%s: %+v", id, got)
		}
	}
	if !errors.Is(context.Cause(c.ctx), errCancelled) {
		t.Error("restic was not told")
	}
	if err := f.Cancel("job-9"); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown job: %v", err)
	}
	none(t, f.restic.calls, "a cancelled job ran")
}

func TestAJobEndsAtItsDeadline(t *testing.T) {
	f := newFixture(t)
	j := backupJob("job-1", "/srv/a")
	j.Deadline = time.Hour
	f.submit(j)
	f.next("backup")
	f.clock.BlockUntil(1)
	f.clock.Advance(time.Hour)
	if got := f.result("job-1"); got.Outcome != wire.OutcomeFailed || got.Reason != wire.ReasonDeadlineExceeded || !strings.Contains(got.Message, "1h0m0s") {
		t.Errorf("%+v", got)
	}
}

func TestAJobWhoseTurnComesTooLateExpires(t *testing.T) {
	f := newFixture(t)
	f.submit(backupJob("job-1", "/srv/a"))
	first := f.next("backup")
	j := backupJob("job-2", "/srv/a")
	j.NotAfter = begin.Add(time.Hour)
	f.submit(j)
	f.clock.Advance(2 * time.Hour)
	first.done(reply{})
	f.result("job-1")
	if got := f.result("job-2"); got.Outcome != wire.OutcomeFailed || got.Reason != wire.ReasonExpired {
		t.Errorf("%+v", got)
	}
}

func TestAStaleLockIsRemovedAndTheJobTriedOnceMore(t *testing.T) {
	for name, second := range map[string]error{"it goes on": nil, "it is still locked": failure(restic.KindLocked)} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.submit(backupJob("job-1", "/srv/a"))
			f.next("backup").done(reply{err: failure(restic.KindLocked)})
			f.next("unlock").done(reply{removed: 1})
			f.next("backup").done(reply{err: second, backup: restic.BackupResult{SnapshotID: "abcdef01"}})
			got := f.result("job-1")
			if second == nil && got.Outcome != wire.OutcomeSucceeded || second != nil && got.Reason != wire.ReasonLocked {
				t.Errorf("%+v", got)
			}
			none(t, f.restic.calls, "restic was called once too often")
		})
	}
}

func TestRetryingIsShownAndGoesBackToReady(t *testing.T) {
	f := newFixture(t)
	f.submit(backupJob("job-1", "/srv/a"))
	c := f.next("backup")
	c.observer.Retrying(restic.Retry{Kind: restic.KindUnreachable, Reason: "connection refused", Attempts: 1})
	if s := receive(t, f.seen.states, "the state"); s.State != wire.RepositoryRetrying || s.Reason != wire.ReasonUnreachable || !strings.Contains(s.Message, "connection refused") {
		t.Errorf("state %+v", s)
	}
	if p := receive(t, f.seen.progress, "progress"); p.Retrying != "connection refused" {
		t.Errorf("progress %+v", p)
	}
	c.observer.Retrying(restic.Retry{Kind: restic.KindUnreachable, Reason: "connection refused", Attempts: 2})
	none(t, f.seen.states, "the same state was told again")
	f.clock.Advance(2 * time.Second)
	c.observer.Retrying(restic.Retry{Recovered: true})
	if s := receive(t, f.seen.states, "the state"); s.State != wire.RepositoryReady {
		t.Errorf("state %+v", s)
	}
	if p := receive(t, f.seen.progress, "progress"); p.Retrying != "" {
		t.Errorf("progress %+v", p)
	}
	c.observer.Retrying(restic.Retry{Kind: restic.KindUnreachable, Reason: "again", Attempts: 1})
	none(t, f.seen.states, "a second connection made noise")
	f.clock.Advance(10 * time.Second)
	c.observer.Retrying(restic.Retry{Kind: restic.KindUnreachable, Reason: "again", Attempts: 3})
	if s := receive(t, f.seen.states, "the state"); s.State != wire.RepositoryRetrying {
		t.Errorf("state %+v", s)
	}
	if err := f.Cancel("job-1"); err != nil {
		t.Fatal(err)
	}
	f.result("job-1")
	if s := receive(t, f.seen.states, "the state"); s.State != wire.RepositoryFailed || s.Reason != wire.ReasonUnreachable {
		t.Errorf("nobody tries any more, and the state is %+v", s)
	}
}

func TestProgressComesAtMostOnceASecond(t *testing.T) {
	f := newFixture(t)
	f.submit(backupJob("job-1", "/srv/a"))
	c := f.next("backup")
	for i := range uint64(50) {
		c.observer.Progress(restic.Progress{FilesDone: i, FilesTotal: 50, BytesDone: 2 * i, BytesTotal: 100, Remaining: 3 * time.Second})
		f.clock.Advance(100 * time.Millisecond)
	}
	if n := len(f.seen.progress); n != 5 {
		t.Errorf("%d messages in five seconds, want 5", n)
	}
	<-f.seen.progress
	want := wire.JobProgress{Job: backupJob("job-1", "").Ref, FilesDone: 10, FilesTotal: 50, BytesDone: 20, BytesTotal: 100, SecondsRemaining: 3}
	if diff := cmp.Diff(want, <-f.seen.progress); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c.done(reply{})
	f.result("job-1")
}

func TestAResultThatIsNotTakenIsToldAgain(t *testing.T) {
	f := newFixture(t)
	f.seen.refuse(errors.New("no space left on device"))
	f.submit(backupJob("job-1", "/srv/a"))
	f.next("backup").done(reply{})
	first := f.result("job-1")
	f.clock.BlockUntil(1)
	f.clock.Advance(redeliver)
	f.result("job-1")
	f.clock.BlockUntil(1)
	f.Close()
	f.open()
	if got := f.Recover(); len(got) != 1 || !cmp.Equal(first, got[0]) {
		t.Errorf("recovered %+v, want %+v", got, first)
	}
	f.result("job-1")
	f.Close()
	f.open()
	if got := f.Recover(); len(got) != 0 {
		t.Errorf("it was taken, and comes again: %+v", got)
	}
}

func TestJobsThatAKilledAgentLeftAreReportedFailedAndNeverRunAgain(t *testing.T) {
	f := newFixture(t)
	f.submit(backupJob("job-1", "/srv/a"))
	c := f.next("backup")
	c.observer.Line(restic.Line{Time: begin, Text: "the last words"})
	f.submit(backupJob("job-2", "/srv/a"))
	copyOf := &fixture{t: t, dir: t.TempDir(), clock: f.clock} // what a SIGKILL would leave: the disk as it is now
	if err := os.CopyFS(copyOf.dir, os.DirFS(f.dir)); err != nil {
		t.Fatal(err)
	}
	copyOf.open()
	if got := copyOf.Recover(); len(got) != 2 {
		t.Fatalf("recovered %+v, want both jobs", got)
	}
	for _, c := range []struct{ id, say string }{{"job-1", "while the job ran"}, {"job-2", "before the job's turn"}} {
		got := copyOf.result(c.id)
		if c.id == "job-1" && !strings.Contains(got.LogTail, "the last words") {
			t.Errorf("log tail %q", got.LogTail)
		}
		if got.Outcome != wire.OutcomeFailed || got.Reason != wire.ReasonAgentRestarted || !strings.Contains(got.Message, c.say) {
			t.Errorf("%s: %+v", c.id, got)
		}
	}
	if err := copyOf.Submit(backupJob("job-1", "/srv/a")); !errors.Is(err, ErrKnown) {
		t.Errorf("the killed job was accepted again: %v", err)
	}
	copyOf.result("job-1")
	copyOf.submit(backupJob("job-3", "/srv/a"))
	copyOf.next("backup").done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01"}})
	if got := copyOf.result("job-3"); got.Outcome != wire.OutcomeSucceeded {
		t.Errorf("the next backup: %+v", got)
	}
	c.done(reply{})
}

func TestClosingReportsEveryJob(t *testing.T) {
	f := newFixture(t)
	f.submit(backupJob("job-1", "/srv/a"))
	f.next("backup")
	f.submit(backupJob("job-2", "/srv/a"))
	f.Close()
	for _, id := range []string{"job-1", "job-2"} {
		if got := f.result(id); got.Outcome != wire.OutcomeFailed || got.Reason != wire.ReasonAgentRestarted {
			t.Errorf("%+v", got)
		}
	}
	if err := f.Submit(backupJob("job-3", "/srv/a")); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxQueued = 2 })
	f.submit(backupJob("job-1", "/srv/a"))
	c := f.next("backup")
	f.submit(backupJob("job-2", "/srv/a"))
	if err := f.Submit(backupJob("job-3", "/srv/a")); !errors.Is(err, ErrQueueFull) || f.Known("job-3") {
		t.Errorf("%v, known %v", err, f.Known("job-3"))
	}
	c.done(reply{})
	f.next("backup").done(reply{})
}

func TestJobsThatMakeNoSenseAreRefused(t *testing.T) {
	f := newFixture(t)
	for name, change := range map[string]func(*Job){
		"credential":       func(j *Job) { j.Credential = nil },
		"backup belongs":   func(j *Job) { j.Backup = nil },
		"restore belongs":  func(j *Job) { j.Restore = &wire.Restore{} },
		"not known to":     func(j *Job) { j.Ref.Kind, j.Backup = "Defrost", nil },
		"jobID is missing": func(j *Job) { j.Ref.JobID = "" },
		"characters other": func(j *Job) { j.Ref.JobID = "../../etc/passwd" },
	} {
		j := backupJob("job-1", "/srv/a")
		change(&j)
		if err := f.Submit(j); err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
