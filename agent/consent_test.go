package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestRcloneNeedsConsent(t *testing.T) {
	set := &wire.ScheduleSet{Repository: wire.Repository{URL: "rclone:remote:path"}}
	if err := checkSet(config.Allow{})(set); err == nil || !strings.Contains(err.Error(), "rclone: allow") {
		t.Errorf("error is %v", err)
	}
	if err := checkSet(config.Allow{Rclone: config.Grant})(set); err != nil {
		t.Error(err)
	}
	if err := checkSet(config.Allow{})(&wire.ScheduleSet{Repository: wire.Repository{URL: "rest:https://x/"}}); err != nil {
		t.Error(err)
	}
}

func TestARestoreIntoTheFolderOfTheConsentIsRefused(t *testing.T) {
	w := newWorld(t)
	folder := filepath.Join(w.root, "etc")
	w.configPath = filepath.Join(w.root, "link.yaml")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "agent.yaml"), []byte("allow: {}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(folder, "agent.yaml"), w.configPath); err != nil {
		t.Fatal(err)
	}
	w.config.Allow.Restore = []string{folder}
	w.ready()
	w.send(w.command("1", func(c *wire.JobCommand) {
		c.Kind, c.Backup = wire.JobRestore, nil
		c.Restore = &wire.Restore{Snapshot: wire.LatestSnapshot, ResticHost: c.ResticHost, Tag: "etc", Target: filepath.Join(folder, "new")}
	}))
	got := w.finished("job-1")
	if got.Outcome != wire.OutcomeFailed || got.Reason != wire.ReasonRefused || !strings.Contains(got.Message, "the folder of agent.yaml") {
		t.Errorf("%+v", got)
	}
}

