package job

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// redeliver is how soon a result that the Observer did not take is tried again.
const redeliver = 10 * time.Second

// run takes a task from its turn to its result.
func (m *Manager) run(t *task) {
	now := m.now()
	switch {
	case t.ctx.Err() != nil:
		m.endBeforeStart(t)
		return
	case !t.job.NotAfter.IsZero() && now.After(t.job.NotAfter):
		result := m.newResult(t.record)
		result.fail(wire.ReasonExpired, fmt.Sprintf("The job could not start before %s: other jobs of this repository took too long; start it again.", t.job.NotAfter.UTC().Format(time.RFC3339)))
		m.finish(t.record, result.JobFinished)
		return
	}
	if err := m.ledger.start(t.record, now); err != nil {
		result := m.newResult(t.record)
		result.fail(wire.ReasonResticFailed, fmt.Sprintf("The job was not started, since the agent could not remember that it did: %v; see to the disk of its state folder.", err))
		m.finish(t.record, result.JobFinished)
		return
	}
	m.mu.Lock()
	t.started = now
	m.mu.Unlock()
	m.options.Observer.Started(wire.JobStarted{Job: t.job.Ref, StartedAt: now})

	ctx, cancel := context.WithCancelCause(t.ctx)
	defer cancel(nil)
	if t.job.Deadline > 0 {
		defer m.deadline(t.job.Deadline, cancel)()
	}
	watch := m.watch(&t.job)
	result := m.newResult(t.record)
	err := m.attempt(ctx, &t.job, watch, result)
	result.judge(&t.job, ctx, err)
	m.states.ended(t.job.Repository.URL, err, repositoryOpened(&t.job, result, err))
	if result.Message != "" {
		watch.note("%s: %s", result.Outcome, result.Message)
	}
	result.LogTail = watch.log.tail()
	if err := watch.log.close(); err != nil {
		m.options.Logger.Warn("the log of a job is not complete", "job", t.job.Ref.JobID, "error", err)
	}
	m.finish(t.record, result.JobFinished)
	m.logs.prune(m.active)
	m.ledger.prune(m.now())
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

// attempt does the work; a job that fails on a lock has stale locks removed, and is tried once more.
func (m *Manager) attempt(ctx context.Context, j *Job, watch *watch, result *result) error {
	r, err := m.newRunner(ctx, j)
	if err != nil {
		return &preparation{wire.ReasonResticMissing, err.Error()}
	}
	repository, err := m.repository(j)
	if err != nil {
		return err
	}
	target := ""
	if j.Restore != nil {
		if target, err = m.restoreTarget(j.Ref.JobID, j.Restore.Target); err != nil {
			return &preparation{wire.ReasonRefused, fmt.Sprintf("%s: %v", wire.RefusalNotAllowed, err)}
		}
	}
	work := func() error {
		switch j.Ref.Kind {
		case wire.JobBackup:
			done, err := r.Backup(ctx, backupOptions(j, repository), watch)
			result.backup(done)
			return err
		case wire.JobRestore:
			done, err := r.Restore(ctx, restoreOptions(j, repository, target), watch)
			result.restore(done, target)
			return err
		case wire.JobInit:
			return r.Init(ctx, repository, watch)
		default:
			return &preparation{wire.ReasonRefused, fmt.Sprintf("This version of the agent cannot run jobs of kind %s; upgrade it.", j.Ref.Kind)}
		}
	}
	err = work()
	if !errors.Is(err, restic.ErrLocked) || ctx.Err() != nil {
		return err
	}
	watch.note("the repository is locked; removing stale locks and trying once more")
	if unlockErr := r.Unlock(ctx, repository, watch); unlockErr != nil {
		watch.note("removing stale locks failed: %v", unlockErr)
		return err
	}
	return work()
}

// repository opens the credential. It is not kept beyond the run.
func (m *Manager) repository(j *Job) (restic.Repository, error) {
	credential, err := j.Credential()
	if err != nil {
		return restic.Repository{}, &preparation{wire.ReasonNoCredential, fmt.Sprintf("There is no usable credential for the repository on this machine: %v.", err)}
	}
	r := restic.Repository{URL: j.Repository.URL, Environment: credential.Environment, CABundle: []byte(j.Repository.CABundle), Consent: restic.Consent{Rclone: m.options.AllowRclone}}
	if err := r.Check(); err != nil {
		return r, &preparation{wire.ReasonNoCredential, err.Error()}
	}
	return r, nil
}

// preparation is a failure before restic was started.
type preparation struct {
	reason  wire.Reason
	message string
}

func (p *preparation) Error() string { return p.message }

func (m *Manager) endBeforeStart(t *task) {
	result := m.newResult(t.record)
	if errors.Is(context.Cause(t.ctx), errCancelled) {
		result.Outcome, result.Reason, result.Message = wire.OutcomeCancelled, wire.ReasonCancelled, "The job was cancelled before its turn came."
	} else {
		result.fail(wire.ReasonAgentRestarted, "The agent was stopped before the job's turn came; start it again.")
	}
	m.finish(t.record, result.JobFinished)
}

// finish makes a result durable and delivers it. When the ledger refuses, it is delivered all the same.
func (m *Manager) finish(r *record, finished wire.JobFinished) {
	if err := m.ledger.finish(r, finished); err != nil {
		m.options.Logger.Error("the result of a job cannot be remembered", "job", r.Job.JobID, "error", err)
	}
	attributes := []any{"job", r.Job.JobID, "kind", r.Job.Kind, "outcome", finished.Outcome}
	if finished.Reason != "" {
		attributes = append(attributes, "reason", finished.Reason, "message", finished.Message)
	}
	m.options.Logger.Info("job ended", attributes...)
	// From here on a duplicate is answered with the result.
	m.mu.Lock()
	delete(m.tasks, r.Job.JobID)
	m.mu.Unlock()
	m.deliver(r)
}

// deliver tells a result, and goes on trying in the background while it is not taken.
func (m *Manager) deliver(r *record) {
	if m.deliverOnce(r) {
		return
	}
	m.background(func() {
		for m.sleep(redeliver) { // when it ends, the next start goes on
			if m.deliverOnce(r) {
				return
			}
		}
	})
}

// background runs f so that Close waits for it; not at all when Close was called.
func (m *Manager) background(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.running.Go(f)
	}
}

// sleep returns false when the agent stops first.
func (m *Manager) sleep(d time.Duration) bool {
	timer := m.options.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-m.ctx.Done():
		return false
	case <-timer.C():
		return true
	}
}

func (m *Manager) deliverOnce(r *record) bool {
	if err := m.options.Observer.Finished(*r.Result); err != nil {
		m.options.Logger.Warn("the result of a job was not taken; it is told again", "job", r.Job.JobID, "error", err)
		return false
	}
	if err := m.ledger.delivered(r); err != nil {
		m.options.Logger.Warn("a delivered result cannot be marked; after a restart it is told again", "job", r.Job.JobID, "error", err)
	}
	return true
}

func (m *Manager) active(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tasks[id] != nil
}
