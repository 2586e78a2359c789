package job

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

func patient(o *Options) { o.RetryBackoff = []time.Duration{time.Minute, 5 * time.Minute} }

// pass lets a wait for the next attempt pass; n timers are expected to run.
func (f *fixture) pass(n int, d time.Duration) {
	f.t.Helper()
	f.clock.BlockUntil(n)
	f.clock.Advance(d)
}

func (f *fixture) waitsFor(say string, attempt int64) {
	f.t.Helper()
	p := receive(f.t, f.seen.progress, "progress")
	if !strings.Contains(p.Retrying, say) || p.Attempt != attempt {
		f.t.Errorf("progress %+v, want attempt %d, saying %q", p, attempt, say)
	}
}

func TestTheDefaultBackoffIsLongerThanALockIsStale(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.RetryBackoff = nil })
	if diff := cmp.Diff([]time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute}, f.options.RetryBackoff); diff != "" {
		t.Error(diff)
	}
}

func TestAJobThatCannotReachItsRepositoryWaitsAndIsTriedAgain(t *testing.T) {
	f := newFixture(t, patient)
	f.submit(backupJob("job-1", "/srv/a"))
	f.next("backup").done(reply{err: failure(restic.KindUnreachable)})
	f.waitsFor("attempt 2 of 3 at 12:01 UTC: restic says Unreachable", 2)
	f.state(wire.RepositoryRetrying, wire.ReasonUnreachable, "attempt 2 of 3")
	if diff := cmp.Diff([]string{"job-1"}, f.Running()); diff != "" {
		t.Errorf("a job that waits for its next attempt counts as running: %s", diff)
	}
	receive(t, f.seen.started, "the start")
	f.Announce()
	receive(t, f.seen.started, "the start, told again")
	f.waitsFor("attempt 2 of 3", 2)

	f.pass(1, time.Minute)
	c := f.next("backup")
	c.observer.Progress(restic.Progress{FilesDone: 3})
	if p := receive(t, f.seen.progress, "progress"); p.Attempt != 2 || p.Retrying != "" || p.FilesDone != 3 {
		t.Errorf("progress of the second attempt: %+v", p)
	}
	c.done(reply{err: failure(restic.KindUnreachable)})
	f.waitsFor("attempt 3 of 3 at 12:06 UTC", 3)
	f.pass(1, 5*time.Minute)
	f.next("backup").done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01"}})
	got := f.result("job-1")
	if got.Outcome != wire.OutcomeSucceeded || got.Attempts != 3 || !got.StartedAt.Equal(begin) || !got.FinishedAt.Equal(begin.Add(6*time.Minute)) {
		t.Errorf("%+v", got)
	}
	f.state(wire.RepositoryReady, "", "")
}

func TestTheLastAttemptDecides(t *testing.T) {
	f := newFixture(t, patient)
	f.submit(backupJob("job-1", "/srv/a"))
	for _, wait := range []time.Duration{time.Minute, 5 * time.Minute} {
		f.next("backup").done(reply{err: failure(restic.KindUnreachable)})
		f.pass(1, wait)
	}
	f.next("backup").done(reply{err: failure(restic.KindUnreachable)})
	if got := f.result("job-1"); got.Outcome != wire.OutcomeFailed || got.Reason != wire.ReasonUnreachable || got.Attempts != 3 || got.Message != "restic says Unreachable" {
		t.Errorf("%+v", got)
	}
	f.state(wire.RepositoryRetrying, wire.ReasonUnreachable, "attempt 2 of 3")
	f.state(wire.RepositoryFailed, wire.ReasonUnreachable, "restic says")
}

