package job

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// owner has the machine own /srv/a with two groups.
func owner(o *Options) {
	o.Own = func() (Own, bool) {
		return Own{ResticHost: "web-1.shop", Repository: wire.Repository{URL: "/srv/a", Credential: wire.CredentialRepository}, Credential: credential,
			Groups: []wire.SourceGroup{{Name: "etc", Tag: "etc"}, {Name: "db", Tag: "dumps"}}}, true
	}
}

func snapshotOf(tag string, ago time.Duration, bytes uint64) restic.Snapshot {
	return restic.Snapshot{Time: begin.Add(-ago), Tags: []string{tag}, TotalBytes: bytes, Hostname: "web-1.shop"}
}

func TestAListingIsSummarisedByGroup(t *testing.T) {
	snapshots := []restic.Snapshot{snapshotOf("etc", 3*time.Hour, 10), snapshotOf("gone", 2*time.Hour, 1000), snapshotOf("etc", time.Hour, 20), snapshotOf("dumps", time.Minute, 5),
		snapshotOf("etc", -4*time.Minute, 30), snapshotOf("etc", -time.Hour, 40)}
	want := wire.RepositoryStats{Time: begin, ListedTime: begin, Snapshots: 6, RestoreBytes: 35, FutureSnapshots: 1, Groups: []wire.GroupStats{
		{Name: "etc", Snapshots: 4, RestoreBytes: 30, Oldest: begin.Add(-3 * time.Hour), Newest: begin.Add(4 * time.Minute)},
		{Name: "db", Snapshots: 1, RestoreBytes: 5, Oldest: begin.Add(-time.Minute), Newest: begin.Add(-time.Minute)},
		{Name: "none"},
	}}
	groups := []wire.SourceGroup{{Name: "etc", Tag: "etc"}, {Name: "db", Tag: "dumps"}, {Name: "none", Tag: "none"}}
	if diff := cmp.Diff(want, summarise(snapshots, groups, begin)); diff != "" {
		t.Error(diff)
	}
}

// backUp runs one backup of /srv/a with so many bytes.
func (f *fixture) backUp(id string, bytes uint64) wire.JobFinished {
	f.t.Helper()
	f.submit(backupJob(id, "/srv/a"))
	f.next("backup").done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01", TotalBytes: bytes}})
	return f.result(id)
}

func (f *fixture) listed(measured bool, list ...restic.Snapshot) wire.RepoStats {
	f.t.Helper()
	c := f.next("snapshots")
	if c.filter.Host != "web-1.shop" || c.repository.URL != "/srv/a" {
		f.t.Errorf("%s lists %+v", c.repository.URL, c.filter)
	}
	c.done(reply{list: list})
	if measured {
		f.next("stats").done(reply{raw: 777})
	}
	s := receive(f.t, f.seen.stats, "statistics")
	s.SetID(wire.ReportID{Epoch: "e", Seq: 1})
	if err := s.Validate(); err != nil {
		f.t.Error(err)
	}
	return s
}

func TestBackupsAreCountedOnAndListedOnceADay(t *testing.T) {
	f := newFixture(t, owner)
	if got := f.backUp("job-1", 10); got.Stats != nil {
		t.Errorf("nothing was listed yet: %+v", got.Stats)
	}
	first := f.listed(true, snapshotOf("etc", time.Hour, 10))
	want := wire.RepositoryStats{Time: begin, ListedTime: begin, Snapshots: 1, RestoreBytes: 10, RawBytes: 777, RawTime: begin, Groups: []wire.GroupStats{
		{Name: "etc", Snapshots: 1, RestoreBytes: 10, Oldest: begin.Add(-time.Hour), Newest: begin.Add(-time.Hour)}, {Name: "db"}}}
	if diff := cmp.Diff(want, first.Stats); diff != "" || first.URL != "/srv/a" {
		t.Errorf("%s %s", first.URL, diff)
	}

	f.clock.Advance(23 * time.Hour)
	now := begin.Add(23 * time.Hour)
	want.Time, want.Snapshots, want.RestoreBytes = now, 2, 30
	want.Groups = []wire.GroupStats{{Name: "etc", Snapshots: 2, RestoreBytes: 30, Oldest: begin.Add(-time.Hour), Newest: now}, {Name: "db"}}
	if diff := cmp.Diff(&want, f.backUp("job-2", 30).Stats); diff != "" {
		t.Errorf("after a day less an hour: %s", diff)
	}

	f.Close() // the next life knows
	f.open(owner)
	f.clock.Advance(time.Hour)
	if got := f.backUp("job-3", 5).Stats; got == nil || got.Snapshots != 3 || got.RestoreBytes != 5 || got.ListedTime != begin {
		t.Errorf("after a day: %+v", got)
	}
	if s := f.listed(false, snapshotOf("etc", 0, 10)).Stats; s.RawBytes != 777 || s.RawTime != begin || s.ListedTime != begin.Add(24*time.Hour) {
		t.Errorf("%+v", s)
	}
	f.clock.Advance(6 * 24 * time.Hour)
	f.backUp("job-4", 5)
	f.listed(true) // the size of the repository is measured once a week
	f.Close()
	none(t, f.restic.calls, "restic was called once too often")
}

