package agent

import (
	"errors"
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
		a.tell(m.JobID)
		return
	}
	command, err := a.desired.VerifyCommand(*m)
	if err != nil {
		a.refuseCommand(m, err)
		return
	}
	j := job.Job{
		Ref:        wire.JobRef{JobID: m.JobID, Kind: command.Kind, HostJob: command.Name, HostJobUID: command.UID},
		ResticHost: command.ResticHost, Repository: command.Repository, Bandwidth: command.Bandwidth,
		Backup: command.Backup, Restore: command.Restore, Credential: a.credential(command.Repository.Credential),
		Deadline: time.Duration(command.ActiveDeadlineSeconds) * time.Second, NotAfter: command.NotAfter,
	}
	if command.Backup != nil {
		j.Ref.SourceGroup = command.Backup.Name
	}
	switch err := a.jobs.Submit(j); {
	case err == nil:
		a.logger.Info("a command was accepted", "job", m.JobID, "kind", command.Kind, "hostJob", command.Name)
	case errors.Is(err, job.ErrKnown):
	case errors.Is(err, job.ErrClosed):
		// The gateway brings it again to the next process.
	default:
		a.logger.Error("a command cannot be accepted", "job", m.JobID, "error", err)
		a.reportRefused(j.Ref, "The machine could not accept the command: "+err.Error())
	}
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

// tell answers a command that came again, once per job and session: each result that is told again is a report in the outbox.
func (a *Agent) tell(jobID string) {
	if a.retold.first(jobID) {
		a.jobs.Tell(jobID)
	}
}

// refuseCommand tells why a command is not obeyed, at a bounded rate.
func (a *Agent) refuseCommand(m *wire.CommandRun, err error) {
	reason, message := wire.RefusalInvalid, err.Error()
	var refusal *desired.Refusal
	if errors.As(err, &refusal) {
		reason, message = refusal.Reason, refusal.Message
	}
	if !a.refusals.first(m.JobID) {
		a.logger.Debug("a refused command came again", "job", m.JobID, "reason", reason)
		return
	}
	a.logger.Error("a command was refused", "job", m.JobID, "reason", reason, "message", message)
	// The text is not vouched for: it only says which HostJob the sender meant.
	ref := wire.JobRef{JobID: m.JobID, Kind: "Unknown"}
	if claimed, err := wire.ParseJobCommand(m.Command); err == nil && wire.CommandID(claimed.UID) == m.JobID {
		ref.Kind, ref.HostJob, ref.HostJobUID = claimed.Kind, claimed.Name, claimed.UID
	}
	a.reportRefused(ref, string(reason)+": "+message)
}

func (a *Agent) reportRefused(ref wire.JobRef, message string) {
	a.reports.add(&wire.JobFinished{Job: ref, Outcome: wire.OutcomeFailed, Reason: wire.ReasonRefused, Message: cut(message, wire.MaxString), ExitCode: -1,
		FinishedAt: a.o.Clock.Now().UTC()})
}

const (
	// limiterSize bounds what one limiter lets through in limiterPeriod.
	limiterSize   = 100
	limiterPeriod = time.Hour
)

// limiter lets each job through once, and not too many of them, so that neither repetitions nor a flood fill the outbox.
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
