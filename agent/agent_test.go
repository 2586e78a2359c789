package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock/clocktest"
	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestAnAgentBacksUpAndRestores(t *testing.T) {
	w := newWorld(t)
	stop := w.ready()

	w.send(w.command("1", nil))
	started := next[*wire.JobStarted](w, "the start", func(m *wire.JobStarted) bool { return m.Job.JobID == "job-1" })
	if started.Job.HostJob != "manual" || started.Job.SourceGroup != "etc" {
		t.Errorf("started is %+v", started)
	}
	backup := w.finished("job-1")
	if backup.Outcome != wire.OutcomeSucceeded || backup.Backup == nil || backup.Backup.SnapshotID == "" || backup.Offline {
		t.Fatalf("backup is %+v", backup)
	}

	w.send(w.command("2", func(c *wire.JobCommand) {
		c.Kind, c.Backup = wire.JobRestore, nil
		c.Restore = &wire.Restore{Snapshot: wire.LatestSnapshot, ResticHost: c.ResticHost, Tag: "etc"}
	}))
	restored := w.finished("job-2")
	if restored.Outcome != wire.OutcomeSucceeded {
		t.Fatalf("restore is %+v", restored)
	}
	content, err := os.ReadFile(filepath.Join(w.config.StateDir, "restore", "job-2", w.source, "dir/b.txt"))
	if err != nil || string(content) != strings.Repeat("beta", 1000) {
		t.Errorf("restored file: %v", err)
	}

	status, err := ReadStatus(w.config.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	if !status.Running || !status.Connected || status.Results["Backup etc"].SnapshotID != backup.Backup.SnapshotID || status.Repository.State != wire.RepositoryReady {
		t.Errorf("status is %+v", status)
	}
	stop()
	if status, err = ReadStatus(w.config.StateDir); err != nil || status.Running || status.Connected {
		t.Errorf("after the stop: %+v, %v", status, err)
	}
}

func TestTheSameCommandRunsOnce(t *testing.T) {
	w := newWorld(t)
	stop := w.ready()
	command := w.command("1", nil)
	w.send(command)
	first := w.finished("job-1")
	// A flood of repetitions in one session is answered once.
	for range 50 {
		w.send(command)
	}
	w.apply()
	stop()
	w.start()
	next[*wire.Hello](w, "the next process", nil)
	w.send(command)
	after := w.finished("job-1")
	if after.Backup.SnapshotID != first.Backup.SnapshotID {
		t.Errorf("after a restart the command gave another snapshot")
	}
	if n := strings.Count(w.logs.String(), "command=backup exitCode"); n != 1 {
		t.Errorf("restic backed up %d times for one command", n)
	}
	if n := after.Report.Seq - first.Report.Seq; n > 10 {
		t.Errorf("%d reports for one command", n)
	}
}

func TestACommandThatIsNotToBeObeyedIsReported(t *testing.T) {
	w := newWorld(t)
	w.ready()
	stranger := newSigner(t)
	for _, tt := range []struct {
		name, uid string
		command   func(*wire.CommandRun) *wire.CommandRun
		change    func(*wire.JobCommand)
		says      string
	}{
		{"tampered", "t", func(c *wire.CommandRun) *wire.CommandRun {
			c.Command = strings.Replace(c.Command, `"name":"manual"`, `"name":"Manual"`, 1)
			return c
		}, nil, "BadSignature"},
		{"signed by a stranger", "s", func(c *wire.CommandRun) *wire.CommandRun {
			c.Signatures = stranger.Sign(c.Command)
			return c
		}, nil, "BadSignature"},
		{"expired", "e", nil, func(c *wire.JobCommand) { c.NotAfter = time.Now().Add(-time.Hour) }, "Expired"},
		{"for another host", "h", nil, func(c *wire.JobCommand) { c.Host.Name = "web-2" }, "WrongHost"},
		{"for other keys", "k", nil, func(c *wire.JobCommand) { c.IdentityHash = "00" }, "WrongIdentity"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			command := w.command(tt.uid, tt.change)
			if tt.command != nil {
				command = tt.command(command)
			}
			// Each time, since an answer can be lost.
			for range 2 {
				w.send(command)
				if ack := w.answer("job-" + tt.uid); ack.Accepted || string(ack.Reason) != tt.says || ack.Message == "" {
					t.Errorf("the answer is %+v, want a refusal that says %s", ack, tt.says)
				}
			}
		})
	}
}

