package overdue

import (
	"cmp"
	"slices"
	"time"

	"github.com/restic-manager/restic-manager/api/cronspec"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Bounds of the grace, beside the time that the last backup took.
const (
	// MinGrace is the default of Input.MinGrace.
	MinGrace = 10 * time.Minute
	maxGrace = 6 * time.Hour
	// graceShare is the part of the interval.
	graceShare = 4
)

// Input is what a verdict follows from.
type Input struct {
	// Schedules is what is expected; those that are suspended expect nothing.
	Schedules []v1alpha1.HostSchedule
	// Results is the last result of each group.
	Results []v1alpha1.SourceGroupResult
	// Connected says whether the machine is there, Since since when it is there or away; zero for a machine that never was.
	Connected bool
	Since     time.Time
	// OfflineGrace is that of the Host.
	OfflineGrace time.Duration
	// MinGrace is the least grace.
	MinGrace time.Duration
	Now      time.Time
}

// Verdict is what became of what was expected.
type Verdict struct {
	// Overdue has the backups that should have succeeded by now, the longest overdue first.
	Overdue []v1alpha1.OverdueBackup
	// Late has those that would be overdue, were it not for the offlineGrace.
	Late []v1alpha1.OverdueBackup
	// Expected is the number of groups that some schedule fires; Waiting names those of them that have never succeeded.
	Expected int
	Waiting  []string
	// Suspended says that there are schedules, and all of them are suspended.
	Suspended bool
	// Next is when the verdict changes if nothing else happens; zero for never.
	Next time.Time
}

// Judge tells what is overdue.
func Judge(in Input) Verdict {
	var v Verdict
	results := make(map[string]*v1alpha1.SourceGroupResult, len(in.Results))
	for i := range in.Results {
		results[in.Results[i].Name] = &in.Results[i]
	}
	expected := map[string]bool{}
	v.Suspended = len(in.Schedules) > 0
	for i := range in.Schedules {
		s := &in.Schedules[i]
		if s.Suspended {
			continue
		}
		v.Suspended = false
		spec, err := cronspec.Parse(s.Cron, s.TimeZone)
		if err != nil {
			continue // Schedules leaves these out
		}
		fires, following := fires{spec: spec}, fires{spec: spec}
		for _, group := range s.SourceGroups {
			expected[group.Name] = true
			in.judge(&v, s, &fires, &following, group, results[group.Name])
		}
	}
	v.Expected = len(expected)
	for group := range expected {
		if r := results[group]; r == nil || r.LastSuccessTime == nil {
			v.Waiting = append(v.Waiting, group)
		}
	}
	slices.Sort(v.Waiting)
	longestFirst(v.Overdue)
	longestFirst(v.Late)
	return v
}

// fires looks for the fires of one schedule. The groups of a schedule mostly wait for the same one, so the last that was found is kept.
type fires struct {
	spec *cronspec.Spec
	// last is the first fire after an instant; zero before one was found.
	after time.Time
	last  cronspec.Fire
}

// next is the first fire after t.
func (f *fires) next(t time.Time) (cronspec.Fire, bool) {
	if t.Before(f.last.At) && !t.Before(f.after) {
		return f.last, true
	}
	fire, ok := f.spec.Next(t)
	if ok {
		f.after, f.last = t, fire
	}
	return fire, ok
}

// judge looks at one group of one schedule, with the fires that backups are due at and those that follow on them. r may be nil.
func (in *Input) judge(v *Verdict, s *v1alpha1.HostSchedule, fires, following *fires, group v1alpha1.HostScheduleGroup, r *v1alpha1.SourceGroupResult) {
	var delay, took time.Duration
	if s.Delay != nil {
		delay = s.Delay.Duration
	}
	covered := group.Since.Time
	if r != nil {
		if r.LastSuccessTime != nil {
			// It is stored in whole seconds, a run may begin and end within one.
			if until := r.LastSuccessTime.Add(time.Second - 1 - delay); until.After(covered) {
				covered = until
			}
		}
		if r.StartTime != nil && r.FinishTime != nil {
			took = max(r.FinishTime.Sub(r.StartTime.Time), 0)
		}
	}
	fire, ok := fires.next(covered)
	if !ok {
		return
	}
	due := fire.At.Add(delay)
	grace := in.grace(following, fire.At) + took
	lateAt, overdueAt := in.limits(due, grace)
	found := v1alpha1.OverdueBackup{SourceGroup: group.Name, Schedule: s.Name, DueTime: *at(due)}
	switch {
	case !in.Now.Before(overdueAt):
		v.Overdue = append(v.Overdue, found)
		return
	case !in.Now.Before(lateAt):
		v.Late = append(v.Late, found)
		v.sooner(overdueAt)
	default:
		v.sooner(lateAt)
	}
}

// grace is how long after a run its backup may succeed, apart from the time that it takes.
func (in *Input) grace(following *fires, fire time.Time) time.Duration {
	after, ok := following.next(fire)
	if !ok {
		return maxGrace
	}
	return min(max(after.At.Sub(fire)/graceShare, in.MinGrace), max(maxGrace, in.MinGrace))
}

// limits are when a backup becomes late, and when overdue: the same, unless the machine was away and may be. One that never came is away too.
func (in *Input) limits(due time.Time, grace time.Duration) (late, overdue time.Time) {
	late = due.Add(grace)
	if in.OfflineGrace <= 0 {
		return late, late
	}
	latest := late.Add(in.OfflineGrace)
	if !in.Connected {
		return late, latest
	}
	overdue = in.Since.Add(grace) // it came back, and makes up for what it missed
	switch {
	case overdue.Before(late):
		overdue = late
	case overdue.After(latest):
		overdue = latest
	}
	return late, overdue
}

func (v *Verdict) sooner(t time.Time) {
	if v.Next.IsZero() || t.Before(v.Next) {
		v.Next = t
	}
}

func longestFirst(list []v1alpha1.OverdueBackup) {
	slices.SortFunc(list, func(a, b v1alpha1.OverdueBackup) int {
		return cmp.Or(a.DueTime.Compare(b.DueTime.Time), cmp.Compare(a.SourceGroup, b.SourceGroup), cmp.Compare(a.Schedule, b.Schedule))
	})
}
