package job

import (
	"context"
	"slices"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// queue is the work of one repository: one task at a time.
type queue struct {
	running *task
	waiting []*task
}

// task is a job, a look at a repository or a listing.
type task struct {
	job    Job
	record *record
	cancel context.CancelCauseFunc
	ctx    context.Context
	kind   taskKind
	// ensured is the number of the call of Ensure that a look belongs to.
	ensured int
	// execution is set from a job's first turn on; one goroutine at a time works on it.
	execution *execution

	// These are guarded by Manager.mu.
	started time.Time
	// turn is closed when the turn of a job begins that waits for its next attempt in the queue.
	turn chan struct{}
	// quiet says that restic was started without a line per file.
	quiet bool
	// retrying is why a job waits for its next attempt; empty while it does not. progress tells that wait.
	retrying wire.Reason
	progress wire.JobProgress
}

type taskKind int

const (
	aJob taskKind = iota
	// aLook sees whether the repository exists; it turns into a job when it has to be made.
	aLook
	// aListing lists the machine's own snapshots.
	aListing
)

// enqueue puts a task into its repository's queue and begins the queue when there is none. waits says that something else runs first. It is not ok when the
// agent stops or its Host was removed.
func (m *Manager) enqueue(t *task) (waits, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.removed {
		m.giveContext(t)
		if m.removed {
			t.cancel(errRemoved)
		}
		return false, false
	}
	key := queueKey(t.job.Repository)
	q := m.queues[key]
	switch {
	case t.kind == aJob:
		m.tasks[t.job.Ref.JobID] = t
	case q != nil:
		if i := slices.IndexFunc(q.waiting, func(x *task) bool { return x.kind == t.kind }); i >= 0 {
			// One is enough. It goes the newest way: certificates, caps and credentials may be others by now.
			q.waiting[i].job, q.waiting[i].ensured = t.job, t.ensured
			return true, true
		}
	}
	m.giveContext(t)
	if q != nil {
		q.waiting = append(q.waiting, t)
		return true, true
	}
	m.queues[key] = &queue{waiting: []*task{t}}
	m.running.Go(func() { m.work(key) })
	return false, true
}

// giveContext gives a task its context; one that waits for its next attempt has it already.
func (m *Manager) giveContext(t *task) {
	if t.ctx == nil {
		t.ctx, t.cancel = context.WithCancelCause(m.ctx)
	}
}

// work runs the queue of one repository until it is empty.
func (m *Manager) work(key string) {
	for {
		t := m.next(key)
		if t == nil {
			return
		}
		switch t.kind {
		case aLook:
			m.look(t)
		case aListing:
			m.listSnapshots(t)
		default:
			done := m.room(t)
			m.run(t)
			done()
		}
	}
}

// room waits, for a job on another host's repository, until not too many of these run. It returns early when the job is ended meanwhile.
func (m *Manager) room(t *task) (done func()) {
	if t.job.TargetHost == "" {
		return func() {}
	}
	leave := func() { <-m.others }
	select {
	case m.others <- struct{}{}:
		return leave
	default:
	}
	if t.execution == nil {
		m.options.Observer.Started(wire.JobStarted{Job: t.job.Ref, Queued: true})
	}
	select {
	case m.others <- struct{}{}:
		return leave
	case <-t.ctx.Done():
		return func() {}
	}
}

// next takes the next task of a queue, and ends the queue when there is none.
func (m *Manager) next(key string) *task {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queues[key]
	q.running = nil
	if len(q.waiting) == 0 {
		delete(m.queues, key)
		return nil
	}
	t := q.waiting[0]
	q.running, q.waiting = t, q.waiting[1:]
	if t.turn != nil {
		close(t.turn)
		t.turn, t.retrying = nil, ""
	}
	return t
}

// withdraw takes a task out of its queue; false when it does not wait there.
func (m *Manager) withdraw(t *task) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.withdrawLocked(t)
}

func (m *Manager) withdrawLocked(t *task) bool {
	q := m.queues[queueKey(t.job.Repository)]
	if q == nil {
		return false
	}
	i := slices.Index(q.waiting, t)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// Cancel ends a job: one that waits at once, one that runs with SIGINT, and after a grace SIGKILL. It returns at once; the result comes to the Observer.
// A job that ended already is no error, and told again.
func (m *Manager) Cancel(id string) error {
	m.mu.Lock()
	t := m.tasks[id]
	if t == nil {
		m.mu.Unlock()
		if _, known := m.ledger.lookup(id); !known {
			return ErrUnknown
		}
		m.announce(id)
		return nil
	}
	t.cancel(errCancelled)
	// One that waits for its next attempt hears of it by itself (pause).
	waits := t.started.IsZero() && m.withdrawLocked(t)
	if waits {
		delete(m.tasks, id)
	}
	m.mu.Unlock()
	if waits {
		m.endBeforeStart(t)
	}
	return nil
}
