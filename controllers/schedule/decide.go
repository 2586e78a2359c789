package schedule

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/utils/clock"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/internal/fleet"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// facts are what a Schedule's status follows from: the groups that it names, the hosts that these are for, and the sets of those.
type facts struct {
	hosts  []v1alpha1.Host
	groups []v1alpha1.SourceGroup
	sets   []v1alpha1.ScheduleSet
}

// decide fills the schedule's status in. waiting are the Hosts on whose machine it is not in force; the error is what keeps it from being Ready.
func decide(schedule *v1alpha1.Schedule, seen facts, clk clock.PassiveClock) (waiting []string, err error) {
	matched, findings := compile.ScheduleHosts(schedule, seen.groups, seen.hosts)
	err = refusal(schedule, findings)
	waiting = status.NotApplied(matched, seen.sets, status.Schedules, schedule.Name, schedule.Generation)

	setFireTimes(schedule, len(matched) > 0, clk.Now())
	schedule.Status.ObservedGeneration = schedule.Generation
	backups := fleet.OfSchedule(schedule.Name, matched)
	schedule.Status.FleetSummary = backups.Summary(len(matched) - len(waiting))

	set := status.For(&schedule.Status.Conditions, schedule.Generation, clk)
	switch {
	case err != nil:
		set.Ready(err, "", "")
	case len(matched) == 0:
		set.Ready(nil, v1alpha1.ReasonNoHostMatches, "accepted; it is for no Host")
	case schedule.Spec.Suspend:
		set.Ready(nil, v1alpha1.ReasonSuspended, fmt.Sprintf("accepted for %s; it does not fire while spec.suspend is true", status.Hosts(len(matched))))
	default:
		set.Ready(nil, v1alpha1.ReasonAccepted, fmt.Sprintf("accepted for %s", status.Hosts(len(matched))))
	}
	if status.IsStalled(err) {
		set.Unknown(v1alpha1.ConditionSourceGroupsFound, v1alpha1.ReasonInvalid, "not looked at while the Schedule is invalid")
		set.False(v1alpha1.ConditionApplied, v1alpha1.ReasonInvalid, "no machine gets it while the Schedule is invalid")
		set.Unknown(v1alpha1.ConditionBackupsCurrent, v1alpha1.ReasonInvalid, "no machine gets it while the Schedule is invalid")
		return waiting, err
	}
	backups.SetCurrent(set)
	setGroupsFound(set, findings)
	set.Applied(len(matched), waiting)
	return waiting, err
}

// refusal is what keeps the Schedule from being acted on: it is invalid, or not one of its groups exists.
func refusal(schedule *v1alpha1.Schedule, findings []compile.Finding) error {
	missing := 0
	for _, f := range findings {
		switch f.Reason {
		case v1alpha1.ReasonInvalid:
			return status.Stalled(f.Reason, "%s: %s", f.Field, f.Message)
		case v1alpha1.ReasonSourceGroupNotFound:
			missing++
		}
	}
	if missing == len(schedule.Spec.SourceGroups) {
		// Not stalled: it may have been applied before its groups.
		return status.Waiting(v1alpha1.ReasonSourceGroupNotFound, 0, "%s", groupMessages(findings))
	}
	return nil
}

func setGroupsFound(set *status.Setter, findings []compile.Finding) {
	for _, reason := range []string{v1alpha1.ReasonSourceGroupNotFound, v1alpha1.ReasonNoSharedHost} {
		if slices.ContainsFunc(findings, func(f compile.Finding) bool { return f.Reason == reason }) {
			set.False(v1alpha1.ConditionSourceGroupsFound, reason, "%s", groupMessages(findings))
			return
		}
	}
	set.True(v1alpha1.ConditionSourceGroupsFound, v1alpha1.ReasonAllFound, "every group in spec.sourceGroups exists and shares a Host with the Schedule")
}

func groupMessages(findings []compile.Finding) string {
	var messages []string
	for _, f := range findings {
		if f.Reason == v1alpha1.ReasonSourceGroupNotFound || f.Reason == v1alpha1.ReasonNoSharedHost {
			messages = append(messages, f.Message)
		}
	}
	return strings.Join(messages, "; ")
}
