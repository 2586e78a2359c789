package job

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/agent/hook"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// fakeHooks records the hooks that run, and fails those that the test names.
type fakeHooks struct {
	mu    sync.Mutex
	calls []hook.Call
	fail  map[string]error
	// block, if it is set, has hooks of its name wait for their context's end.
	block   string
	blocked chan context.Context
}

func (h *fakeHooks) run(ctx context.Context, c hook.Call) error {
	h.mu.Lock()
	h.calls = append(h.calls, c)
	block, err := h.block == c.Name, h.fail[c.Name]
	h.mu.Unlock()
	if ctx.Err() != nil {
		return &hook.Error{Message: "the hook " + c.Name + " was not started"}
	}
	if block {
		h.blocked <- ctx
		<-ctx.Done()
		return &hook.Error{Message: "the hook " + c.Name + " was stopped"}
	}
	c.Output("says " + c.Name)
	return err
}

func (h *fakeHooks) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, c := range h.calls {
		out = append(out, c.Name)
	}
	return out
}

// told is what the hooks heard of an outcome: "name Outcome Reason".
func (h *fakeHooks) told() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, c := range h.calls {
		if outcome, ok := c.Env["RESTIC_MANAGER_OUTCOME"]; ok {
			out = append(out, strings.TrimSpace(strings.Join([]string{c.Name, outcome, c.Env["RESTIC_MANAGER_REASON"]}, " ")))
		} else {
			out = append(out, c.Name)
		}
	}
	return out
}

func hooked(f *fixture) *fakeHooks {
	h := &fakeHooks{fail: map[string]error{}, blocked: make(chan context.Context, 1)}
	f.runHook = h.run
	return h
}

func allowAll(o *Options) {
	o.AllowHook = func([]string) error { return nil }
	o.AllowCommand = o.AllowHook
	o.Host = wire.HostRef{Namespace: "shop", Name: "web-1"}
}

func someHooks(path string) *wire.Hooks {
	one := func(what string) []wire.Hook {
		return []wire.Hook{{Command: []string{path + what}, TimeoutSeconds: 60, OnError: wire.HookOnErrorFail}}
	}
	return &wire.Hooks{PreBackup: one("pre"), PostBackup: one("post"), OnFailure: one("failure")}
}

func hookedJob(id string) Job {
	j := backupJob(id, "/srv/a")
	j.Hooks, j.Backup.Hooks = someHooks("/host/"), someHooks("/group/")
	return j
}

func TestHooksOfTheHostEmbraceThoseOfTheGroup(t *testing.T) {
	f := newFixture(t, allowAll)
	h := hooked(f)
	f.submit(hookedJob("job-1"))
	c := f.next("backup")
	if diff := cmp.Diff([]string{"host preBackup 1", "group preBackup 1"}, h.names()); diff != "" {
		t.Errorf("before the backup: %s", diff)
	}
	c.done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01", ExitCode: 3, CompletedWithErrors: true, Message: "one is missing"}})
	got := f.result("job-1")
	if diff := cmp.Diff([]string{"host preBackup 1", "group preBackup 1", "group postBackup 1", "host postBackup 1"}, h.names()); diff != "" {
		t.Errorf("all: %s", diff)
	}
	if got.Outcome != wire.OutcomeCompletedWithErrors || got.HookFailures != nil || !strings.Contains(got.LogTail, "host preBackup 1: says host preBackup 1") {
		t.Errorf("%+v", got)
	}
	before := map[string]string{"RESTIC_MANAGER_HOST": "web-1", "RESTIC_MANAGER_NAMESPACE": "shop", "RESTIC_MANAGER_SOURCE_GROUP": "etc",
		"RESTIC_MANAGER_JOB_ID": "job-1", "RESTIC_MANAGER_JOB_KIND": "Backup", "RESTIC_MANAGER_HOOK": "preBackup"}
	if diff := cmp.Diff(before, h.calls[0].Env); diff != "" {
		t.Errorf("the environment before: %s", diff)
	}
	after := maps.Clone(before)
	maps.Copy(after, map[string]string{"RESTIC_MANAGER_HOOK": "postBackup", "RESTIC_MANAGER_OUTCOME": "CompletedWithErrors", "RESTIC_MANAGER_REASON": "SourceUnreadable",
		"RESTIC_MANAGER_EXIT_CODE": "3", "RESTIC_MANAGER_SNAPSHOT_ID": "abcdef01", "RESTIC_MANAGER_MESSAGE": "one is missing"})
	if diff := cmp.Diff(after, h.calls[3].Env); diff != "" {
		t.Errorf("the environment after: %s", diff)
	}
}

