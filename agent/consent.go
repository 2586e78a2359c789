package agent

import (
	"path/filepath"
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

// configDirs are the folders of agent.yaml, and of the file that it leads to where it is a link.
func configDirs(path string) []string {
	if path == "" {
		return nil
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	dirs := []string{filepath.Dir(absolute)}
	if real, err := filepath.EvalSymlinks(absolute); err == nil && filepath.Dir(real) != dirs[0] {
		dirs = append(dirs, filepath.Dir(real))
	}
	return dirs
}