// hookScript writes a program into a folder of its own, and returns both.
func hookScript(t *testing.T, root, name, body string) (dir, path string) {
	t.Helper()
	dir = filepath.Join(root, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "run.sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

func TestWhatOfASetIsNotAllowed(t *testing.T) {
	root := t.TempDir()
	dir, allowed := hookScript(t, root, "allowed", "true")
	_, other := hookScript(t, root, "other", "true")
	hook := func(paths ...string) *wire.Hooks {
		h := &wire.Hooks{}
		for _, path := range paths {
			h.OnFailure = append(h.OnFailure, wire.Hook{Command: []string{path}, TimeoutSeconds: 1, OnError: wire.HookOnErrorFail})
		}
		return h
	}
	type refused struct{ group, what, part string }
	for _, tt := range []struct {
		name  string
		allow config.Allow
		set   *wire.ScheduleSet
		want  []refused
	}{
		{"there is no set", config.Allow{}, nil, nil},
		{"a set without hooks and commands needs no consent", config.Allow{}, &wire.ScheduleSet{Groups: []wire.SourceGroup{{Name: "etc", Hooks: &wire.Hooks{}}}}, nil},
		{"a removed Host needs none", config.Allow{}, &wire.ScheduleSet{Tombstone: true, Hooks: hook(other)}, nil},
		{"all is denied", config.Allow{}, &wire.ScheduleSet{Hooks: hook(allowed), Groups: []wire.SourceGroup{{Name: "db", Command: []string{allowed}, Hooks: hook(allowed)}}},
			[]refused{{"", "hooks", "hooks: allow"}, {"db", "hooks", allowed}, {"db", "commands", "commands: allow"}}},
		{"all is allowed", config.Allow{Hooks: config.Grant, Commands: config.Grant}, &wire.ScheduleSet{Hooks: hook(other), Groups: []wire.SourceGroup{{Name: "db", Command: []string{other}}}}, nil},
		{"one hook of several lies elsewhere", config.Allow{Hooks: config.Consent{AllowDirs: []string{dir}}}, &wire.ScheduleSet{Hooks: hook(allowed), Groups: []wire.SourceGroup{{Name: "etc", Hooks: hook(allowed, other)}}},
			[]refused{{"etc", "hooks", other}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := notAllowed(tt.allow, tt.set)
			if len(got) != len(tt.want) {
				t.Fatalf("not allowed is %+v, want %+v", got, tt.want)
			}
			for i, want := range tt.want {
				if got[i].SourceGroup != want.group || got[i].What != want.what || !strings.Contains(got[i].Message, want.part) {
					t.Errorf("not allowed is %+v, want %+v", got[i], want)
				}
			}
		})
	}
	many := &wire.ScheduleSet{}
	for range 30 {
		many.Groups = append(many.Groups, wire.SourceGroup{Name: "g", Command: []string{other}})
	}
	ack := wire.SetAck{Revision: "r", Applied: true, NotAllowed: notAllowed(config.Allow{}, many)}
	if err := ack.Validate(); err != nil || len(ack.NotAllowed) != wire.MaxListed || !strings.HasPrefix(ack.NotAllowed[wire.MaxListed-1].Message, "10 more beside this one") {
		t.Errorf("of many: %v, %+v", err, ack.NotAllowed)
	}
}

func TestHooksAndCommandsRunWhereTheOwnerAllowsThemAndNothingElseSuffers(t *testing.T) {
	w := newWorld(t)
	said := filepath.Join(w.root, "said")
	hooks, hookPath := hookScript(t, w.root, "hooks", `echo "$RESTIC_MANAGER_HOOK $RESTIC_MANAGER_SOURCE_GROUP $RESTIC_MANAGER_OUTCOME ${RESTIC_PASSWORD-unset}" >> `+said)
	dumps, dumpPath := hookScript(t, w.root, "dumps", `echo "dump of $1 ${RESTIC_PASSWORD-unset}"`)
	hook := wire.Hook{Command: []string{hookPath}, TimeoutSeconds: 60, OnError: wire.HookOnErrorFail}
	hooked, dumped := w.group(), w.group()
	hooked.Name, hooked.Hooks = "hooked", &wire.Hooks{PreBackup: []wire.Hook{hook}, PostBackup: []wire.Hook{hook}}
	dumped.Name, dumped.Includes, dumped.Command, dumped.FileName = "dumped", nil, []string{dumpPath, "db"}, "db.sql"
	run := func(uid string, group wire.SourceGroup) *wire.CommandRun {
		return w.command(uid, func(c *wire.JobCommand) { c.Backup = &group })
	}
	stop := w.ready()
	offer := w.offer(func(s *wire.ScheduleSet) { s.Groups = append(s.Groups, hooked, dumped) })
	w.send(offer)
	ack := next(w, "the ack", func(m *wire.SetAck) bool { return m.Revision == offer.Revision })
	if !ack.Applied || len(ack.NotAllowed) != 2 || ack.NotAllowed[0].SourceGroup != "hooked" || ack.NotAllowed[0].What != "hooks" || ack.NotAllowed[1].SourceGroup != "dumped" || ack.NotAllowed[1].What != "commands" {
		t.Fatalf("ack is %+v", ack)
	}
	for uid, group := range map[string]wire.SourceGroup{"1": hooked, "2": dumped} {
		if got := w.do(run(uid, group), wire.OutcomeFailed, wire.ReasonNotAllowed); !strings.Contains(got.Message, "agent.yaml") {
			t.Errorf("the message is %q", got.Message)
		}
	}
	w.do(w.command("3", nil), wire.OutcomeSucceeded, "")
	w.until("the status tells it", func() bool {
		status, err := ReadStatus(w.config.StateDir)
		return err == nil && len(status.NotAllowed) == 2
	})
	if _, err := os.Stat(said); err == nil {
		t.Error("a hook ran all the same")
	}

	// It is told again while it lasts, and once more when it is over: nothing in the set tells the gateway.
	w.drop()
	next[*wire.Hello](w, "the next session", nil)
	if ack := next[*wire.SetAck](w, "the same again", nil); ack.Revision != offer.Revision || !ack.Applied || len(ack.NotAllowed) != 2 {
		t.Errorf("ack is %+v", ack)
	}
	stop()
	w.config.Allow.Hooks, w.config.Allow.Commands = config.Consent{AllowDirs: []string{hooks}}, config.Consent{AllowDirs: []string{dumps}}
	w.start()
	next[*wire.Hello](w, "the next process", nil)
	if ack := next[*wire.SetAck](w, "the consent", nil); ack.Revision != offer.Revision || !ack.Applied || len(ack.NotAllowed) != 0 {
		t.Errorf("ack is %+v", ack)
	}
	w.do(run("4", hooked), wire.OutcomeSucceeded, "")
	if got, err := os.ReadFile(said); err != nil || string(got) != "preBackup hooked  unset\npostBackup hooked Succeeded unset\n" {
		t.Errorf("the hooks said %q, %v", got, err)
	}
	w.do(run("5", dumped), wire.OutcomeSucceeded, "")
	restored := w.do(w.command("6", func(c *wire.JobCommand) {
		c.Kind, c.Backup = wire.JobRestore, nil
		c.Restore = &wire.Restore{Snapshot: wire.LatestSnapshot, ResticHost: c.ResticHost, Tag: "etc", Includes: []string{"/db.sql"}}
	}), wire.OutcomeSucceeded, "")
	if got, err := os.ReadFile(filepath.Join(restored.Restore.Target, "db.sql")); err != nil || string(got) != "dump of db unset\n" {
		t.Errorf("restored %q, %v", got, err)
	}
}
