package job

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/agent/hook"
	"github.com/restic-manager/restic-manager/api/wire"
)

// The occasions of hooks, as RESTIC_MANAGER_HOOK tells them.
const (
	preBackup  = "preBackup"
	postBackup = "postBackup"
	onFailure  = "onFailure"
)

// outcomeRetrying is what RESTIC_MANAGER_OUTCOME tells the postBackup hooks of an attempt after which another one follows.
const outcomeRetrying = "Retrying"

// hookGrace is how long the hooks after a backup may go on when the agent stops.
const hookGrace = 10 * time.Second

// placed is a hook with its place, for people: "host preBackup 1".
type placed struct {
	wire.Hook
	name string
}

// hooksOf lists the hooks of an occasion in their order: those of the host embrace those of the group.
func hooksOf(j *Job, occasion string) []placed {
	var host, group []placed
	for _, list := range []struct {
		where string
		hooks *wire.Hooks
		to    *[]placed
	}{{"host", j.Hooks, &host}, {"group", j.Backup.Hooks, &group}} {
		if list.hooks == nil {
			continue
		}
		of := map[string][]wire.Hook{preBackup: list.hooks.PreBackup, postBackup: list.hooks.PostBackup, onFailure: list.hooks.OnFailure}[occasion]
		for i, h := range of {
			*list.to = append(*list.to, placed{h, fmt.Sprintf("%s %s %d", list.where, occasion, i+1)})
		}
	}
	if occasion == preBackup {
		return append(host, group...)
	}
	return append(group, host...)
}

var errNoConsent = errors.New("this machine allows none; its owner can, in the section allow of agent.yaml")

// consent asks for all that a backup would run, before anything of it runs.
func (m *Manager) consent(j *Job) error {
	if j.Ref.Kind != wire.JobBackup {
		return nil
	}
	refuse := func(what string, err error) error {
		return &preparation{wire.ReasonNotAllowed, fmt.Sprintf("The backup was not started: %s: %v", what, err)}
	}
	for _, occasion := range []string{preBackup, postBackup, onFailure} {
		for _, h := range hooksOf(j, occasion) {
			if err := m.allowsHook(h.Command); err != nil {
				return refuse("the hook "+h.name, err)
			}
		}
	}
	if len(j.Backup.Command) > 0 {
		if err := m.allowsCommand(j.Backup.Command); err != nil {
			return refuse("the command of the source group", err)
		}
	}
	return nil
}

func (m *Manager) allowsHook(command []string) error {
	if m.options.AllowHook == nil {
		return errNoConsent
	}
	return m.options.AllowHook(command)
}

func (m *Manager) allowsCommand(command []string) error {
	if m.options.AllowCommand == nil {
		return errNoConsent
	}
	return m.options.AllowCommand(command)
}

// environment tells hooks and commands what is going on.
func (m *Manager) environment(j *Job) map[string]string {
	env := map[string]string{
		"RESTIC_MANAGER_HOST": m.options.Host.Name, "RESTIC_MANAGER_NAMESPACE": m.options.Host.Namespace,
		"RESTIC_MANAGER_JOB_ID": j.Ref.JobID, "RESTIC_MANAGER_JOB_KIND": string(j.Ref.Kind),
	}
	if j.Backup != nil {
		env["RESTIC_MANAGER_SOURCE_GROUP"] = j.Backup.Name
	}
	return env
}

// runHooks runs the hooks of an occasion one after the other, with more variables. It returns the error of the first that failed and has onError Fail; before a
// backup it ends there.
func (m *Manager) runHooks(ctx context.Context, x *execution, occasion string, more map[string]string) error {
	var failed error
	for _, h := range hooksOf(x.job, occasion) {
		env := m.environment(x.job)
		env["RESTIC_MANAGER_HOOK"] = occasion
		for name, value := range more {
			env[name] = value
		}
		err := m.allowsHook(h.Command) // it may lead elsewhere than a moment ago
		if err != nil {
			err = fmt.Errorf("the hook %s was not started: %w", h.name, err)
		} else {
			err = m.runHook(ctx, hook.Call{Name: h.name, Hook: h.Hook, Env: env, Output: func(line string) { x.watch.write(m.now(), h.name+": ", line) }})
		}
		if err == nil {
			continue
		}
		x.watch.note("%v", err)
		if ctx.Err() != nil && occasion == preBackup {
			return ctx.Err() // it did not fail, it was stopped
		}
		x.result.hookFailed(err)
		if h.OnError != wire.HookOnErrorContinue && failed == nil {
			failed = err
			if occasion == preBackup {
				return failed
			}
		}
	}
	return failed
}

