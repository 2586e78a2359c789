package host

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/overdue"
	"github.com/restic-manager/restic-manager/controllers/status"
)

const (
	// maxOverdue bounds status.overdue, maxOverdueNamed what a message names of it.
	maxOverdue      = 100
	maxOverdueNamed = 5
)

// expect brings the host's status.schedules, nextRunTime and overdue up to date, and returns what they follow from.
func (r *Reconciler) expect(host *v1alpha1.Host, f *facts, isConnected bool, connection *v1alpha1.Connection, now time.Time) overdue.Verdict {
	switch {
	case f.identity == nil && f.identityErr == nil:
		host.Status.Schedules = nil // no machine yet
	case f.compiled != nil:
		host.Status.Schedules = overdue.Schedules(host, f.compiled, now)
	} // else something hinders publishing, and the machine goes on with what it has
	host.Status.NextRunTime = overdue.NextRun(host.Status.Schedules)

	in := overdue.Input{
		Schedules: host.Status.Schedules, Results: host.Status.SourceGroups, Connected: isConnected, MinGrace: r.OverdueMinGrace, Now: now,
	}
	if connection != nil {
		in.Since = connection.ConnectedTime.Time
	}
	if grace := host.Spec.OfflineGrace; grace != nil {
		in.OfflineGrace = grace.Duration
	}
	verdict := overdue.Judge(in)
	host.Status.Overdue = verdict.Overdue[:min(len(verdict.Overdue), maxOverdue)]
	return verdict
}

// backupsCurrent words what expect found. It says nothing that changes with every backup: each change is a write.
func backupsCurrent(host *v1alpha1.Host, v overdue.Verdict, isConnected bool, now time.Time) verdictOn {
	out := verdictOn{status: metav1.ConditionUnknown}
	if !v.Next.IsZero() {
		out.again = max(v.Next.Sub(now), time.Millisecond)
	}
	away := ""
	if !isConnected {
		away = "; the machine is not connected: see condition Connected"
	}
	switch {
	case host.Spec.Identity == nil:
		out.reason, out.message = v1alpha1.ReasonNotEnrolled, "no machine has enrolled yet: see condition Enrolled"
	case len(v.Overdue) > 0:
		out.status, out.reason, out.message = metav1.ConditionFalse, v1alpha1.ReasonOverdue, overdueText(host, "overdue", v.Overdue)+away
	case len(v.Late) > 0:
		out.reason = v1alpha1.ReasonHostOffline
		out.message = overdueText(host, "late, since the machine is or was away", v.Late) + fmt.Sprintf("; it counts as overdue when spec.offlineGrace (%s) is used up", host.Spec.OfflineGrace.Duration)
	case v.Suspended:
		out.reason, out.message = v1alpha1.ReasonSuspended, "no backup is expected: spec.suspend of the Host or of its Schedules stops all of them"
	case v.Expected == 0:
		out.reason, out.message = v1alpha1.ReasonNothingScheduled, "no Schedule fires a SourceGroup on this Host"
	case len(v.Waiting) > 0:
		out.reason, out.message = v1alpha1.ReasonWaitingForFirstBackup, fmt.Sprintf("nothing is overdue; waiting for the first success of %s", status.Named(v.Waiting))
	default:
		out.status, out.reason, out.message = metav1.ConditionTrue, v1alpha1.ReasonUpToDate, fmt.Sprintf("no backup is overdue, of %s that Schedules fire", count(v.Expected, "source group"))
	}
	return out
}

// overdueText names what is overdue, and what became of it last.
func overdueText(host *v1alpha1.Host, what string, list []v1alpha1.OverdueBackup) string {
	var parts []string
	for i, o := range list {
		if i == maxOverdueNamed {
			parts = append(parts, fmt.Sprintf("and %d more", len(list)-maxOverdueNamed))
			break
		}
		parts = append(parts, fmt.Sprintf("SourceGroup %s was due at %s by Schedule %s, %s", o.SourceGroup, stamp(&o.DueTime), o.Schedule, lastOf(host, o.SourceGroup)))
	}
	verb := "backups are"
	if len(list) == 1 {
		verb = "backup is"
	}
	return fmt.Sprintf("%d %s %s: %s", len(list), verb, what, strings.Join(parts, "; "))
}

// lastOf says what became of a group's backups so far.
func lastOf(host *v1alpha1.Host, group string) string {
	i := slices.IndexFunc(host.Status.SourceGroups, func(r v1alpha1.SourceGroupResult) bool { return r.Name == group })
	if i < 0 {
		return "and has never run"
	}
	r := &host.Status.SourceGroups[i]
	says := "and has never succeeded"
	if r.LastSuccessTime != nil {
		says = "and last succeeded at " + stamp(r.LastSuccessTime)
	}
	if r.Result != v1alpha1.ResultSucceeded {
		says += fmt.Sprintf(" (the last one: %s", r.Result)
		if r.Reason != "" && r.Reason != string(r.Result) {
			says += ", " + r.Reason
		}
		says += "; see status.sourceGroups)"
	}
	return says
}
