package job

import (
	"errors"
	"fmt"
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// retryIn tells whether a job is to be tried again, and when: the repository was locked or could not be reached, which may get better by itself. What
// needs a person (a wrong password, a missing repository) is not tried again, and neither is an init.
func (m *Manager) retryIn(x *execution, err error) (time.Duration, bool) {
	if err == nil || x.ctx.Err() != nil || x.attempts == 0 || x.attempts > len(m.options.RetryBackoff) || x.job.Ref.Kind == wire.JobInit {
		return 0, false
	}
	if !transient(err) || x.result.Backup != nil && x.result.Backup.SnapshotID != "" {
		return 0, false
	}
	return m.options.RetryBackoff[x.attempts-1], true
}

func transient(err error) bool {
	return errors.Is(err, restic.ErrLocked) || errors.Is(err, restic.ErrUnreachable)
}

// pause has a job wait for its next attempt. Its turn at the repository ends meanwhile, so that other jobs run.
func (m *Manager) pause(x *execution, err error, wait time.Duration) {
	reason := reasonOf(restic.KindOf(err))
	m.hooksBetween(x, reason, exitCodeOf(err), messageOf(err))
	number := x.attempts + 1
	text := cutText(fmt.Sprintf("attempt %d of %d at %s: %s", number, len(m.options.RetryBackoff)+1, m.now().Add(wait).Format("15:04 UTC"), messageOf(err)))
	x.watch.note("%s", text)
	m.view(x.job).set(wire.RepositoryRetrying, reason, text)
	progress := x.watch.waiting(text, number)
	m.mu.Lock()
	x.task.retrying, x.task.progress = reason, progress
	if m.removed {
		x.task.cancel(errRemoved)
	}
	m.mu.Unlock()
	m.options.Observer.Progress(progress)
	m.running.Go(func() { m.await(x, err, wait) })
}

// await brings a job back into the queue when its time has come, and ends it when it is stopped before its turn.
func (m *Manager) await(x *execution, err error, wait time.Duration) {
	timer := m.options.Clock.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-x.ctx.Done():
		m.end(x, err)
		return
	}
	turn := make(chan struct{})
	m.mu.Lock()
	x.task.turn = turn
	m.mu.Unlock()
	if _, ok := m.enqueue(x.task); !ok {
		<-x.ctx.Done() // the agent is stopping, or its Host was removed
		m.end(x, err)
		return
	}
	select {
	case <-turn:
	case <-x.ctx.Done():
		if m.withdraw(x.task) {
			m.end(x, err)
		}
	}
}

// waits tells whether a job waits for its next attempt at the repository of j; with a reason, because of that.
func (m *Manager) waits(j *Job, reason wire.Reason) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := queueKey(j.Repository)
	for _, t := range m.tasks {
		if t.retrying != "" && (reason == "" || t.retrying == reason) && queueKey(t.job.Repository) == key {
			return true
		}
	}
	return false
}

func exitCodeOf(err error) int {
	var failure *restic.Error
	if errors.As(err, &failure) {
		return failure.ExitCode
	}
	return -1
}