func (r *result) hookFailed(err error) {
	if len(r.HookFailures) < wire.MaxListed {
		r.HookFailures = append(r.HookFailures, cutText(err.Error()))
	}
}

// hooksBefore runs the preBackup hooks. From here on the postBackup hooks have to follow.
func (m *Manager) hooksBefore(x *execution) error {
	x.bracket = true
	err := m.runHooks(x.ctx, x, preBackup, nil)
	if err != nil && x.ctx.Err() == nil {
		return &preparation{wire.ReasonHookFailed, fmt.Sprintf("The backup was not started: %v.", err)}
	}
	return err
}

// hooksBetween runs the postBackup hooks when another attempt follows: what preBackup stopped does not stand still for the wait.
func (m *Manager) hooksBetween(x *execution, reason wire.Reason, exitCode int, message string) {
	if x.bracket {
		ctx, cancel := m.afterwards()
		defer cancel()
		m.hooksPost(ctx, x, outcomeVariables(outcomeRetrying, reason, exitCode, "", message))
	}
}

// hooksAfter runs onFailure and postBackup hooks at the end of a job, with its result; postBackup hooks that fail become part of it.
func (m *Manager) hooksAfter(x *execution) {
	if x.job.Ref.Kind != wire.JobBackup {
		return
	}
	snapshot := ""
	if x.result.Backup != nil {
		snapshot = x.result.Backup.SnapshotID
	}
	env := outcomeVariables(string(x.result.Outcome), x.result.Reason, x.result.ExitCode, snapshot, x.result.Message)
	ctx, cancel := m.afterwards()
	defer cancel()
	if x.result.Outcome == wire.OutcomeFailed && x.result.Reason != wire.ReasonNotAllowed {
		_ = m.runHooks(ctx, x, onFailure, env) // the job has failed already
	}
	if x.bracket {
		m.hooksPost(ctx, x, env)
	}
	if x.postFailed != nil && x.result.Outcome == wire.OutcomeSucceeded {
		x.result.Outcome, x.result.Reason = wire.OutcomeCompletedWithErrors, wire.ReasonHookFailed
		x.result.Message = cutText(fmt.Sprintf("The backup was made, and after it %v.", x.postFailed))
	}
}

func (m *Manager) hooksPost(ctx context.Context, x *execution, env map[string]string) {
	x.bracket = false
	if err := m.runHooks(ctx, x, postBackup, env); err != nil && x.postFailed == nil {
		x.postFailed = err
	}
}

func outcomeVariables(outcome string, reason wire.Reason, exitCode int, snapshot, message string) map[string]string {
	return map[string]string{
		"RESTIC_MANAGER_OUTCOME": outcome, "RESTIC_MANAGER_REASON": string(reason), "RESTIC_MANAGER_EXIT_CODE": strconv.Itoa(exitCode),
		"RESTIC_MANAGER_SNAPSHOT_ID": snapshot, "RESTIC_MANAGER_MESSAGE": message,
	}
}

// afterwards is the context of hooks after a backup. Neither the job's cancellation nor its deadline ends it; an agent that stops does, after hookGrace.
func (m *Manager) afterwards() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(m.ctx))
	unhook := context.AfterFunc(m.ctx, func() {
		if sleep(ctx, m.options.Clock, hookGrace) {
			cancel(errStopping)
		}
	})
	return ctx, func() { unhook(); cancel(nil) }
}

// sleep returns false when ctx ends first.
func sleep(ctx context.Context, c clock.Clock, d time.Duration) bool {
	timer := c.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C():
		return true
	}
}