func TestARestoreWhereTheOwnerDidNotAllowItFails(t *testing.T) {
	w := newWorld(t)
	w.ready()
	w.send(w.command("r", func(c *wire.JobCommand) {
		c.Kind, c.Backup = wire.JobRestore, nil
		c.Restore = &wire.Restore{Snapshot: wire.LatestSnapshot, Tag: "etc", Target: "/etc"}
	}))
	result := w.finished("job-r")
	if result.Outcome != wire.OutcomeFailed || result.Reason != wire.ReasonRefused || !strings.Contains(result.Message, "allow.restore") {
		t.Errorf("result is %s %s %q, want a refusal that says allow.restore", result.Outcome, result.Reason, result.Message)
	}
}

func TestACommandThatComesAgainIsAnsweredAndNotRunAgain(t *testing.T) {
	w := newWorld(t)
	w.ready()
	command := w.command("again", nil)
	w.send(command)
	if ack := w.answer("job-again"); !ack.Accepted {
		t.Fatalf("the answer is %+v, want accepted", ack)
	}
	first := w.finished("job-again")
	// Before that, the result is on its way anyway, and not told once more.
	w.until("the result counts as delivered", func() bool {
		raw, err := os.ReadFile(filepath.Join(w.config.StateDir, "ledger", "job-again.json"))
		return err == nil && strings.Contains(string(raw), `"delivered":true`)
	})
	w.send(command)
	// The refusal and the result travel separately: either may come first.
	var ack *wire.CommandAck
	var again *wire.JobFinished
	next(w, "the refusal and the result", func(m wire.Message) bool {
		switch m := m.(type) {
		case *wire.CommandAck:
			ack = m
		case *wire.JobFinished:
			again = m
		}
		return ack != nil && again != nil
	})
	if ack.JobID != "job-again" || ack.Accepted || ack.Reason != wire.RefusalAlreadyRun {
		t.Errorf("the answer is %+v, want AlreadyRun", ack)
	}
	if again.Job.JobID != "job-again" || again.Backup == nil || again.Backup.SnapshotID != first.Backup.SnapshotID {
		t.Errorf("the result is %+v, want that of the first run again: %+v", again.Backup, first.Backup)
	}
}

func TestARefusedSetLeavesTheOneInForce(t *testing.T) {
	w := newWorld(t)
	w.ready()
	for _, tt := range []struct {
		name  string
		offer func() *wire.SetOffer
		want  wire.RefusalReason
	}{
		{"tampered", func() *wire.SetOffer {
			o := w.offer()
			o.Bundle = strings.Replace(o.Bundle, "etc", "usr", 1)
			return o
		}, wire.RefusalBadSignature},
		{"unsigned", func() *wire.SetOffer { o := w.offer(); o.Signatures = nil; return o }, wire.RefusalBadSignature},
		{"older", func() *wire.SetOffer { return w.offer(func(s *wire.ScheduleSet) { s.Serial = 60 }) }, wire.RefusalOlderSerial},
		{"another host's", func() *wire.SetOffer { return w.offer(func(s *wire.ScheduleSet) { s.Host.Name = "web-2" }) }, wire.RefusalWrongHost},
		{"rclone without consent", func() *wire.SetOffer {
			return w.offer(func(s *wire.ScheduleSet) { s.Repository.URL = "rclone:x:y" })
		}, wire.RefusalNotAllowed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.send(tt.offer())
			if ack := next[*wire.SetAck](w, "the ack", nil); ack.Applied || ack.Reason != tt.want || ack.Message == "" {
				t.Errorf("ack is %+v, want %s", ack, tt.want)
			}
		})
	}
	w.send(w.command("1", nil))
	if result := w.finished("job-1"); result.Outcome != wire.OutcomeSucceeded {
		t.Errorf("the set in force does not work any more: %+v", result)
	}
}

func TestACancelledCommandEnds(t *testing.T) {
	w := newWorld(t)
	w.big()
	w.ready()
	w.send(w.command("1", slow))
	next(w, "the start", func(m *wire.JobStarted) bool { return m.Job.JobID == "job-1" && !m.Queued })
	w.send(w.command("2", nil))
	next(w, "the queue", func(m *wire.JobStarted) bool { return m.Job.JobID == "job-2" && m.Queued })
	forged := w.cancelCommand("1")
	forged.Cancel = strings.Replace(forged.Cancel, `"uid":"1"`, `"uid":"2"`, 1)
	w.send(forged)
	w.send(w.cancelCommand("1"))
	if result := w.finished("job-1"); result.Outcome != wire.OutcomeCancelled {
		t.Errorf("result is %+v", result)
	}
	if result := w.finished("job-2"); result.Outcome != wire.OutcomeSucceeded {
		t.Errorf("the job behind it ended with %+v", result)
	}
}

