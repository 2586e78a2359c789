package job

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestWhenTheHostIsRemovedWhatRunsEndsAndNothingElseBegins(t *testing.T) {
	f := newFixture(t, patient)
	f.submit(backupJob("job-1", "/srv/a"))
	running := f.next("backup")
	f.submit(backupJob("job-2", "/srv/a"))
	f.Ensure(backupJob("", "/srv/a"))

	f.SetRemoved(true)
	if got := f.result("job-2"); got.Outcome != wire.OutcomeCancelled || got.Reason != wire.ReasonCancelled || !strings.Contains(got.Message, "was removed before") || !got.StartedAt.IsZero() {
		t.Errorf("the job that waited: %+v", got)
	}
	if err := f.Submit(backupJob("job-3", "/srv/b")); !errors.Is(err, ErrRemoved) || f.Known("job-3") {
		t.Errorf("a new job: %v", err)
	}
	f.Ensure(backupJob("", "/srv/b"))
	if running.ctx.Err() != nil {
		t.Error("the running backup was stopped")
	}
	running.done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01"}})
	if got := f.result("job-1"); got.Outcome != wire.OutcomeSucceeded || got.Backup.SnapshotID != "abcdef01" {
		t.Errorf("the job that ran: %+v", got)
	}
	settled(t, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.queues) == 0 })
	none(t, f.restic.calls, "restic was started for a removed Host")

	t.Log("the Host comes back")
	f.SetRemoved(false)
	f.submit(backupJob("job-4", "/srv/a"))
	f.next("backup").done(reply{})
	f.result("job-4")
}

func TestWhenTheHostIsRemovedNoFurtherAttemptIsMade(t *testing.T) {
	for name, removed := range map[string]func(*fixture){
		"while the job waits for its next attempt": func(f *fixture) {
			f.next("backup").done(reply{err: failure(restic.KindUnreachable)})
			f.waitsFor("attempt 2 of 3", 2)
			f.SetRemoved(true)
		},
		"while it waits for its turn after that": func(f *fixture) {
			f.next("backup").done(reply{err: failure(restic.KindUnreachable)})
			f.waitsFor("attempt 2 of 3", 2)
			f.submit(backupJob("job-0", "/srv/a"))
			f.next("backup") // and never ends
			f.pass(1, time.Minute)
			settled(f.t, func() bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return len(f.queues["/srv/a"].waiting) == 1
			})
			f.SetRemoved(true)
		},
		"while the attempt runs that fails": func(f *fixture) {
			c := f.next("backup")
			f.SetRemoved(true)
			c.done(reply{err: failure(restic.KindUnreachable)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, patient)
			f.submit(backupJob("job-1", "/srv/a"))
			removed(f)
			if got := f.result("job-1"); got.Outcome != wire.OutcomeCancelled || got.Reason != wire.ReasonCancelled || !strings.Contains(got.Message, "was removed before restic") {
				t.Errorf("%+v", got)
			}
			none(t, f.restic.calls, "restic was started once more")
		})
	}
}

func TestWhenTheHostIsRemovedALookIsDroppedAndNotRepeated(t *testing.T) {
	f := newFixture(t)
	f.Ensure(backupJob("", "/srv/a"))
	f.next("probe").done(reply{err: failure(restic.KindUnreachable)})
	f.state(wire.RepositoryFailed, wire.ReasonUnreachable, "restic says")
	f.clock.BlockUntil(1) // it is to be looked at again
	f.Ensure(backupJob("", "/srv/b"))
	look := f.next("probe")
	f.SetRemoved(true)
	<-look.ctx.Done()
	settled(t, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.queues) == 0 })
	f.clock.Advance(lookAgain)
	none(t, f.seen.states, "a look of a removed Host was told")
	none(t, f.restic.calls, "the repository of a removed Host is looked at")
}

func TestAJobThatLostItsCredentialWithTheHostIsCancelled(t *testing.T) {
	f := newFixture(t)
	j := backupJob("job-1", "/srv/a")
	j.Credential = func() (wire.Credential, error) {
		f.SetRemoved(true) // in the moment between the job's start and restic's
		return wire.Credential{}, errors.New("it is gone")
	}
	f.submit(j)
	if got := f.result("job-1"); got.Outcome != wire.OutcomeCancelled || !strings.Contains(got.Message, "was removed before restic") {
		t.Errorf("%+v", got)
	}
}
