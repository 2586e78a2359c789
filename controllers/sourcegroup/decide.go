package sourcegroup

import (
	"fmt"

	"k8s.io/utils/clock"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/internal/fleet"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// decide fills the group's status in. waiting are the Hosts on whose machine it is not in force; the error is what keeps the group from being Ready.
func decide(group *v1alpha1.SourceGroup, seen seen, clk clock.PassiveClock) (waiting []string, err error) {
	matched, findings := compile.GroupHosts(group, seen.hosts)
	err = refusal(append(findings, compile.CheckGroup(group)...))
	if status.IsStalled(err) {
		matched = nil // it reaches no agent
	}
	waiting = status.NotApplied(matched, seen.sets, status.Groups, group.Name, group.Generation)

	group.Status.ObservedGeneration = group.Generation
	backups := fleet.OfGroup(group.Name, matched)
	group.Status.FleetSummary = backups.Summary(len(matched) - len(waiting))

	set := status.For(&group.Status.Conditions, group.Generation, clk)
	switch {
	case err == nil && len(matched) == 0:
		set.Ready(nil, v1alpha1.ReasonNoHostMatches, "accepted; no Host has labels that spec.hostSelector selects")
	default:
		set.Ready(err, v1alpha1.ReasonAccepted, fmt.Sprintf("accepted for %s", status.Hosts(len(matched))))
	}
	set.Applied(len(matched), waiting)
	backups.SetCurrent(set)
	setRetention(set, group, matched, seen)
	return waiting, err
}

// refusal makes an error of what compiling found.
func refusal(findings []compile.Finding) error {
	for _, f := range findings {
		if f.Reason == v1alpha1.ReasonHostNotFound {
			return status.Waiting(f.Reason, 0, "%s: %s", f.Field, f.Message)
		}
	}
	for _, f := range findings {
		return status.Stalled(f.Reason, "%s: %s", f.Field, f.Message)
	}
	return nil
}
