package job

import (
	"testing"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestWhatTheStateOfTheOwnRepositoryTakesFromOtherWaysToIt(t *testing.T) {
	ready := func(f *fixture) {
		f.Ensure(backupJob("ignored", "/srv/a"))
		f.next("probe").done(reply{state: restic.StateExists})
		f.state(wire.RepositoryReady, "", "")
	}
	wrong := func(f *fixture) {
		f.Ensure(backupJob("ignored", "/srv/a"))
		f.next("probe").done(reply{err: failure(restic.KindWrongPassword)})
		f.state(wire.RepositoryFailed, wire.ReasonWrongPassword, "")
	}
	locked := func(f *fixture) {
		ready(f)
		f.submit(backupJob("job-0", "/srv/a"))
		f.next("backup").done(reply{err: failure(restic.KindLocked)})
		f.next("unlock").done(reply{})
		f.result("job-0")
		f.state(wire.RepositoryFailed, wire.ReasonLocked, "")
	}
	unknown := func(*fixture) {}
	admin := func(j *Job) { j.Repository.URL, j.Repository.SameAs = "/srv/admin/a", "/srv/a" }
	sameURL := func(*Job) {}
	other := func(j *Job) { j.TargetHost, j.Repository.Credential = "web-2", wire.CredentialTarget }
	elsewhere := func(j *Job) { j.TargetHost, j.Repository.URL = "web-2", "/srv/b" }
	for _, c := range []struct {
		name   string
		before func(*fixture)
		way    func(*Job)
		end    error
		want   *wire.RepoState
	}{
		{"an admin that is refused is no fault of the machine's own access", ready, admin, failure(restic.KindUnauthorized), nil},
		{"by the same URL too", ready, sameURL, failure(restic.KindUnauthorized), nil},
		{"an admin URL that is out of reach neither", ready, admin, failure(restic.KindUnreachable), nil},
		{"a lock that an admin meets is the repository's", ready, admin, failure(restic.KindLocked), &wire.RepoState{State: wire.RepositoryFailed, Reason: wire.ReasonLocked, URL: "/srv/a"}},
		{"an admin who gets through says that the lock is gone", locked, admin, nil, &wire.RepoState{State: wire.RepositoryReady, URL: "/srv/a"}},
		{"an admin who is refused says nothing about it", locked, admin, failure(restic.KindUnauthorized), nil},
		{"an admin who gets in does not make the machine's password right", wrong, admin, nil, nil},
		{"a lock does not hide a wrong password", wrong, admin, failure(restic.KindLocked), nil},
		{"an admin alone says nothing", unknown, admin, nil, nil},
		{"another host's access to a shared repository counts as little", ready, other, failure(restic.KindWrongPassword), nil},
		{"but for its locks", ready, other, failure(restic.KindLocked), &wire.RepoState{State: wire.RepositoryFailed, Reason: wire.ReasonLocked, URL: "/srv/a"}},
		{"another host's repository is another one", ready, elsewhere, failure(restic.KindLocked), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			c.before(f)
			j := pruneJob("job-1", "/srv/a")
			c.way(&j)
			if j.Repository.Credential != wire.CredentialAdmin { // prune is the admin's alone
				j.Ref.Kind, j.Prune, j.Check = wire.JobCheck, nil, &wire.Check{}
			}
			f.submit(j)
			work := receive(t, f.restic.calls, "the work")
			work.done(reply{err: c.end})
			if restic.KindOf(c.end) == restic.KindLocked {
				f.next("unlock").done(reply{})
			}
			f.result("job-1")
			f.Close()
			if c.want == nil {
				none(t, f.seen.states, "a state")
				return
			}
			if s := receive(t, f.seen.states, "the state"); s.State != c.want.State || s.Reason != c.want.Reason || s.URL != c.want.URL {
				t.Errorf("state %+v, want %+v", s, c.want)
			}
		})
	}
}
