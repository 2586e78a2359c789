package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock/clocktest"
	"github.com/restic-manager/restic-manager/api/wire"
)

func (w *world) tombstone(change ...func(*wire.ScheduleSet)) *wire.SetOffer {
	w.t.Helper()
	offer := w.offer(append(change, func(s *wire.ScheduleSet) {
		s.Tombstone, s.Groups, s.Schedules, s.Credentials, s.Repository = true, nil, nil, nil, wire.Repository{}
	})...)
	offer.Credentials = nil
	return offer
}

// bury sends a tombstone and waits until it is in force.
func (w *world) bury(change ...func(*wire.ScheduleSet)) {
	w.t.Helper()
	offer := w.tombstone(change...)
	w.send(offer)
	if ack := next(w, "the tombstone's ack", func(m *wire.SetAck) bool { return m.Revision == offer.Revision }); !ack.Applied {
		w.t.Fatalf("ack is %+v", ack)
	}
}

func TestATombstoneEndsTheWork(t *testing.T) {
	w := newWorld(t)
	stop := w.ready()
	w.bury()
	w.send(w.command("1", nil))
	if ack := w.answer("job-1"); ack.Accepted || !strings.Contains(ack.Message, "was removed") {
		t.Errorf("the answer to a command after the end is %+v", ack)
	}
	if _, err := os.Stat(filepath.Join(w.config.StateDir, "secrets.enc")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the credentials still lie there: %v", err)
	}
	told := func() int {
		return strings.Count(w.logs.String(), "the Host of this machine was removed in the cluster: no backups run here any more")
	}
	w.until("the log tells", func() bool { return told() == 1 })
	w.until("the status tells", func() bool {
		status, err := ReadStatus(w.config.StateDir)
		return err == nil && !status.RemovedAt.IsZero() && !status.CredentialsKept
	})

	t.Log("a restart changes nothing")
	stop()
	w.start()
	next[*wire.Hello](w, "the next process", nil)
	w.send(w.command("2", nil))
	if ack := w.answer("job-2"); ack.Accepted {
		t.Errorf("the answer to a command after a restart is %+v", ack)
	}
	w.until("the log tells once more", func() bool { return told() == 2 })
}

func TestARunningBackupOutlivesItsHostAndOneThatWaitsDoesNot(t *testing.T) {
	w := newWorld(t)
	w.big()
	fake := clocktest.New(time.Date(2026, 3, 1, 11, 59, 30, 0, time.UTC))
	w.clock = fake
	w.ready()
	w.apply(func(s *wire.ScheduleSet) {
		s.Bandwidth.UploadKBps = 512
		s.Schedules = []wire.Schedule{{Name: "noon", Generation: 1, Cron: "0 12 * * *", TimeZone: "UTC", Groups: []string{"etc"}, WhenDisconnected: wire.WhenDisconnectedRun}}
	})
	w.until("cron knows the set", func() bool {
		raw, _ := os.ReadFile(filepath.Join(w.config.StateDir, "cron.json"))
		return strings.Contains(string(raw), "noon")
	})
	w.send(w.command("1", func(c *wire.JobCommand) { c.Bandwidth.UploadKBps = 512 }))
	next(w, "the start", func(m *wire.JobStarted) bool { return m.Job.JobID == "job-1" && !m.Queued })
	w.until("restic runs", func() bool { return strings.Contains(w.logs.String(), "job=job-1 command=backup pid") })
	fake.Advance(31 * time.Second)
	fire := next[*wire.Fire](w, "the question", nil)
	w.send(&wire.Verdict{JobID: fire.JobID, Admit: true})
	next(w, "the scheduled one in the queue", func(m *wire.JobStarted) bool { return m.Job.JobID == fire.JobID && m.Queued })

	// What waited is over, and stored, before the machine says that it obeys; which of the two is on the line first is open.
	offer := w.tombstone()
	w.send(offer)
	var result *wire.JobFinished
	var ack *wire.SetAck
	next(w, "the end of the backup that waited and the tombstone's ack", func(m wire.Message) bool {
		switch m := m.(type) {
		case *wire.JobFinished:
			if m.Job.JobID == fire.JobID {
				result = m
			}
		case *wire.SetAck:
			if m.Revision == offer.Revision {
				ack = m
			}
		}
		return result != nil && ack != nil
	})
	if result.Outcome != wire.OutcomeCancelled || !strings.Contains(result.Message, "was removed") {
		t.Errorf("the backup that waited ended with %+v", result)
	}
	if !ack.Applied {
		t.Errorf("ack is %+v", ack)
	}
	if result := w.finished("job-1"); result.Outcome != wire.OutcomeSucceeded || result.Backup.SnapshotID == "" {
		t.Errorf("the backup that ran ended with %+v", result)
	}

	w.until("cron knows nothing that could be due", func() bool {
		raw, err := os.ReadFile(filepath.Join(w.config.StateDir, "cron.json"))
		return err == nil && !strings.Contains(string(raw), "noon")
	})
	if n := strings.Count(w.logs.String(), "command=backup exitCode"); n != 1 {
		t.Errorf("restic backed up %d times, want once", n)
	}
}

func TestAHostThatComesBackFindsItsMachineReady(t *testing.T) {
	for name, between := range map[string]func(*world){
		"after a tombstone":                       func(w *world) { w.bury(func(s *wire.ScheduleSet) { s.HostUID = "first" }) },
		"and also when nobody noticed it leaving": func(*world) {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.start()
			next[*wire.Hello](w, "the hello", nil)
			w.apply(func(s *wire.ScheduleSet) { s.HostUID = "first" })
			next(w, "a ready repository", func(m *wire.RepoState) bool { return m.State == wire.RepositoryReady })
			between(w)
			w.apply(func(s *wire.ScheduleSet) { s.HostUID = "second" })
			// The new Host knows nothing of its repository yet.
			next(w, "the ready repository, told again", func(m *wire.RepoState) bool { return m.State == wire.RepositoryReady })
			w.send(w.command("1", nil))
			if result := w.finished("job-1"); result.Outcome != wire.OutcomeSucceeded {
				t.Errorf("result is %+v", result)
			}
			w.until("the status says nothing of a removal", func() bool {
				status, err := ReadStatus(w.config.StateDir)
				return err == nil && status.RemovedAt.IsZero()
			})
		})
	}
}