func TestWhatHooksDoToAJob(t *testing.T) {
	failed := errors.New("the hook failed with exit code 3")
	all := func(outcome string) []string {
		return []string{"host preBackup 1", "group preBackup 1", "group postBackup 1 " + outcome, "host postBackup 1 " + outcome}
	}
	for _, c := range []struct {
		name     string
		fail     string
		change   func(*Job)
		answer   *reply // nil: the backup is not started
		told     []string
		outcome  wire.Outcome
		reason   wire.Reason
		failures int
	}{
		{name: "a failed backup tells onFailure first", answer: &reply{err: failure(restic.KindWrongPassword)},
			told: []string{"host preBackup 1", "group preBackup 1", "group onFailure 1 Failed WrongPassword", "host onFailure 1 Failed WrongPassword",
				"group postBackup 1 Failed WrongPassword", "host postBackup 1 Failed WrongPassword"},
			outcome: wire.OutcomeFailed, reason: wire.ReasonWrongPassword},
		{name: "a preBackup hook that fails keeps the backup from starting", fail: "host preBackup 1",
			told: []string{"host preBackup 1", "group onFailure 1 Failed HookFailed", "host onFailure 1 Failed HookFailed",
				"group postBackup 1 Failed HookFailed", "host postBackup 1 Failed HookFailed"},
			outcome: wire.OutcomeFailed, reason: wire.ReasonHookFailed, failures: 1},
		{name: "a preBackup hook that may fail is only told", fail: "host preBackup 1", answer: &reply{},
			change: func(j *Job) { j.Hooks.PreBackup[0].OnError = wire.HookOnErrorContinue },
			told:   all("Succeeded"), outcome: wire.OutcomeSucceeded, failures: 1},
		{name: "a postBackup hook that fails is an error of the job, and the next one runs", fail: "group postBackup 1", answer: &reply{},
			told: all("Succeeded"), outcome: wire.OutcomeCompletedWithErrors, reason: wire.ReasonHookFailed, failures: 1},
		{name: "a postBackup hook that may fail is only told", fail: "group postBackup 1", answer: &reply{},
			change: func(j *Job) { j.Backup.Hooks.PostBackup[0].OnError = wire.HookOnErrorContinue },
			told:   all("Succeeded"), outcome: wire.OutcomeSucceeded, failures: 1},
		{name: "a postBackup hook that fails does not hide why the backup failed", fail: "host postBackup 1", answer: &reply{err: failure(restic.KindTLS)},
			change: func(j *Job) { j.Hooks.OnFailure, j.Backup.Hooks.OnFailure = nil, nil },
			told:   all("Failed TLSError"), outcome: wire.OutcomeFailed, reason: wire.ReasonTLS, failures: 1},
		{name: "an onFailure hook that fails changes nothing", fail: "group onFailure 1", answer: &reply{err: failure(restic.KindTLS)},
			change:  func(j *Job) { j.Hooks = nil },
			told:    []string{"group preBackup 1", "group onFailure 1 Failed TLSError", "group postBackup 1 Failed TLSError"},
			outcome: wire.OutcomeFailed, reason: wire.ReasonTLS, failures: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, allowAll)
			h := hooked(f)
			h.fail[c.fail] = failed
			j := hookedJob("job-1")
			if c.change != nil {
				c.change(&j)
			}
			f.submit(j)
			if c.answer != nil {
				f.next("backup").done(*c.answer)
			}
			got := f.result("job-1")
			if got.Outcome != c.outcome || got.Reason != c.reason || len(got.HookFailures) != c.failures {
				t.Errorf("%+v", got)
			}
			if c.reason == wire.ReasonHookFailed && !strings.Contains(got.Message, "exit code 3") {
				t.Errorf("message %q", got.Message)
			}
			if diff := cmp.Diff(c.told, h.told()); diff != "" {
				t.Errorf("hooks: %s", diff)
			}
			none(t, f.restic.calls, "restic was started")
		})
	}
}

