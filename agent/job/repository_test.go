package job

import (
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

func (f *fixture) state(want wire.RepositoryState, reason wire.Reason, say string) {
	f.t.Helper()
	s := receive(f.t, f.seen.states, "the repository's state")
	if s.State != want || s.Reason != reason || !strings.Contains(s.Message, say) {
		f.t.Errorf("state %+v, want %s %s saying %q", s, want, reason, say)
	}
}

func TestARepositoryThatExistsIsReadyWithoutAJob(t *testing.T) {
	f := newFixture(t)
	f.Ensure(backupJob("ignored", "/srv/a"))
	f.next("probe").done(reply{state: restic.StateExists})
	f.state(wire.RepositoryReady, "", "")
	f.Close()
	none(t, f.seen.started, "a job")
	none(t, f.seen.finished, "a result")
}

func TestARepositoryThatIsMissingIsMadeOnce(t *testing.T) {
	f := newFixture(t)
	f.Ensure(backupJob("ignored", "/srv/a"))
	f.next("probe").done(reply{state: restic.StateMissing})
	f.next("init").done(reply{})
	got := f.result(InitID("/srv/a"))
	if got.Outcome != wire.OutcomeSucceeded || got.Job.Kind != wire.JobInit || got.ExitCode != 0 {
		t.Errorf("%+v", got)
	}
	f.state(wire.RepositoryReady, "", "")
	f.Ensure(backupJob("ignored", "/srv/a"))
	f.next("probe").done(reply{state: restic.StateMissing})
	f.state(wire.RepositoryFailed, wire.ReasonNoRepository, "was made before, and is gone")
	f.Close()
	f.open()
	f.Ensure(backupJob("ignored", "/srv/a"))
	f.next("probe").done(reply{state: restic.StateMissing})
	f.state(wire.RepositoryFailed, wire.ReasonNoRepository, "was made before, and is gone")
	f.Ensure(backupJob("ignored", "/srv/b"))
	f.next("probe").done(reply{state: restic.StateMissing})
	f.next("init").done(reply{})
	f.result(InitID("/srv/b"))
}

func TestAnInitThatFailedIsNotTriedAgainByItself(t *testing.T) {
	f := newFixture(t)
	f.Ensure(backupJob("ignored", "/srv/a"))
	f.next("probe").done(reply{state: restic.StateMissing})
	f.next("init").done(reply{err: failure(restic.KindHalfInitialised)})
	if got := f.result(InitID("/srv/a")); got.Outcome != wire.OutcomeFailed || got.Reason != wire.ReasonHalfInitialised {
		t.Errorf("%+v", got)
	}
	f.state(wire.RepositoryFailed, wire.ReasonHalfInitialised, "restic says")
	f.Ensure(backupJob("ignored", "/srv/a"))
	f.next("probe").done(reply{state: restic.StateMissing})
	f.state(wire.RepositoryFailed, wire.ReasonNoRepository, "making it failed on 2026-06-01: restic says HalfInitialised")
	init := backupJob("job-1", "/srv/a")
	init.Ref.Kind, init.Backup = wire.JobInit, nil
	f.submit(init) // a person asks
	f.next("init").done(reply{})
	f.result("job-1")
	f.state(wire.RepositoryReady, "", "")
}

func TestARepositoryThatDoesNotOpenIsLookedAtAgain(t *testing.T) {
	f := newFixture(t)
	f.Ensure(backupJob("ignored", "/srv/a"))
	c := f.next("probe")
	c.observer.Retrying(restic.Retry{Kind: restic.KindUnreachable, Reason: "connection refused"})
	f.state(wire.RepositoryRetrying, wire.ReasonUnreachable, "connection refused")
	c.done(reply{err: failure(restic.KindUnreachable)})
	f.state(wire.RepositoryFailed, wire.ReasonUnreachable, "restic says")
	f.clock.BlockUntil(1)
	f.clock.Advance(lookAgain)
	f.next("probe").done(reply{state: restic.StateExists})
	f.state(wire.RepositoryReady, "", "")
}

func TestOnlyTheNewestRepositoryIsLookedAtAgain(t *testing.T) {
	f := newFixture(t)
	f.Ensure(backupJob("ignored", "/srv/old"))
	f.next("probe").done(reply{err: failure(restic.KindWrongPassword)})
	f.state(wire.RepositoryFailed, wire.ReasonWrongPassword, "restic says")
	f.clock.BlockUntil(1)
	f.Ensure(backupJob("ignored", "/srv/new"))
	f.next("probe").done(reply{err: failure(restic.KindUnreachable)})
	f.state(wire.RepositoryFailed, wire.ReasonUnreachable, "restic says")
	f.clock.BlockUntil(2)
	f.clock.Advance(lookAgain)
	if c := f.next("probe"); c.repository.URL != "/srv/new" {
		t.Errorf("looked at %s again", c.repository.URL)
	} else {
		c.done(reply{state: restic.StateExists})
	}
	f.state(wire.RepositoryReady, "", "")
	f.Close()
	none(t, f.restic.calls, "another look")
}
