package agent

import (
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
