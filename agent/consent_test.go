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
