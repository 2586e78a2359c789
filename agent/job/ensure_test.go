package job

import (
	"testing"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// A set with another certificate or caps can come while a look at the repository still waits for a long backup.
func TestALookThatWaitsGoesTheNewestWay(t *testing.T) {
	f := newFixture(t)
	f.submit(backupJob("long", "/srv/a"))
	running := f.next("backup")
	f.Ensure(backupJob("ignored", "/srv/a"))
	newer := backupJob("ignored", "/srv/a")
	newer.Repository.CABundle = "the new one"
	f.Ensure(newer)
	running.done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01"}})
	f.result("long")
	f.state(wire.RepositoryReady, "", "")

	c := f.next("probe")
	if got := string(c.repository.CABundle); got != "the new one" {
		t.Errorf("the look goes with the CA bundle %q", got)
	}
	c.done(reply{err: failure(restic.KindUnreachable)})
	f.state(wire.RepositoryFailed, wire.ReasonUnreachable, "")
	// It is the newest look, so it is the one that is made again.
	f.clock.BlockUntil(1)
	f.clock.Advance(lookAgain)
	f.next("probe").done(reply{state: restic.StateExists})
	f.state(wire.RepositoryReady, "", "")
}
