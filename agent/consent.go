package agent

import (
	"fmt"
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

// The names of the consents in agent.yaml, as wire.NotAllowed tells them.
const (
	consentHooks    = "hooks"
	consentCommands = "commands"
)

// notAllowed lists what of a set the machine's owner does not allow: one entry for each group and consent, with the first command that is refused. The
// set is in force all the same; backups of these groups fail. Of very many the first stand for the rest.
func notAllowed(allow config.Allow, set *wire.ScheduleSet) []wire.NotAllowed {
	if set == nil || set.Tombstone {
		return nil
	}
	var out []wire.NotAllowed
	refuse := func(group, what string, err error) {
		if err != nil {
			out = append(out, wire.NotAllowed{SourceGroup: group, What: what, Message: wire.Cut(err.Error(), wire.MaxString)})
		}
	}
	refuse("", consentHooks, checkHooks(allow, set.Hooks))
	for i := range set.Groups {
		g := &set.Groups[i]
		refuse(g.Name, consentHooks, checkHooks(allow, g.Hooks))
		if len(g.Command) > 0 {
			refuse(g.Name, consentCommands, allow.CheckCommand(g.Command))
		}
	}
	if more := len(out) - wire.MaxListed; more > 0 {
		out = out[:wire.MaxListed]
		last := &out[len(out)-1]
		last.Message = wire.Cut(fmt.Sprintf("%d more beside this one: %s", more, last.Message), wire.MaxString)
	}
	return out
}

// checkHooks returns the refusal of the first hook that is not allowed.
func checkHooks(allow config.Allow, hooks *wire.Hooks) error {
	if hooks == nil {
		return nil
	}
	for _, list := range [][]wire.Hook{hooks.PreBackup, hooks.PostBackup, hooks.OnFailure} {
		for _, h := range list {
			if err := allow.CheckHook(h.Command); err != nil {
				return err
			}
		}
	}
	return nil
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
