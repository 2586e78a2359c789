package agent

import (
	"strings"

	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/agent/desired"
	"github.com/restic-manager/restic-manager/api/wire"
)

// checkSet is the machine's own rule for sets: what its owner did not allow is refused before anything is stored.
func checkSet(allow config.Allow) func(*wire.ScheduleSet) error {
	return func(set *wire.ScheduleSet) error {
		if set.Tombstone {
			return nil
		}
		if strings.HasPrefix(set.Repository.URL, "rclone:") && !allow.Rclone.Granted() {
			return &desired.Refusal{Reason: wire.RefusalNotAllowed,
				Message: "this machine does not allow rclone repositories; its owner can, with rclone: allow in the section allow of agent.yaml"}
		}
		return nil
	}
}
