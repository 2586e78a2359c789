package fleet

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// maxNames bounds the names in a summary.
const maxNames = 10

// Fleet is what became of the backups of the Hosts of one object.
type Fleet struct {
	Matched   int
	Succeeded int
	// Failing, NeverRan and Overdue name Hosts, in the order in which they were given.
	Failing, NeverRan, Overdue []string
	OldestSuccess              *metav1.Time
	// Scheduled is the number of Hosts on which a Schedule fires, and Suspended that of Hosts on which all that would are suspended.
	Scheduled, Suspended int
}

// OfGroup sums up over the Hosts that a SourceGroup is for.
func OfGroup(group string, hosts []*v1alpha1.Host) Fleet {
	f := Fleet{Matched: len(hosts)}
	for _, host := range hosts {
		fires := func(s *v1alpha1.HostSchedule) bool { return has(s, group) }
		late := func(o *v1alpha1.OverdueBackup) bool { return o.SourceGroup == group }
		f.add(host, []string{group}, fires, late)
	}
	return f
}

// OfSchedule sums up over the Hosts that a Schedule is for.
func OfSchedule(schedule string, hosts []*v1alpha1.Host) Fleet {
	f := Fleet{Matched: len(hosts)}
	for _, host := range hosts {
		fires := func(s *v1alpha1.HostSchedule) bool { return s.Name == schedule }
		late := func(o *v1alpha1.OverdueBackup) bool { return o.Schedule == schedule }
		f.add(host, groupsOf(host, schedule), fires, late)
	}
	return f
}

func has(s *v1alpha1.HostSchedule, group string) bool {
	return slices.ContainsFunc(s.SourceGroups, func(g v1alpha1.HostScheduleGroup) bool { return g.Name == group })
}

// groupsOf are those that a Schedule fires on a Host; none as long as the Host has not been looked at.
func groupsOf(host *v1alpha1.Host, schedule string) []string {
	var groups []string
	for i := range host.Status.Schedules {
		if s := &host.Status.Schedules[i]; s.Name == schedule {
			for _, g := range s.SourceGroups {
				groups = append(groups, g.Name)
			}
		}
	}
	return groups
}

// outcome is what became of a group's last backup, from best to worst.
type outcome int

const (
	succeeded outcome = iota
	neverRan
	failing
)

func (f *Fleet) add(host *v1alpha1.Host, groups []string, fires func(*v1alpha1.HostSchedule) bool, late func(*v1alpha1.OverdueBackup) bool) {
	worst := succeeded
	if len(groups) == 0 {
		worst = neverRan
	}
	for _, group := range groups {
		o, success := outcomeOf(host, group)
		worst = max(worst, o)
		if success != nil && (f.OldestSuccess == nil || success.Before(f.OldestSuccess)) {
			f.OldestSuccess = success
		}
	}
	switch worst {
	case failing:
		f.Failing = append(f.Failing, host.Name)
	case neverRan:
		f.NeverRan = append(f.NeverRan, host.Name)
	default:
		f.Succeeded++
	}
	for i := range host.Status.Overdue {
		if late(&host.Status.Overdue[i]) {
			f.Overdue = append(f.Overdue, host.Name)
			break
		}
	}
	scheduled, active := false, false
	for i := range host.Status.Schedules {
		if s := &host.Status.Schedules[i]; fires(s) {
			scheduled, active = true, active || !s.Suspended
		}
	}
	switch {
	case active:
		f.Scheduled++
	case scheduled:
		f.Suspended++
	}
}

func outcomeOf(host *v1alpha1.Host, group string) (outcome, *metav1.Time) {
	i := slices.IndexFunc(host.Status.SourceGroups, func(r v1alpha1.SourceGroupResult) bool { return r.Name == group })
	if i < 0 {
		return neverRan, nil
	}
	r := &host.Status.SourceGroups[i]
	switch {
	case r.Result == v1alpha1.ResultFailed, r.Result == v1alpha1.ResultCompletedWithErrors, r.ConsecutiveFailures > 0:
		return failing, r.LastSuccessTime
	case r.LastSuccessTime == nil:
		return neverRan, nil // cancelled, and there was none before
	}
	return succeeded, r.LastSuccessTime
}

// Summary is for a status; applied is the number of Hosts on which the object is in force.
func (f Fleet) Summary(applied int) v1alpha1.FleetSummary {
	return v1alpha1.FleetSummary{
		HostsMatched: int32(f.Matched), HostsApplied: int32(applied),
		HostsSucceeded: int32(f.Succeeded), HostsNeverRan: int32(len(f.NeverRan)),
		HostsFailing: int32(len(f.Failing)), FailingHosts: first(f.Failing),
		HostsOverdue: int32(len(f.Overdue)), OverdueHosts: first(f.Overdue),
		OldestSuccessTime: f.OldestSuccess.DeepCopy(), // of a shared object
	}
}

// first is nil for none, as an absent list comes back from the API server.
func first(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	return slices.Clone(names[:min(len(names), maxNames)])
}

// SetCurrent sets BackupsCurrent.
func (f Fleet) SetCurrent(set *status.Setter) {
	const kind = v1alpha1.ConditionBackupsCurrent
	switch {
	case f.Matched == 0:
		set.Unknown(kind, v1alpha1.ReasonNoHostMatches, "there is no Host to back up")
	case len(f.Overdue) > 0:
		verb := "are"
		if len(f.Overdue) == 1 {
			verb = "is"
		}
		set.False(kind, v1alpha1.ReasonOverdue, "%d of %s %s overdue: %s; kubectl describe says of each since when", len(f.Overdue), status.Hosts(f.Matched), verb, status.Named(f.Overdue))
	case f.Scheduled == 0 && f.Suspended > 0:
		set.Unknown(kind, v1alpha1.ReasonSuspended, "no backup is expected of %s: all is suspended", status.Hosts(f.Matched))
	case f.Scheduled == 0:
		set.Unknown(kind, v1alpha1.ReasonNothingScheduled, "no Schedule fires on %s so far", status.Hosts(f.Matched))
	case len(f.NeverRan) > 0:
		set.Unknown(kind, v1alpha1.ReasonWaitingForFirstBackup, "nothing is overdue; waiting for the first backup of %d of %s: %s", len(f.NeverRan), status.Hosts(f.Matched), status.Named(f.NeverRan))
	default:
		set.True(kind, v1alpha1.ReasonUpToDate, "no backup of %s is overdue%s", status.Hosts(f.Matched), f.unscheduled())
	}
}

func (f Fleet) unscheduled() string {
	if left := f.Matched - f.Scheduled; left > 0 {
		return fmt.Sprintf("; on %d of them no Schedule fires", left)
	}
	return ""
}
