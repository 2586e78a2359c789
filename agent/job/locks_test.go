package job

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestStaleLocksAreRemovedAndCounted(t *testing.T) {
	f := newFixture(t, patient)
	f.Ensure(backupJob("ignored", "/srv/a"))
	f.next("probe").done(reply{state: restic.StateExists})
	f.state(wire.RepositoryReady, "", "")
	f.submit(backupJob("job-1", "/srv/a"))
	f.next("backup").done(reply{err: failure(restic.KindLocked)})
	f.next("unlock").done(reply{}) // a living one
	f.waitsFor("attempt 2 of 3 at 12:01 UTC: restic says Locked", 2)
	f.state(wire.RepositoryRetrying, wire.ReasonLocked, "attempt 2 of 3")

	f.Ensure(backupJob("ignored", "/srv/a")) // as at a reconnect: a look takes no lock
	f.next("probe").done(reply{state: restic.StateExists})
	f.pass(1, time.Minute)
	f.next("backup").done(reply{err: failure(restic.KindLocked)})
	f.next("unlock").done(reply{removed: 2})
	f.next("backup").done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01"}})
	if got := f.result("job-1"); got.Outcome != wire.OutcomeSucceeded || got.Attempts != 2 || got.LocksRemoved != 2 || !strings.Contains(got.LogTail, "stale locks removed: 2") {
		t.Errorf("%+v", got)
	}
	f.state(wire.RepositoryReady, "", "")
}

func TestAStaleLockIsNoticedSoonAndALivingOneIsWaitedFor(t *testing.T) {
	for _, c := range []struct {
		name    string
		removed int
		end     error
		outcome wire.Outcome
	}{
		{"a stale lock heals after a moment", 1, nil, wire.OutcomeSucceeded},
		{"a living one is waited for", 0, nil, wire.OutcomeSucceeded},
		{"not for ever", 0, failure(restic.KindLocked), wire.OutcomeFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			fake := f.restic
			f.newRunner = func(context.Context, *Job) (runners, error) {
				return runners{fake, &fakeRestic{calls: fake.calls, patient: true}}, nil
			}
			f.submit(backupJob("job-1", "/srv/a"))
			first := f.next("backup")
			first.done(reply{err: failure(restic.KindLocked)})
			f.next("unlock").done(reply{removed: c.removed})
			second := f.next("backup")
			if first.patient || !second.patient {
				t.Errorf("patience of the first %v, of the second %v", first.patient, second.patient)
			}
			second.done(reply{err: c.end, backup: restic.BackupResult{}})
			if got := f.result("job-1"); got.Outcome != c.outcome || got.Attempts != 0 || got.LocksRemoved != int64(c.removed) {
				t.Errorf("%+v", got)
			}
			none(t, f.restic.calls, "restic was called once too often")
		})
	}
}

func TestOnlyMorePatienceThanAMomentIsSpent(t *testing.T) {
	for patience, want := range map[time.Duration]time.Duration{0: firstPatience, 5 * time.Minute: firstPatience, firstPatience: firstPatience, time.Second: time.Second, -1: -1} {
		f := newFixture(t, func(o *Options) {
			o.RetryLock = patience
			o.Restic = func(context.Context) (restic.Binary, error) { return restic.Binary{Path: "/bin/restic"}, nil }
		})
		j := backupJob("job-1", "/srv/a")
		r, err := f.resticRunner(t.Context(), &j)
		if err != nil {
			t.Fatal(err)
		}
		first, patient := r.first.(*restic.Runner).RetryLock, r.patient.(*restic.Runner).RetryLock
		if first != want || patient != patience || (r.first == r.patient) != (first == patient) {
			t.Errorf("%v: first %v, patient %v, the same: %v", patience, first, patient, r.first == r.patient)
		}
	}
}
