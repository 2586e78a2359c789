package job

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// execution is a job from its first turn to its end.
type execution struct {
	task *task
	job  *Job
	// ctx ends with the job's deadline, its cancellation or the agent.
	ctx    context.Context
	cancel context.CancelCauseFunc
	watch  *watch
	result *result
	// attempts counts the turns; the one under way is included.
	attempts int
	// bracket says that the preBackup hooks of this attempt were reached, so that the postBackup hooks have to follow.
	bracket bool
	// postFailed is the first failure of a postBackup hook with onError Fail.
	postFailed error
	// resticBegan is when restic was last started for the work itself.
	resticBegan time.Time
	forgetting  forgetting
	stopClock   func()
}

// run is one turn of a job: it ends it, or has it wait for its next attempt.
func (m *Manager) run(t *task) {
	if t.execution == nil && !m.begin(t) {
		return
	}
	x := t.execution
	err := x.ctx.Err()
	if err == nil {
		err = m.attempt(x)
	}
	if wait, again := m.retryIn(x, err); again {
		m.pause(x, err, wait)
		return
	}
	m.end(x, err)
}

// begin makes a job's execution; false when the job ended instead.
func (m *Manager) begin(t *task) bool {
	now := m.now()
	switch {
	case t.ctx.Err() != nil:
		m.endBeforeStart(t)
		return false
	case !t.job.NotAfter.IsZero() && now.After(t.job.NotAfter):
		m.failBeforeStart(t, wire.ReasonExpired, fmt.Sprintf("The job could not start before %s: other jobs of this repository took too long; start it again.", t.job.NotAfter.UTC().Format(time.RFC3339)))
		return false
	}
	if err := m.ledger.start(t.record, now); err != nil {
		m.failBeforeStart(t, wire.ReasonResticFailed, fmt.Sprintf("The job was not started, since the agent could not remember that it did: %v; see to the disk of its state folder.", err))
		return false
	}
	x := &execution{task: t, job: &t.job, watch: m.watch(&t.job), result: m.newResult(t.record), stopClock: func() {}}
	x.ctx, x.cancel = context.WithCancelCause(t.ctx)
	if t.job.Deadline > 0 {
		x.stopClock = m.deadline(t.job.Deadline, x.cancel)
	}
	t.execution = x
	m.mu.Lock()
	t.started = now
	m.mu.Unlock()
	m.followers.ring(t.job.Ref.JobID)
	m.options.Observer.Started(wire.JobStarted{Job: t.job.Ref, StartedAt: now})
	return true
}

// deadline cancels after d; the returned function ends the watch.
func (m *Manager) deadline(d time.Duration, cancel context.CancelCauseFunc) (stop func()) {
	timer, over := m.options.Clock.NewTimer(d), make(chan struct{})
	go func() {
		select {
		case <-timer.C():
			cancel(context.DeadlineExceeded)
		case <-over:
		}
	}()
	return func() { timer.Stop(); close(over) }
}

// end judges a job, runs what is to run after it, and delivers its result.
func (m *Manager) end(x *execution, err error) {
	x.result.judge(x.job, x.ctx, err)
	opened := repositoryOpened(x.result, err)
	m.mu.Lock()
	x.task.retrying = ""
	m.mu.Unlock()
	m.view(x.job).ended(err, opened, m.waits(x.job, ""))
	if opened {
		x.job.opened()
	}
	m.hooksAfter(x)
	if x.attempts > 1 {
		x.result.Attempts = int64(x.attempts)
	}
	x.result.FinishedAt = m.now()
	if x.result.Message != "" {
		x.watch.note("%s: %s", x.result.Outcome, x.result.Message)
	}
	m.countStats(x)
	x.result.LogTail = x.watch.log.tail()
	if err := m.logs.close(x.job.Ref.JobID, x.watch.log); err != nil {
		m.options.Logger.Warn("the log of a job is not complete", "job", x.job.Ref.JobID, "error", err)
	}
	x.stopClock()
	x.cancel(nil)
	m.finish(x.task.record, x.result.JobFinished)
	x.task.cancel(nil)
	m.logs.prune(m.active)
	m.ledger.prune(m.now())
	m.listAfter(x.job, x.result)
}

// preparation is a failure before restic was started.
type preparation struct {
	reason  wire.Reason
	message string
}

func (p *preparation) Error() string { return p.message }

func (m *Manager) endBeforeStart(t *task) {
	defer t.cancel(nil)
	result := m.newResult(t.record)
	switch cause := context.Cause(t.ctx); {
	case errors.Is(cause, errCancelled):
		result.Outcome, result.Reason, result.Message = wire.OutcomeCancelled, wire.ReasonCancelled, "The job was cancelled before its turn came."
	case errors.Is(cause, errRemoved):
		result.Outcome, result.Reason, result.Message = wire.OutcomeCancelled, wire.ReasonCancelled, "The Host of this machine was removed before the job's turn came."
	default:
		result.fail(wire.ReasonAgentRestarted, "The agent was stopped before the job's turn came; start it again.")
	}
	m.finish(t.record, result.JobFinished)
}

func (m *Manager) failBeforeStart(t *task, reason wire.Reason, message string) {
	defer t.cancel(nil)
	result := m.newResult(t.record)
	result.fail(reason, message)
	m.finish(t.record, result.JobFinished)
}
