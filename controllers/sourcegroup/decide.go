package sourcegroup

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/utils/clock"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// maxNames bounds the hosts that a message names.
const maxNames = 10

// decide fills the group's status in. The error is what keeps the group from being Ready.
func decide(group *v1alpha1.SourceGroup, hosts []v1alpha1.Host, sets []v1alpha1.ScheduleSet, clk clock.PassiveClock) error {
	matched, findings := compile.GroupHosts(group, hosts)
	err := refusal(append(findings, compile.CheckGroup(group)...))
	if status.IsStalled(err) {
		matched = nil // it reaches no agent
	}
	waiting := notApplied(group, matched, sets)

	group.Status.ObservedGeneration = group.Generation
	group.Status.HostsMatched = int32(len(matched))
	group.Status.HostsApplied = int32(len(matched) - len(waiting))

	set := status.For(&group.Status.Conditions, group.Generation, clk)
	switch {
	case err == nil && len(matched) == 0:
		set.Ready(nil, v1alpha1.ReasonNoHostMatches, "accepted; no Host has labels that spec.hostSelector selects")
	default:
		set.Ready(err, v1alpha1.ReasonAccepted, fmt.Sprintf("accepted for %s", count(len(matched))))
	}
	setApplied(set, len(matched), waiting)
	setRetention(set, group)
	return err
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

// notApplied lists the hosts that have not acked the group in its present generation.
func notApplied(group *v1alpha1.SourceGroup, hosts []*v1alpha1.Host, sets []v1alpha1.ScheduleSet) []string {
	applied := map[string]bool{}
	for i := range sets {
		set := &sets[i]
		if set.Spec.Revision != set.Status.AppliedRevision {
			continue
		}
		applied[set.Spec.Host.UID] = slices.ContainsFunc(set.Spec.Groups, func(g v1alpha1.ScheduleSetGroup) bool {
			return g.Name == group.Name && g.Generation == group.Generation
		})
	}
	var names []string
	for _, host := range hosts {
		if !applied[string(host.UID)] {
			names = append(names, host.Name)
		}
	}
	return names
}

func setApplied(set *status.Setter, matched int, waiting []string) {
	switch {
	case matched == 0:
		set.False(v1alpha1.ConditionApplied, v1alpha1.ReasonNoHostMatches, "there is no Host to apply it")
	case len(waiting) > 0:
		set.False(v1alpha1.ConditionApplied, v1alpha1.ReasonNotAppliedYet, "waiting for %d of %s: %s", len(waiting), count(matched), names(waiting))
	default:
		set.True(v1alpha1.ConditionApplied, v1alpha1.ReasonAppliedByAll, "in force on %s", count(matched))
	}
}

func setRetention(set *status.Setter, group *v1alpha1.SourceGroup) {
	if group.Spec.Retention == nil {
		set.Remove(v1alpha1.ConditionRetentionEnforced)
		return
	}
	set.False(v1alpha1.ConditionRetentionEnforced, v1alpha1.ReasonNotYetSupported,
		"this version does not run forget: all snapshots are kept, whatever spec.retention says")
}

func count(hosts int) string {
	if hosts == 1 {
		return "1 Host"
	}
	return fmt.Sprintf("%d Hosts", hosts)
}

func names(all []string) string {
	if len(all) > maxNames {
		return strings.Join(all[:maxNames], ", ") + ", …"
	}
	return strings.Join(all, ", ")
}