func TestACancelledBackupIsNoFailureForHooks(t *testing.T) {
	f := newFixture(t, allowAll)
	h := hooked(f)
	f.submit(hookedJob("job-1"))
	f.next("backup")
	if err := f.Cancel("job-1"); err != nil {
		t.Fatal(err)
	}
	if got := f.result("job-1"); got.Outcome != wire.OutcomeCancelled {
		t.Errorf("%+v", got)
	}
	want := []string{"host preBackup 1", "group preBackup 1", "group postBackup 1 Cancelled Cancelled", "host postBackup 1 Cancelled Cancelled"}
	if diff := cmp.Diff(want, h.told()); diff != "" {
		t.Error(diff)
	}
}

func TestACancellationEndsAPreBackupHook(t *testing.T) {
	f := newFixture(t, allowAll)
	h := hooked(f)
	h.block = "host preBackup 1"
	f.submit(hookedJob("job-1"))
	receive(t, h.blocked, "the hook")
	if err := f.Cancel("job-1"); err != nil {
		t.Fatal(err)
	}
	if got := f.result("job-1"); got.Outcome != wire.OutcomeCancelled || got.HookFailures != nil {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]string{"host preBackup 1", "group postBackup 1 Cancelled Cancelled", "host postBackup 1 Cancelled Cancelled"}, h.told()); diff != "" {
		t.Error(diff)
	}
}

func TestAnAgentThatStopsGivesPostBackupHooksAMoment(t *testing.T) {
	f := newFixture(t, allowAll)
	h := hooked(f)
	h.block = "group postBackup 1"
	f.submit(hookedJob("job-1"))
	f.next("backup")
	closed := make(chan bool)
	go func() { f.Close(); close(closed) }()
	ctx := receive(t, h.blocked, "the hook")
	if ctx.Err() != nil {
		t.Error("it had no time at all")
	}
	f.pass(1, hookGrace)
	if got := f.result("job-1"); got.Outcome != wire.OutcomeFailed || got.Reason != wire.ReasonAgentRestarted || len(got.HookFailures) != 2 {
		t.Errorf("%+v", got)
	}
	receive(t, closed, "the end")
}

func TestWhatIsHeldForABackupIsReleasedBetweenItsAttempts(t *testing.T) {
	f := newFixture(t, allowAll, patient)
	h := hooked(f)
	f.submit(hookedJob("job-1"))
	f.next("backup").done(reply{err: failure(restic.KindUnreachable)})
	f.pass(1, time.Minute)
	f.next("backup").done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01"}})
	f.result("job-1")
	want := []string{"host preBackup 1", "group preBackup 1", "group postBackup 1 Retrying Unreachable", "host postBackup 1 Retrying Unreachable",
		"host preBackup 1", "group preBackup 1", "group postBackup 1 Succeeded", "host postBackup 1 Succeeded"}
	if diff := cmp.Diff(want, h.told()); diff != "" {
		t.Error(diff)
	}
}

