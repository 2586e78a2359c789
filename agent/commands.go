package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/agent/desired"
	"github.com/restic-manager/restic-manager/agent/job"
	"github.com/restic-manager/restic-manager/api/wire"
)

// command obeys a signed command, once. A command that was accepted before is answered with its present state, even when it has
// expired since: its result matters, not its age.
func (a *Agent) command(m *wire.CommandRun) {
	if a.jobs.Known(m.JobID) {
		a.answerAgain(m.JobID)
		return
	}
	command, err := a.desired.VerifyCommand(*m)
	if err != nil {
		a.refuseCommand(m.JobID, err)
		return
	}
	j := a.jobOf(m.JobID, command)
	switch err := a.jobs.Submit(j); {
	case err == nil:
		a.logger.Info("a command was accepted", "job", m.JobID, "kind", command.Kind, "hostJob", command.Name, "targetHost", command.TargetHost)
		a.answerCommand(wire.CommandAck{JobID: m.JobID, Accepted: true})
	case errors.Is(err, job.ErrKnown):
		a.answerAgain(m.JobID)
	case errors.Is(err, job.ErrRemoved):
		a.refuseCommand(m.JobID, &desired.Refusal{Reason: wire.RefusalWrongHost, Message: err.Error()})
	case errors.Is(err, job.ErrClosed):
		// The gateway brings it again to the next process.
	default:
		a.refuseCommand(m.JobID, &desired.Refusal{Reason: wire.RefusalStorage, Message: "the machine could not accept the command: " + err.Error()})
	}
}

// jobOf turns a verified command into a job.
func (a *Agent) jobOf(jobID string, c *desired.Command) job.Job {
	j := job.Job{
		Ref:        wire.JobRef{JobID: jobID, Kind: c.Kind, HostJob: c.Name, HostJobUID: c.UID, TargetHost: c.TargetHost},
		ResticHost: c.ResticHost, Repository: c.Repository, Bandwidth: c.Bandwidth, TargetHost: c.TargetHost,
		Backup: c.Backup, Restore: c.Restore, Forget: c.Forget, Prune: c.Prune, Check: c.Check, Verify: c.Verify, Hooks: c.Hooks,
		Deadline: time.Duration(c.ActiveDeadlineSeconds) * time.Second, NotAfter: c.NotAfter,
	}
	if c.Backup != nil {
		j.Ref.SourceGroup = c.Backup.Name
	}
	if name := c.Repository.Credential; c.Carries(name) {
		// Sealed until restic needs it, and gone with the job.
		j.Credential = func() (wire.Credential, error) { return c.Credential(name) }
	} else {
		access := a.access(name)
		j.Credential, j.Opened = access.credential, access.opened
	}
	return j
}

// cancel obeys a signed cancellation.
func (a *Agent) cancel(m *wire.CommandCancel) {
	cancel, err := a.desired.VerifyCancel(*m)
	if err != nil {
		a.logger.Error("a cancellation was refused", "job", m.JobID, "error", err)
		return
	}
	id := wire.CommandID(cancel.UID)
	switch err := a.jobs.Cancel(id); {
	case err == nil:
		a.logger.Info("a job is being cancelled", "job", id)
	default:
		a.logger.Warn("a cancellation cannot be obeyed", "job", id, "error", err)
	}
}

// answerAgain answers a command that came before. A job that has ended is not run again; its result is told again, once per job and
// session: each time is a report in the outbox.
func (a *Agent) answerAgain(jobID string) {
	ack := wire.CommandAck{JobID: jobID, Accepted: true}
	state, _, err := a.jobs.State(jobID)
	switch {
	case err != nil:
		// No result will ever come: the HostJob must not wait for one.
		a.refuseCommand(jobID, &desired.Refusal{Reason: wire.RefusalStorage,
			Message: "the machine's own record of this job is damaged, so it does not know how the job ended and does not run it again; start a new one"})
		return
	case state == job.StateFinished:
		ack = wire.CommandAck{JobID: jobID, Reason: wire.RefusalAlreadyRun, Message: "the command was run before; its result is sent again"}
	}
	a.answerCommand(ack)
	if a.retold.first(jobID) {
		a.jobs.Tell(jobID)
	}
}

// refuseCommand says why a command is not obeyed. The gateway brings an unfinished job's command again in each session, so that an
// answer which is lost is given again.
func (a *Agent) refuseCommand(jobID string, err error) {
	reason, message := wire.RefusalInvalid, err.Error()
	var refusal *desired.Refusal
	if errors.As(err, &refusal) {
		reason, message = refusal.Reason, refusal.Message
	}
	level := slog.LevelDebug
	if a.refusals.first(jobID) {
		level = slog.LevelError
	}
	a.logger.Log(context.Background(), level, "a command was refused", "job", jobID, "reason", reason, "message", message)
	a.answerCommand(wire.CommandAck{JobID: jobID, Reason: reason, Message: wire.Cut(message, wire.MaxString)})
}

func (a *Agent) answerCommand(ack wire.CommandAck) {
	if err := a.session.Send(&ack); err != nil {
		a.logger.Debug("the answer to a command cannot be sent; it is given again in the next session", "job", ack.JobID, "error", err)
	}
}

const (
	// limiterSize bounds what one limiter lets through in limiterPeriod.
	limiterSize   = 100
	limiterPeriod = time.Hour
)

// limiter lets each job through once, and not too many of them, so that neither repetitions nor a flood fill the outbox or the log.
type limiter struct {
	clock clock.Clock

	mu    sync.Mutex
	since time.Time
	seen  map[string]bool
}

// first tells whether this job comes for the first time, and may still come.
func (l *limiter) first(jobID string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	if now.Sub(l.since) > limiterPeriod || now.Before(l.since) {
		l.since = now
		clear(l.seen)
	}
	if l.seen[jobID] || len(l.seen) >= limiterSize {
		return false
	}
	l.seen[jobID] = true
	return true
}

func (l *limiter) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.seen)
}