func TestAnAgentThatStopsReportsItsJobs(t *testing.T) {
	w := newWorld(t)
	w.big()
	stop := w.ready()
	w.withhold = true
	w.send(w.command("1", slow))
	next(w, "the start", func(m *wire.JobStarted) bool { return m.Job.JobID == "job-1" && !m.Queued })
	stop()
	if status, err := ReadStatus(w.config.StateDir); err != nil || status.Unacked == 0 || status.Results["Backup etc"].Reason != wire.ReasonAgentRestarted {
		t.Errorf("status is %+v, %v", status, err)
	}
	if result := w.finished("job-1"); result.Reason != wire.ReasonAgentRestarted || result.Outcome != wire.OutcomeFailed {
		t.Errorf("result is %+v", result)
	}
	// It was not acknowledged, so the next process brings it again, and nothing else.
	w.start()
	next[*wire.Hello](w, "the next process", nil)
	if result := w.finished("job-1"); result.Reason != wire.ReasonAgentRestarted {
		t.Errorf("result is %+v", result)
	}
}

func TestAResultSurvivesAGatewayThatGoesAway(t *testing.T) {
	w := newWorld(t)
	w.ready()
	w.withhold = true
	w.send(w.command("1", nil))
	first := w.finished("job-1")
	w.drop()
	next[*wire.Hello](w, "the next session", nil)
	again := w.finished("job-1")
	if again.Report != first.Report {
		t.Errorf("the report came as %v and as %v", first.Report, again.Report)
	}
}

func TestASilentOrAbsentGatewayDoesNotStopASchedule(t *testing.T) {
	w := newWorld(t)
	fake := clocktest.New(time.Date(2026, 3, 1, 11, 59, 30, 0, time.UTC))
	w.clock = fake
	// The hooks of the host belong to scheduled backups as to others.
	said := filepath.Join(w.root, "said")
	_, hook := hookScript(t, w.root, "hooks", `echo "$RESTIC_MANAGER_HOST $RESTIC_MANAGER_OUTCOME" >> `+said)
	w.config.Allow.Hooks = config.Grant
	w.ready()
	w.apply(func(s *wire.ScheduleSet) {
		s.Hooks = &wire.Hooks{PostBackup: []wire.Hook{{Command: []string{hook}, TimeoutSeconds: 60, OnError: wire.HookOnErrorFail}}}
		s.Schedules = []wire.Schedule{{Name: "noon", Generation: 1, Cron: "0 12 * * *", TimeZone: "UTC", Groups: []string{"etc"}, WhenDisconnected: wire.WhenDisconnectedRun}}
	})
	w.until("cron knows the set", func() bool {
		raw, _ := os.ReadFile(filepath.Join(w.config.StateDir, "cron.json"))
		return strings.Contains(string(raw), "noon")
	})
	fake.Advance(31 * time.Second)
	fire := next[*wire.Fire](w, "the question", nil)
	if want := wire.FireID(w.config.Ref(), "noon", "etc", "2026-03-01T12:00"); fire.JobID != want || fire.Nominal != "2026-03-01T12:00" {
		t.Errorf("fire is %+v, want %s", fire, want)
	}
	// No verdict, and time passes as long as it takes.
	var result *wire.JobFinished
	w.until("the backup ran", func() bool {
		fake.Advance(5 * time.Second)
		select {
		case m := <-w.got:
			if r, ok := m.(*wire.JobFinished); ok && r.Job.JobID == fire.JobID {
				result = r
			}
		default:
		}
		return result != nil
	})
	if result.Outcome != wire.OutcomeSucceeded || !result.Offline || result.Job.Schedule != "noon" {
		t.Errorf("result is %+v", result)
	}
	if got, err := os.ReadFile(said); err != nil || string(got) != "web-1 Succeeded\n" {
		t.Errorf("the host's hook said %q, %v", got, err)
	}
}

func TestARepositoryThatComesBackIsToldReadyAgain(t *testing.T) {
	w := newWorld(t)
	w.ready()
	// Nobody listens there.
	w.apply(func(s *wire.ScheduleSet) { s.Repository.URL = "rest:http://127.0.0.1:9/" })
	next(w, "trouble with another repository", func(m *wire.RepoState) bool { return m.State != wire.RepositoryReady })
	w.apply()
	back := next(w, "the first repository's state again", func(m *wire.RepoState) bool { return m.State == wire.RepositoryReady })
	if want := w.repo; back.URL != want {
		t.Errorf("the state is about %q, want %q", back.URL, want)
	}
}