func TestMaintenanceIsFollowedByAListing(t *testing.T) {
	admin := func(j Job) Job {
		j.Repository.URL, j.Repository.SameAs, j.Repository.Credential = "/srv/admin/a", "/srv/a", wire.CredentialAdmin
		return j
	}
	for _, c := range []struct {
		job              Job
		call             string
		answer           reply
		listed, measured bool
	}{
		{job: admin(forgetJob("forget", "/srv/a", "etc")), call: "forget", listed: true},
		{job: forgetJob("refused", "/srv/a", "etc"), call: "forget", answer: reply{err: failure(restic.KindForgetRefused)}},
		{job: forgetJob("half", "/srv/a", "etc"), call: "forget", answer: reply{err: failure(restic.KindForgetRefused), forget: restic.ForgetResult{Removed: 1, Refused: 1}}, listed: true},
		{job: admin(pruneJob("prune", "/srv/a")), call: "prune", listed: true, measured: true},
		{job: checkJob("check", "/srv/a"), call: "check", listed: true, measured: true},
		{job: checkJob("damaged", "/srv/a"), call: "check", answer: reply{err: failure(restic.KindDamaged)}},
		{job: kindJob("unlock", wire.JobUnlock, "/srv/a"), call: "unlock", listed: true},
		{job: kindJob("init", wire.JobInit, "/srv/a"), call: "init", listed: true},
		{job: restoreJob("restore", "/srv/a", ""), call: "restore"},
		{job: checkJob("elsewhere", "/srv/b"), call: "check"},
	} {
		t.Run(c.job.Ref.JobID, func(t *testing.T) {
			f := newFixture(t, owner)
			f.backUp("job-0", 1)
			f.listed(true)
			f.submit(c.job)
			f.next(c.call).done(c.answer)
			f.result(c.job.Ref.JobID)
			if c.listed {
				f.listed(c.measured)
			}
			f.Close()
			none(t, f.restic.calls, "restic was called once too often")
		})
	}
}

func TestAListingWaitsForItsTurnAndOneIsEnough(t *testing.T) {
	f := newFixture(t, owner)
	f.submit(checkJob("job-1", "/srv/a"))
	first := f.next("check")
	f.submit(checkJob("job-2", "/srv/a"))
	f.submit(kindJob("job-3", wire.JobUnlock, "/srv/a"))
	first.done(reply{})
	f.result("job-1")
	f.next("check").done(reply{})
	f.result("job-2")
	f.next("unlock").done(reply{})
	f.result("job-3")
	f.listed(true)
	f.Close()
	none(t, f.restic.calls, "restic was called once too often")
}

func TestAListingThatFailsIsMadeAfterTheNextJob(t *testing.T) {
	f := newFixture(t, owner)
	f.backUp("job-0", 1)
	f.listed(true)
	f.submit(checkJob("job-1", "/srv/a"))
	f.next("check").done(reply{})
	f.result("job-1")
	f.next("snapshots").done(reply{err: failure(restic.KindUnreachable)})
	f.backUp("job-2", 1)
	f.next("snapshots").done(reply{})
	f.next("stats").done(reply{err: failure(restic.KindUnreachable)})
	if s := receive(t, f.seen.stats, "statistics").Stats; s.RawBytes != 777 || s.Snapshots != 0 {
		t.Errorf("without a new measurement: %+v", s)
	}
	f.Close()
	f.open(owner) // a restart does not forget what is due
	f.Ensure(backupJob("ignored", "/srv/a"))
	f.next("probe").done(reply{state: restic.StateExists})
	f.submit(checkJob("job-3", "/srv/a"))
	f.next("check").done(reply{})
	f.result("job-3")
	f.listed(true)
}

func TestARepositoryThatIsThereAlreadyIsListedAtOnce(t *testing.T) {
	f := newFixture(t, owner)
	f.Ensure(backupJob("ignored", "/srv/a"))
	f.next("probe").done(reply{state: restic.StateExists})
	f.listed(true, snapshotOf("etc", time.Hour, 10))
	f.Ensure(backupJob("ignored", "/srv/a"))
	f.next("probe").done(reply{state: restic.StateExists})
	f.Close()
	none(t, f.restic.calls, "it was listed again")
}

func TestStatisticsBelongToOneRepository(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stats.json")
	logger := slog.New(slog.DiscardHandler)
	a := Own{ResticHost: "web-1.shop", Repository: wire.Repository{URL: "/srv/a"}}
	b := Own{ResticHost: "web-1.shop", Repository: wire.Repository{URL: "/srv/b"}}
	s := openStats(path, logger)
	s.listed(a, wire.RepositoryStats{Time: begin, ListedTime: begin, Snapshots: 3}, true)
	if got := openStats(path, logger).count(a, "etc", 1, begin, begin); got == nil || got.Snapshots != 4 {
		t.Errorf("after a restart: %+v", got)
	}
	if got := openStats(path, logger).count(b, "etc", 1, begin, begin); got != nil {
		t.Errorf("of another repository: %+v", got)
	}
	if raw, err := os.ReadFile(path); err != nil || len(raw) == 0 {
		t.Errorf("%s, %v", raw, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := openStats(path, logger); !s.unknown(a) {
		t.Error("a damaged file counts")
	}
}