func TestHooksAndCommandsNeedTheConsentOfTheMachine(t *testing.T) {
	deny := func(word string) func([]string) error {
		return func(command []string) error {
			if command[0] == word {
				return errors.New("allow it in agent.yaml")
			}
			return nil
		}
	}
	for _, c := range []struct {
		name   string
		change func(*Options)
		job    func(*Job)
		say    string
	}{
		{"nothing is allowed by default", func(o *Options) { o.AllowHook = nil }, func(*Job) {}, "the hook host preBackup 1: this machine allows none"},
		{"a hook that runs last is asked for first", func(o *Options) { o.AllowHook = deny("/group/failure") }, func(*Job) {}, "the hook group onFailure 1: allow it in agent.yaml"},
		{"a command is another consent", func(o *Options) { o.AllowCommand = deny("/bin/dump") }, func(j *Job) { j.Backup.Command = []string{"/bin/dump"} }, "the command of the source group: "},
		{"no command is allowed by default", func(o *Options) { o.AllowCommand = nil }, func(j *Job) { j.Backup.Command = []string{"/bin/dump"} }, "the command of the source group: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, allowAll, c.change)
			h := hooked(f)
			j := hookedJob("job-1")
			c.job(&j)
			f.submit(j)
			if got := f.result("job-1"); got.Outcome != wire.OutcomeFailed || got.Reason != wire.ReasonNotAllowed || !strings.Contains(got.Message, c.say) {
				t.Errorf("%+v", got)
			}
			if len(h.names()) > 0 {
				t.Errorf("hooks ran: %v", h.names())
			}
			none(t, f.restic.calls, "restic was started")
			plain := backupJob("job-2", "/srv/a")
			f.submit(plain)
			f.next("backup").done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01"}})
			if got := f.result("job-2"); got.Outcome != wire.OutcomeSucceeded {
				t.Errorf("a group without hooks: %+v", got)
			}
		})
	}
}

func TestConsentIsAskedAgainRightBeforeAHookRuns(t *testing.T) {
	asked := 0
	f := newFixture(t, allowAll, func(o *Options) {
		o.AllowHook = func(command []string) error {
			if slices.Equal(command, []string{"/group/post"}) {
				if asked++; asked > 1 {
					return errors.New("the link leads elsewhere now")
				}
			}
			return nil
		}
	})
	h := hooked(f)
	f.submit(hookedJob("job-1"))
	f.next("backup").done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01"}})
	if got := f.result("job-1"); got.Outcome != wire.OutcomeCompletedWithErrors || got.Reason != wire.ReasonHookFailed || !strings.Contains(got.Message, "leads elsewhere") {
		t.Errorf("%+v", got)
	}
	if slices.Contains(h.names(), "group postBackup 1") {
		t.Error("it ran")
	}
}

func TestACommandGetsItsEnvironmentAndItsFileName(t *testing.T) {
	f := newFixture(t, allowAll)
	j := backupJob("job-1", "/srv/a")
	j.Backup.Includes, j.Backup.Command, j.Backup.FileName = nil, []string{"/usr/bin/pg_dump", "shop"}, "shop.sql"
	f.submit(j)
	c := f.next("backup")
	want := map[string]string{"RESTIC_MANAGER_HOST": "web-1", "RESTIC_MANAGER_NAMESPACE": "shop", "RESTIC_MANAGER_SOURCE_GROUP": "etc",
		"RESTIC_MANAGER_JOB_ID": "job-1", "RESTIC_MANAGER_JOB_KIND": "Backup"}
	if diff := cmp.Diff(want, c.backup.CommandEnv); diff != "" || c.backup.FileName != "shop.sql" || !slices.Equal(c.backup.Command, j.Backup.Command) || len(c.backup.Paths) > 0 {
		t.Errorf("%+v %s", c.backup, diff)
	}
	c.done(reply{err: failure(restic.KindCommandEmpty)})
	if got := f.result("job-1"); got.Outcome != wire.OutcomeFailed || got.Reason != wire.ReasonCommandEmpty {
		t.Errorf("%+v", got)
	}
	f.state(wire.RepositoryReady, "", "")
}
