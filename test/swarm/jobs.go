package swarm

import (
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// jobs stands for package agent/job and restic: one job at a time, each id once, results as the Behaviour says. It has no attempts, hooks, logs or
// deadlines.
type jobs struct {
	agent *Agent

	mu sync.Mutex
	// queue holds the job that runs, and those that wait behind it.
	queue []*task
	// ids are those of all jobs that were ever begun; results are kept of commands, which may come again.
	ids     map[string]bool
	results map[string]*wire.JobFinished
	record  record
}

// task is a job that runs or waits.
type task struct {
	Job
	started   time.Time // zero while it waits
	cancelled chan struct{}
	cancel    func()
}

func (j *jobs) known(id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ids[id]
}

// result of a command's job that has ended, or nil.
func (j *jobs) result(id string) *wire.JobFinished {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.results[id]
}

func (j *jobs) idle() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.queue) == 0
}

func (j *jobs) list() (queued, running []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range j.queue {
		if t.started.IsZero() {
			queued = append(queued, t.Ref.JobID)
		} else {
			running = append(running, t.Ref.JobID)
		}
	}
	return queued, running
}

// submit runs a job, after those that came before it; one that is known is not run again.
func (j *jobs) submit(job Job) {
	cancelled := make(chan struct{})
	t := &task{Job: job, cancelled: cancelled, cancel: sync.OnceFunc(func() { close(cancelled) })}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ids[job.Ref.JobID] {
		return
	}
	if j.ids == nil {
		j.ids = map[string]bool{}
	}
	j.ids[job.Ref.JobID] = true
	j.queue = append(j.queue, t)
	if len(j.queue) == 1 {
		j.agent.fleet.work.Go(j.work)
	} else {
		j.tell(t)
	}
}

// tell says that a task waits or runs. What is not told for want of a session is announced in the next.
func (j *jobs) tell(t *task) {
	_ = j.agent.session.Send(&wire.JobStarted{Job: t.Ref, Queued: t.started.IsZero(), StartedAt: t.started})
}

// announce tells of all tasks, after a reconnect.
func (j *jobs) announce() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range j.queue {
		j.tell(t)
	}
}

func (j *jobs) cancel(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range j.queue {
		if t.Ref.JobID == id {
			t.cancel()
		}
	}
}

// work runs what is in the queue until it is empty. It ends with the fleet.
func (j *jobs) work() {
	a := j.agent
	for {
		j.mu.Lock()
		if len(j.queue) == 0 {
			j.queue = nil
			j.mu.Unlock()
			a.fleet.news.tell()
			return
		}
		t := j.queue[0]
		t.started = a.fleet.o.Clock.Now().UTC()
		j.tell(t)
		j.mu.Unlock()

		result := a.fleet.o.Behaviour.Job(t.Job)
		if !j.last(t, result.Took, &result) {
			return
		}
		j.finish(t, result)
	}
}

// last lets a job take its time. It returns false when the fleet stops first.
func (j *jobs) last(t *task, d time.Duration, result *Result) bool {
	cancelled := func() {
		*result = Result{Outcome: wire.OutcomeCancelled, Reason: wire.ReasonCancelled, Message: "The job was cancelled."}
	}
	select {
	case <-t.cancelled:
		cancelled()
		return true
	default:
	}
	if d <= 0 {
		return true
	}
	timer := j.agent.fleet.o.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-t.cancelled:
		cancelled()
		return true
	case <-j.agent.fleet.ctx.Done():
		return false
	}
}

// finish reports a job's end, and takes it from the queue.
func (j *jobs) finish(t *task, result Result) {
	a := j.agent
	j.mu.Lock()
	report := j.record.finished(t, result, a)
	j.mu.Unlock()
	if result.Change != nil {
		result.Change(report)
	}
	count := &a.fleet.counts
	count.jobs.Add(1)
	switch report.Outcome {
	case wire.OutcomeSucceeded:
		count.succeeded.Add(1)
	case wire.OutcomeCompletedWithErrors:
		count.completedWithErrors.Add(1)
	case wire.OutcomeCancelled:
		count.cancelled.Add(1)
	default:
		count.failed.Add(1)
	}
	kept := *report
	a.Report(report)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.queue = j.queue[1:]
	if t.Command != nil {
		if j.results == nil {
			j.results = map[string]*wire.JobFinished{}
		}
		j.results[t.Ref.JobID] = &kept
	}
}
