package maintenance

import (
	"cmp"
	"slices"
	"time"

	"github.com/restic-manager/restic-manager/api/cronspec"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// ExpiredRetry is how long after its expiry a job that never ran is made again while its machine stayed connected. When the machine connects, it is made
// at once.
const ExpiredRetry = time.Hour

// Why says why an operation is not run now.
type Why string

// An operation that is held is not planned: what falls due meanwhile is not made up for.
const (
	NotAskedFor        Why = "NotAskedFor"        // the RepoMaintenance has no cadence for it, or there is none
	Suspended          Why = "Suspended"          // the RepoMaintenance or the operation is suspended
	HostSuspended      Why = "HostSuspended"      // every Host that could do it is suspended
	NeverConnected     Why = "NeverConnected"     // there can be no repository yet
	NoAdminCredentials Why = "NoAdminCredentials" // prune needs them
	ExecutorElsewhere  Why = "ExecutorElsewhere"  // every Host that shares the repository is left to an executor by another RepoMaintenance
	ExecutorNotFound   Why = "ExecutorNotFound"   // the RepoMaintenance names a Host that does not exist
)

// An operation that is due stays due, and runs once, as soon as the cause is gone; NothingToDo lets it pass.
const (
	ExecutorNotConnected Why = "ExecutorNotConnected" // no machine that could do it is connected
	OperationUnderWay    Why = "OperationUnderWay"    // another job of the repository has not ended
	OthersFirst          Why = "OthersFirst"          // another operation is run now
	NothingToDo          Why = "NothingToDo"          // there is nothing to forget, or no snapshot to verify
)

// Task is one operation on one repository, or, for verify, on one machine: everything that its decision follows from.
type Task struct {
	Operation Operation
	// Host that it is for, when each machine does it for itself; empty for the whole repository.
	Host string
	// Cadence says when it runs; nil when it is not asked for.
	Cadence *cronspec.Spec
	// Jitter is added to each time of the cadence: whole seconds.
	Jitter time.Duration
	// Since is when what asks for it, and what it is for, were there: nothing runs for a time before.
	Since time.Time
	// Hold keeps it from being planned; empty when nothing does.
	Hold Why
	// NothingToDo is asked when it is due; nil when there is always something.
	NothingToDo func() bool
	// Executor does it, and Target is the Host whose repository it is on. Executor is nil when no machine that could do it is connected.
	Executor, Target *v1alpha1.Host
	// Maintenance that asks for it; nil for none.
	Maintenance *v1alpha1.RepoMaintenance
	// Past is what is known of earlier runs.
	Past Past
}

// Past is what is known of earlier runs of a task.
type Past struct {
	// Slot is the time of the cadence that the last run was for; zero when it never ran.
	Slot time.Time
	// Planned is when it was to run next, by the last decision; zero when nothing was planned.
	Planned time.Time
	// Expired is when the job for Slot expired without having run; zero when it did not.
	Expired time.Time
}

// Plan is what is decided for one task.
type Plan struct {
	// Next is when it is due next, jitter included; in the past while it waits; zero while it is not planned.
	Next time.Time
	// Why it is not run now; empty when it is, or is not due.
	Why Why
}

// Run is a task that is to be run now.
type Run struct {
	*Task
	// Slot is the time of the cadence that it is for. It names the job: the same slot is the same job.
	Slot  time.Time
	index int
}

// Decision is what is to be done on a repository.
type Decision struct {
	// Run is what to run now; nil for nothing.
	Run *Run
	// Plans has a plan for each task, in their order. That of Run is the one which counts once its job is made.
	Plans []Plan
	// Again is when to decide again without an event; zero for never.
	Again time.Time
}

// Decide says what to run on a repository: at most one operation, and none while a job is under way there, in the order of Operations, then by host.
// A time that was planned and has passed is due until it was run once, however many times of the cadence have passed since; the newest of them names
// it. What was not planned before is planned from now on and never runs for the past. So the same facts always give the same decision, and
// what a controller wrote before it was restarted is all that it has to remember.
//
// One that has run since another became due lets that one go first: else a frequent forget that takes its time would keep check from ever running.
func Decide(now time.Time, tasks []Task, underWay bool) Decision {
	d := Decision{Plans: make([]Plan, len(tasks))}
	var ready []*Run // in order
	for _, i := range inOrder(tasks) {
		task := &tasks[i]
		slot, plan, again := task.due(now)
		switch {
		case slot.IsZero():
		case task.NothingToDo != nil && task.NothingToDo():
			plan = Plan{Next: task.after(now, slot), Why: NothingToDo}
		case task.Executor == nil:
			plan.Why = ExecutorNotConnected
		case underWay:
			plan.Why = OperationUnderWay
		default:
			plan.Why = OthersFirst
			ready = append(ready, &Run{Task: task, Slot: slot, index: i})
		}
		d.Plans[i] = plan
		d.Again = sooner(d.Again, future(now, again))
	}
	if d.Run = first(ready); d.Run != nil {
		d.Plans[d.Run.index] = Plan{Next: d.Run.after(now, d.Run.Slot)}
	}
	for _, plan := range d.Plans {
		d.Again = sooner(d.Again, future(now, plan.Next))
	}
	return d
}

// first is the first that has not run since a later one became due; the last one has no later one. A job that is made again never ran.
func first(ready []*Run) *Run {
	for i, run := range ready {
		hadItsTurn := !run.Past.Slot.IsZero() && run.Slot.After(run.Past.Slot) && slices.ContainsFunc(ready[i+1:], func(other *Run) bool {
			return !run.Past.Slot.Add(run.Jitter).Before(other.Past.Planned)
		})
		if !hadItsTurn {
			return run
		}
	}
	return nil
}

func future(now, t time.Time) time.Time {
	if t.After(now) {
		return t
	}
	return time.Time{}
}

// due returns the slot to run for, zero for none, and the plan of a task that is not run. again is when a job that expired may be made again.
func (t *Task) due(now time.Time) (slot time.Time, plan Plan, again time.Time) {
	switch {
	case t.Cadence == nil:
		return time.Time{}, Plan{Why: NotAskedFor}, time.Time{}
	case t.Hold != "":
		return time.Time{}, Plan{Why: t.Hold}, time.Time{}
	}
	if planned := t.Past.Planned; !planned.IsZero() && !planned.After(now) {
		newest, ok := t.Cadence.Prev(now.Add(-t.Jitter))
		at := newest.At.Add(t.Jitter)
		// Before what was planned: of another cadence than the one that it was planned by.
		if ok && newest.At.After(t.Past.Slot) && !at.Before(planned) && !at.Before(t.Since) {
			return newest.At, Plan{Next: planned}, time.Time{}
		}
	}
	plan = Plan{Next: t.after(now, t.Past.Slot)}
	if t.Past.Expired.IsZero() {
		return time.Time{}, plan, time.Time{}
	}
	again = t.Past.Expired.Add(ExpiredRetry)
	if t.Executor == nil || now.Before(again) && !connectedSince(t.Executor).After(t.Past.Expired) {
		return time.Time{}, plan, again
	}
	return t.Past.Slot, plan, time.Time{}
}

// after is when the task is due for the first slot that is neither past nor done, zero for never.
func (t *Task) after(now, done time.Time) time.Time {
	from := now.Add(-t.Jitter)
	if done.After(from) {
		from = done
	}
	fire, ok := t.Cadence.Next(from)
	if !ok {
		return time.Time{}
	}
	return fire.At.Add(t.Jitter)
}

func inOrder(tasks []Task) []int {
	order := make([]int, len(tasks))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(
			cmp.Compare(slices.Index(Operations, tasks[a].Operation), slices.Index(Operations, tasks[b].Operation)),
			cmp.Compare(tasks[a].Host, tasks[b].Host),
		)
	})
	return order
}
