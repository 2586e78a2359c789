package wire

import (
	"fmt"
	"strings"
)

// MaxHooks bounds the hooks at one place, MaxArgs the words of a command.
const (
	MaxHooks = 8
	MaxArgs  = 100
)

// Hooks are commands of the machine's owner around a backup. They run only where the machine's agent.yaml allows them.
type Hooks struct {
	// PreBackup run before the backup, one after the other; PostBackup after it, whatever became of it; OnFailure when it failed, before
	// PostBackup. A cancelled backup is not a failed one.
	PreBackup  []Hook `json:"preBackup,omitempty"`
	PostBackup []Hook `json:"postBackup,omitempty"`
	OnFailure  []Hook `json:"onFailure,omitempty"`
}

// What becomes of a job when a hook fails.
const (
	HookOnErrorFail     = "Fail"
	HookOnErrorContinue = "Continue"
)

// Hook is one command.
type Hook struct {
	// Command is a list of words, run without a shell; the first is an absolute path.
	Command        []string `json:"command"`
	TimeoutSeconds int64    `json:"timeoutSeconds"`
	// OnError is HookOnErrorFail or HookOnErrorContinue.
	OnError string `json:"onError"`
}

// Any tells whether there is a hook at all; a nil receiver has none.
func (h *Hooks) Any() bool {
	return h != nil && len(h.PreBackup)+len(h.PostBackup)+len(h.OnFailure) > 0
}

// Validate checks each hook.
func (h *Hooks) Validate() error {
	var c checks
	for _, list := range []struct {
		field string
		hooks []Hook
	}{{"preBackup", h.PreBackup}, {"postBackup", h.PostBackup}, {"onFailure", h.OnFailure}} {
		c.count(list.field, len(list.hooks), MaxHooks)
		for i := range list.hooks {
			hook := &list.hooks[i]
			field := fmt.Sprintf("%s[%d]", list.field, i)
			checkCommand(&c, field+".command", hook.Command)
			c.that(hook.TimeoutSeconds > 0 && hook.TimeoutSeconds <= 86400, "%s.timeoutSeconds is %d, want 1 to 86400", field, hook.TimeoutSeconds)
			c.that(hook.OnError == HookOnErrorFail || hook.OnError == HookOnErrorContinue, "%s.onError is %q, want Fail or Continue", field, hook.OnError)
		}
	}
	return c.err
}

// checkCommand wants a list of words that begins with an absolute path: what PATH would find is not what the machine's owner allowed.
func checkCommand(c *checks, field string, command []string) {
	c.that(len(command) > 0, "%s is missing", field)
	c.texts(field, command, MaxArgs)
	if len(command) > 0 {
		c.that(strings.HasPrefix(command[0], "/"), "%s: %q is not an absolute path", field, command[0])
	}
	for _, word := range command {
		c.that(!strings.ContainsRune(word, 0), "%s holds a NUL byte", field)
	}
}