func TestOnlyWhatMayGetBetterByItselfIsTriedAgain(t *testing.T) {
	for kind, again := range map[restic.Kind]bool{
		restic.KindLocked: true, restic.KindUnreachable: true,
		restic.KindWrongPassword: false, restic.KindNoRepository: false, restic.KindUnauthorized: false, restic.KindTLS: false, restic.KindNoSpace: false,
		restic.KindFailed: false, restic.KindKilled: false, restic.KindNothingToBackUp: false, restic.KindCommandFailed: false, restic.KindCommandEmpty: false,
	} {
		t.Run(string(kind), func(t *testing.T) {
			f := newFixture(t, patient)
			f.submit(backupJob("job-1", "/srv/a"))
			f.next("backup").done(reply{err: failure(kind)})
			if kind == restic.KindLocked {
				f.next("unlock").done(reply{})
			}
			if again {
				f.waitsFor("attempt 2 of 3", 2)
				f.pass(1, time.Minute)
				f.next("backup").done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01"}})
			}
			if got := f.result("job-1"); (got.Outcome == wire.OutcomeSucceeded) != again || (got.Attempts == 2) != again {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAnInitIsNotTriedAgain(t *testing.T) {
	f := newFixture(t, patient)
	j := backupJob("job-1", "/srv/a")
	j.Ref.Kind, j.Backup = wire.JobInit, nil
	f.submit(j)
	f.next("init").done(reply{err: failure(restic.KindUnreachable)})
	if got := f.result("job-1"); got.Outcome != wire.OutcomeFailed || got.Attempts != 0 {
		t.Errorf("%+v", got)
	}
}

func TestABackupWhoseSnapshotIsThereIsNotMadeTwice(t *testing.T) {
	f := newFixture(t, patient)
	f.submit(backupJob("job-1", "/srv/a"))
	f.next("backup").done(reply{err: failure(restic.KindUnreachable), backup: restic.BackupResult{SnapshotID: "abcdef01"}})
	if got := f.result("job-1"); got.Outcome != wire.OutcomeFailed || got.Attempts != 0 {
		t.Errorf("%+v", got)
	}
}

func TestOtherJobsRunWhileOneWaitsForItsNextAttempt(t *testing.T) {
	f := newFixture(t, patient)
	f.submit(backupJob("job-1", "/srv/a"))
	first := f.next("backup")
	f.submit(backupJob("job-2", "/srv/a"))
	first.done(reply{err: failure(restic.KindUnreachable)})
	second := f.next("backup")
	f.pass(1, time.Minute) // its time has come, and the other one still runs
	settled(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.queues["/srv/a"].waiting) == 1
	})
	second.done(reply{backup: restic.BackupResult{SnapshotID: "abcdef02"}})
	f.result("job-2")
	f.next("backup").done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01"}})
	if got := f.result("job-1"); got.Outcome != wire.OutcomeSucceeded || got.Attempts != 2 {
		t.Errorf("%+v", got)
	}
}

func TestAJobThatWaitsForItsNextAttemptCanBeStopped(t *testing.T) {
	for _, place := range []string{"while it waits", "while another job has the turn"} {
		for _, c := range []struct {
			name    string
			stop    func(*fixture)
			outcome wire.Outcome
			reason  wire.Reason
		}{
			{"by a cancellation", func(f *fixture) {
				if err := f.Cancel("job-1"); err != nil {
					f.t.Error(err)
				}
			}, wire.OutcomeCancelled, wire.ReasonCancelled},
			{"by its deadline", func(f *fixture) { f.pass(1, time.Hour) }, wire.OutcomeFailed, wire.ReasonDeadlineExceeded},
			{"by the end of the agent", func(f *fixture) { go f.Close() }, wire.OutcomeFailed, wire.ReasonAgentRestarted},
		} {
			t.Run(place+", "+c.name, func(t *testing.T) {
				f := newFixture(t, func(o *Options) { o.RetryBackoff = []time.Duration{2 * time.Hour} })
				if place != "while it waits" {
					f.options.RetryBackoff[0] = time.Minute
				}
				j := backupJob("job-1", "/srv/a")
				j.Deadline = time.Hour
				f.submit(j)
				first := f.next("backup")
				var other call
				if place != "while it waits" {
					f.submit(backupJob("job-2", "/srv/a"))
				}
				first.done(reply{err: failure(restic.KindUnreachable)})
				f.waitsFor("attempt 2 of 2", 2)
				if place != "while it waits" {
					other = f.next("backup")
					f.pass(2, time.Minute)
					settled(t, func() bool {
						f.mu.Lock()
						defer f.mu.Unlock()
						return len(f.queues["/srv/a"].waiting) == 1
					})
				}
				c.stop(f)
				got := receive(t, f.seen.finished, "the result")
				for got.Job.JobID != "job-1" { // the end of the agent ends the other one too
					got = receive(t, f.seen.finished, "the result")
				}
				if got.Outcome != c.outcome || got.Reason != c.reason || got.Attempts != 0 {
					t.Errorf("%+v", got)
				}
				if other.answer != nil {
					other.done(reply{})
				}
				f.Close()
				none(t, f.restic.calls, "it was tried again")
			})
		}
	}
}

func TestWithoutABackoffThereIsOneAttempt(t *testing.T) {
	f := newFixture(t)
	f.submit(backupJob("job-1", "/srv/a"))
	f.next("backup").done(reply{err: failure(restic.KindLocked)})
	f.next("unlock").done(reply{err: failure(restic.KindUnreachable)})
	if got := f.result("job-1"); got.Outcome != wire.OutcomeFailed || got.Reason != wire.ReasonLocked || got.Attempts != 0 {
		t.Errorf("%+v", got)
	}
}

func TestCredentialsAreAskedAtEachAttempt(t *testing.T) {
	f := newFixture(t, patient)
	asked := make(chan bool, 10)
	j := backupJob("job-1", "/srv/a")
	j.Credential = func() (wire.Credential, error) {
		asked <- true
		return credential()
	}
	opened := make(chan bool, 10)
	j.Opened = func() { opened <- true }
	f.submit(j)
	f.next("backup").done(reply{err: failure(restic.KindUnreachable)})
	none(t, opened, "it did not open")
	f.pass(1, time.Minute)
	f.next("backup").done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01"}})
	f.result("job-1")
	if len(asked) != 2 || len(opened) != 1 {
		t.Errorf("asked %d times, opened %d times", len(asked), len(opened))
	}
}

func TestAJobWhoseSecondAttemptFailsOtherwiseLeavesNoRetryingBehind(t *testing.T) {
	f := newFixture(t, patient)
	j := backupJob("job-1", "/srv/a")
	first := true
	j.Credential = func() (wire.Credential, error) {
		if first {
			first = false
			return credential()
		}
		return wire.Credential{}, errors.New("gone")
	}
	f.submit(j)
	f.next("backup").done(reply{err: failure(restic.KindUnreachable)})
	f.state(wire.RepositoryRetrying, wire.ReasonUnreachable, "attempt 2")
	f.pass(1, time.Minute)
	if got := f.result("job-1"); got.Reason != wire.ReasonNoCredential {
		t.Errorf("%+v", got)
	}
	f.state(wire.RepositoryFailed, wire.ReasonNoCredential, "gone")
}
