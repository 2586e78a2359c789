package job

import (
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// redeliver is how soon a result that the Observer did not take is tried again.
const redeliver = 10 * time.Second

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
	m.followers.ring(r.Job.JobID)
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
	return sleep(m.ctx, m.options.Clock, d)
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
