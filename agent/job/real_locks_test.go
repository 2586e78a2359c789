package job

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock/clocktest"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
)

// locks counts those that are written.
func locks(t *testing.T, url string) int {
	t.Helper()
	files, err := env.Locks(url)
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func localForget(id, url string) Job {
	j := lastForget(id)
	j.Repository.URL = url
	return j
}

func TestRealForgetIsTriedAgainUntilALockIsGone(t *testing.T) {
	c := clocktest.New(time.Now())
	f := newReal(t, func(o *Options) { o.Clock, o.RetryBackoff = c, []time.Duration{time.Minute, time.Minute} })
	url := f.repository()
	receive(t, f.seen.states, "ready")
	other := newReal(t) // another machine, with a long backup
	other.submit(slow(backupJob("long", url), t))
	other.underway("long")

	f.submit(localForget("job-1", url))
	for attempt := range int64(2) {
		if p := receive(t, f.seen.progress, "the wait"); p.Attempt != attempt+2 || !strings.Contains(p.Retrying, "locked") {
			t.Errorf("progress %+v", p)
		}
		if attempt == 0 {
			if s := receive(t, f.seen.states, "the state"); s.State != wire.RepositoryRetrying || s.Reason != wire.ReasonLocked {
				t.Errorf("state %+v", s)
			}
			if !f.Tell("job-1") {
				t.Error("the waiting job is not known")
			}
			receive(t, f.seen.progress, "the wait, told again")
		} else {
			if err := other.Cancel("long"); err != nil {
				t.Fatal(err)
			}
			other.result("long")
		}
		c.BlockUntil(1)
		c.Advance(time.Minute)
	}
	if r := f.result("job-1"); r.Outcome != wire.OutcomeSucceeded || r.Attempts != 3 || r.LocksRemoved != 0 {
		t.Errorf("%+v", r)
	}
	if s := receive(t, f.seen.states, "the state"); s.State != wire.RepositoryReady {
		t.Errorf("state %+v", s)
	}
}

func TestRealLockOfAKilledBackupIsHealed(t *testing.T) {
	f := newReal(t, func(o *Options) { o.RetryLock = 0 }) // restic alone would wait five minutes in vain, which is longer than the test waits for a result
	url := f.repository()
	path, err := env.Binary("", env.Restic)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id  string
		job func(id string) Job
	}{
		{"forget", func(id string) Job { return localForget(id, url) }},
		{"prune", func(id string) Job {
			j := kindJob(id, wire.JobPrune, url)
			j.Prune, j.Repository.Credential = &wire.Prune{}, wire.CredentialAdmin
			return j
		}},
		{"unlock", func(id string) Job { return kindJob(id, wire.JobUnlock, url) }},
	} {
		cmd := exec.Command(path, "--limit-upload=100", "backup", source(t, 20<<20))
		cmd.Env = []string{"RESTIC_REPOSITORY=" + url, "RESTIC_PASSWORD=correct horse", "RESTIC_CACHE_DIR=" + t.TempDir(), "TMPDIR=" + t.TempDir()}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		settled(t, func() bool { return locks(t, url) == 1 })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // "signal: killed"
		if n := locks(t, url); n != 1 {
			t.Fatalf("%d locks are left", n)
		}
		r := f.do(c.job(c.id), wire.OutcomeSucceeded, "")
		if r.LocksRemoved != 1 || r.Attempts != 0 || locks(t, url) != 0 {
			t.Errorf("%+v, %d locks left", r, locks(t, url))
		}
	}
}