func TestAMachineWithoutResticSaysSo(t *testing.T) {
	w := newWorld(t)
	real := w.config.ResticPath
	w.config.ResticPath = filepath.Join(w.root, "restic")
	w.start()
	next[*wire.Hello](w, "the hello", nil)
	next(w, "the state", func(m *wire.RepoState) bool {
		return m.State == wire.RepositoryFailed && m.Reason == wire.ReasonResticMissing
	})
	w.apply()
	w.send(w.command("1", nil))
	if result := w.finished("job-1"); result.Reason != wire.ReasonResticMissing {
		t.Errorf("result is %+v", result)
	}
	if err := os.Symlink(real, w.config.ResticPath); err != nil {
		t.Fatal(err)
	}
	w.drop()
	next(w, "the repository, once restic is there", func(m *wire.RepoState) bool { return m.State == wire.RepositoryReady })
}

func TestALyingGatewayLosesNothing(t *testing.T) {
	w := newWorld(t)
	w.ready()
	w.withhold = true
	w.send(w.command("1", nil))
	first := w.finished("job-1")
	for range 100 {
		w.send(&wire.ReportAck{Report: wire.ReportID{Epoch: first.Report.Epoch, Seq: first.Report.Seq + 1000}})
		w.send(&wire.ReportAck{Report: wire.ReportID{Epoch: "another", Seq: first.Report.Seq}})
		w.send(&wire.Verdict{JobID: "fire-nobody-asked", Admit: true})
	}
	for _, frame := range []string{"{}", `{"type":"schedule.set","payload":{"revision":"x"}}`, `{"type":"command.run","payload":[]}`, `{"type":"hello"}`, `{"type":"report.ack"}`} {
		w.mu.Lock()
		_ = w.conn.Write(t.Context(), 1, []byte(frame))
		w.mu.Unlock()
	}
	w.mu.Lock()
	_ = w.conn.Write(t.Context(), 1, make([]byte, wire.MaxFrame+1))
	w.mu.Unlock()
	next[*wire.Hello](w, "the next session", nil)
	if again := w.finished("job-1"); again.Report != first.Report {
		t.Errorf("the result came as %v and as %v", first.Report, again.Report)
	}
	if n := strings.Count(w.logs.String(), `level=WARN msg="ignoring a`); n == 0 || n > 10 {
		t.Errorf("a storm of what nobody asked for left %d warnings in the log", n)
	}
}

func TestASecondAgentOnTheSameFolderIsRefused(t *testing.T) {
	w := newWorld(t)
	w.start()
	_, err := New(Options{Config: w.config, Version: "v1"})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "stop that one first") {
		t.Errorf("error is %v", err)
	}
}

func TestADamagedStateFolderLosesNoResultAndRunsNothingTwice(t *testing.T) {
	for name, damaged := range map[string]string{"emptied": "", "zeroed": "\x00\x00\x00", "cut off": "uid", "overwritten": "]{garbage\n"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			stop := w.ready()
			w.send(w.command("1", nil))
			w.finished("job-1")
			w.send(w.command("2", nil))
			kept := w.finished("job-2")
			stop()
			for _, file := range []string{"host", "ledger/job-1.json"} {
				if err := os.WriteFile(filepath.Join(w.config.StateDir, file), []byte(damaged), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			leftover := filepath.Join(w.config.StateDir, ".tmp-cron.json-1")
			if err := os.WriteFile(leftover, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			w.start()
			next[*wire.Hello](w, "the next process", nil)
			w.send(w.command("1", nil))
			if a := w.answer("job-1"); a.Accepted || a.Reason != wire.RefusalStorage || !strings.Contains(a.Message, "damaged") {
				t.Errorf("the job whose record is damaged is answered with %+v, and its HostJob waits for ever", a)
			}
			w.send(w.command("2", nil))
			if again := w.finished("job-2"); again.Backup.SnapshotID != kept.Backup.SnapshotID {
				t.Errorf("the job whose record is not damaged ran twice")
			}
			if n := strings.Count(w.logs.String(), "command=backup exitCode"); n != 2 {
				t.Errorf("restic backed up %d times for two commands", n)
			}
			if _, err := os.Lstat(leftover); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("what a crash left behind is still there: %v", err)
			}
		})
	}
}

func TestAnotherEnrolmentStartsWithCleanState(t *testing.T) {
	w := newWorld(t)
	w.withhold = true
	stop := w.ready()
	stop()
	w.config.Host.UID = "uid-2"
	w.start()
	next[*wire.Hello](w, "the second Host's session", nil)
	if n := strings.Count(w.logs.String(), "waitingReports=0"); n != 2 {
		t.Errorf("the second Host begins with reports of the first")
	}
	former, err := filepath.Glob(filepath.Join(w.config.StateDir, "former-*", "outbox"))
	if err != nil || len(former) != 1 {
		t.Errorf("set aside: %v, %v", former, err)
	}
}
