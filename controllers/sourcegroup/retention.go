package sourcegroup

import (
	"fmt"
	"slices"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// setRetention says whether the group's snapshots are forgotten by its rules on every matched host.
func setRetention(set *status.Setter, group *v1alpha1.SourceGroup, matched []*v1alpha1.Host, seen seen) {
	const kind = v1alpha1.ConditionRetentionEnforced
	if group.Spec.Retention == nil {
		set.False(kind, v1alpha1.ReasonNoRetention, "spec.retention is not set, so no snapshot of this group is ever forgotten")
		return
	}
	if findings := compile.CheckRetention(group); len(findings) > 0 {
		set.False(kind, findings[0].Reason, "%s: %s", findings[0].Field, findings[0].Message)
		return
	}
	if findings := compile.TagConflicts(group, seen.groups, matched); len(findings) > 0 {
		set.False(kind, findings[0].Reason, "%s: %s", findings[0].Field, findings[0].Message)
		return
	}
	if len(matched) == 0 {
		set.False(kind, v1alpha1.ReasonNoHostMatches, "there is no Host to enforce it on")
		return
	}
	if without := seen.unforgotten; len(without) > 0 {
		set.False(kind, v1alpha1.ReasonNoForget, "nothing is forgotten on %d of %s: %s", len(without), status.Hosts(len(matched)), status.Named(without))
		return
	}
	set.True(kind, v1alpha1.ReasonEnforced, "maintenance forgets by spec.retention on %s", status.Hosts(len(matched)))
}

// notForgetting names the hosts whose repository no RepoMaintenance forgets in, each with the reason, in the order of matched. onThem are the hosts on their
// repositories.
func notForgetting(matched []*v1alpha1.Host, onThem []v1alpha1.Host, maintenances []v1alpha1.RepoMaintenance) []string {
	index := maintenance.NewIndex(maintenances)
	sharing := map[string][]*v1alpha1.Host{}
	for i := range onThem {
		if host := &onThem[i]; host.DeletionTimestamp.IsZero() {
			sharing[maintenance.Key(host)] = append(sharing[maintenance.Key(host)], host)
		}
	}
	var names []string
	for _, host := range matched {
		together := sharing[maintenance.Key(host)]
		_, m := index.InForceForRepository(together)
		if why := whyNot(m, together); why != "" {
			names = append(names, fmt.Sprintf("%s (%s)", host.Name, why))
		}
	}
	return names
}

// whyNot says why nothing is forgotten in a repository; empty when it is. One suspended Host of several does not stop the others.
func whyNot(m *v1alpha1.RepoMaintenance, sharing []*v1alpha1.Host) string {
	switch {
	case m == nil:
		return "no RepoMaintenance is in force"
	case m.Spec.Forget == nil:
		return fmt.Sprintf("RepoMaintenance %s has no forget", m.Name)
	case m.Spec.Suspend, m.Spec.Forget.Suspend:
		return fmt.Sprintf("RepoMaintenance %s is suspended", m.Name)
	case !slices.ContainsFunc(sharing, func(h *v1alpha1.Host) bool { return !h.Spec.Suspend }):
		return "the Host is suspended"
	}
	return ""
}
