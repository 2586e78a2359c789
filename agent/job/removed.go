package job

import (
	"errors"
	"slices"
)

// errRemoved is the cause with which jobs end that wait when the Host is removed.
var errRemoved = errors.New("the Host of this machine was removed")

// SetRemoved tells whether the Host of this machine was removed. While it is, nothing new is accepted and nothing that waits begins: jobs that wait for
// their turn or for their next attempt are reported cancelled, and looks and listings are dropped. A job that runs goes on to its end. It returns when those
// that waited for their turn have their results.
func (m *Manager) SetRemoved(removed bool) {
	m.mu.Lock()
	m.removed = removed
	if !removed {
		m.mu.Unlock()
		return
	}
	m.ensured++ // no look is to be repeated
	var withdrawn []*task
	for _, q := range m.queues {
		q.waiting = slices.DeleteFunc(q.waiting, func(t *task) bool {
			if t.turn != nil {
				return false // it waits for its next attempt, and hears of it below
			}
			withdrawn = append(withdrawn, t)
			return true
		})
		if t := q.running; t != nil && t.kind != aJob && t.started.IsZero() {
			t.cancel(errRemoved)
		}
	}
	for _, t := range withdrawn {
		delete(m.tasks, t.job.Ref.JobID)
	}
	for _, t := range m.tasks {
		if t.started.IsZero() || t.retrying != "" {
			t.cancel(errRemoved)
		}
	}
	m.mu.Unlock()
	for _, t := range withdrawn {
		t.cancel(errRemoved)
		if t.kind == aJob {
			m.endBeforeStart(t)
		}
	}
}

// endRemoved makes a job that has no credential a cancelled one when it lost it with the Host, in the moment before restic had it.
func (m *Manager) endRemoved(x *execution) {
	m.mu.Lock()
	removed := m.removed
	m.mu.Unlock()
	if removed {
		x.cancel(errRemoved)
	}
}

// refuses says why nothing is accepted, or nil.
func (m *Manager) refuses() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return ErrClosed
	case m.removed:
		return ErrRemoved
	case len(m.tasks) >= m.options.MaxQueued:
		return ErrQueueFull
	}
	return nil
}
