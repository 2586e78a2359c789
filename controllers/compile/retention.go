package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
)

// Retention is a policy as the agent gets it. nil gives an empty one, which nobody may forget by.
func Retention(r *v1alpha1.Retention) wire.Retention {
	if r == nil {
		return wire.Retention{}
	}
	return wire.Retention{
		KeepLast:          int(r.KeepLast),
		KeepHourly:        int(r.KeepHourly),
		KeepDaily:         int(r.KeepDaily),
		KeepWeekly:        int(r.KeepWeekly),
		KeepMonthly:       int(r.KeepMonthly),
		KeepYearly:        int(r.KeepYearly),
		KeepWithin:        r.KeepWithin,
		KeepWithinHourly:  r.KeepWithinHourly,
		KeepWithinDaily:   r.KeepWithinDaily,
		KeepWithinWeekly:  r.KeepWithinWeekly,
		KeepWithinMonthly: r.KeepWithinMonthly,
		KeepWithinYearly:  r.KeepWithinYearly,
		KeepTags:          r.KeepTags,
	}
}

// ForgetGroups returns what a forget on a repository does: for each host that shares it, each group that is for the host, or has results in
// its status from when it was, and that has a valid retention. They are sorted by host and group. only narrows it to one group; empty
// means all. groups are those of the hosts' namespace.
//
// Left out, with a finding each, are groups that are not valid, whose retention is not valid, or whose tag another group of the same host has.
// Groups without retention are left out and no finding: they keep everything.
func ForgetGroups(hosts []*v1alpha1.Host, groups []v1alpha1.SourceGroup, only string) ([]wire.ForgetGroup, []Finding) {
	var forgets []wire.ForgetGroup
	var findings []Finding
	for _, host := range hosts {
		tags := byTag(host, groups)
		for _, group := range ofHost(host, groups) {
			if only != "" && group.Name != only || group.Spec.Retention == nil {
				continue
			}
			hindrances := slices.Concat(CheckGroup(group), CheckRetention(group))
			if sharing := tags[group.TagOrName()]; len(sharing) > 1 {
				hindrances = append(hindrances, tagShared(group, sharing, host))
			}
			if len(hindrances) > 0 {
				findings = append(findings, hindrances...)
				continue
			}
			ref := convert.Ref(host)
			forgets = append(forgets, wire.ForgetGroup{
				Name: group.Name, Host: host.Name, ResticHost: ref.ResticHost(), Tag: group.TagOrName(), Retention: Retention(group.Spec.Retention),
			})
		}
	}
	slices.SortFunc(forgets, func(a, b wire.ForgetGroup) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Name, b.Name))
	})
	return forgets, sortFindings(findings)
}

// VerifyGroups returns the groups whose newest snapshots a restore drill on the host looks at, sorted by name: the valid ones that are for it. only
// narrows it to one; empty means all.
func VerifyGroups(host *v1alpha1.Host, groups []v1alpha1.SourceGroup, only string) []wire.VerifyGroup {
	compiled, _ := groupsOf(host, groups)
	ref := convert.Ref(host)
	var verifies []wire.VerifyGroup
	for _, g := range compiled {
		if only == "" || g.Name == only {
			verifies = append(verifies, wire.VerifyGroup{Name: g.Name, ResticHost: ref.ResticHost(), Tag: g.Tag})
		}
	}
	return verifies
}

// TagConflicts tells on which of the hosts other groups have the same tag as this one. The snapshots of such groups cannot be told apart, so
// forgetting by the policy of one could remove what another one keeps: none of them is forgotten there. Backups go on. groups are those of the hosts'
// namespace. There is at most one finding: it names the first of the hosts.
func TagConflicts(group *v1alpha1.SourceGroup, groups []v1alpha1.SourceGroup, hosts []*v1alpha1.Host) []Finding {
	tag := group.TagOrName()
	// Mostly there is no other, and no host has to be looked at.
	same := slices.DeleteFunc(slices.Clone(groups), func(g v1alpha1.SourceGroup) bool { return g.TagOrName() != tag })
	if len(same) < 2 {
		return nil
	}
	for _, host := range hosts {
		if sharing := byTag(host, same)[tag]; len(sharing) > 1 && slices.Contains(sharing, group.Name) {
			return []Finding{tagShared(group, sharing, host)}
		}
	}
	return nil
}

// tagConflicts are those of one host.
func tagConflicts(host *v1alpha1.Host, groups []v1alpha1.SourceGroup) []Finding {
	tags := byTag(host, groups)
	var findings []Finding
	for _, group := range ofHost(host, groups) {
		if sharing := tags[group.TagOrName()]; len(sharing) > 1 {
			findings = append(findings, tagShared(group, sharing, host))
		}
	}
	return findings
}

func tagShared(group *v1alpha1.SourceGroup, sharing []string, host *v1alpha1.Host) Finding {
	others := make([]string, 0, len(sharing))
	for _, name := range sharing {
		if name != group.Name {
			others = append(others, fmt.Sprintf("%q", name))
		}
	}
	return Finding{
		Kind: KindSourceGroup, Name: group.Name, Field: "spec.tag", Reason: v1alpha1.ReasonTagShared,
		Message: fmt.Sprintf("the tag %q is also that of SourceGroup %s on Host %q, so their snapshots cannot be told apart and none of them is forgotten there: "+
			"give each group a tag of its own", group.TagOrName(), strings.Join(others, ", "), host.Name),
	}
}

// byTag returns the names of the groups whose snapshots a host may have, by their tag, sorted.
func byTag(host *v1alpha1.Host, groups []v1alpha1.SourceGroup) map[string][]string {
	tags := map[string][]string{}
	for _, group := range ofHost(host, groups) {
		tags[group.TagOrName()] = append(tags[group.TagOrName()], group.Name)
	}
	for _, names := range tags {
		slices.Sort(names)
	}
	return tags
}

// ofHost returns the groups whose snapshots a host may have: those that are for it, and those that have results in its status from when they were.
func ofHost(host *v1alpha1.Host, groups []v1alpha1.SourceGroup) []*v1alpha1.SourceGroup {
	var of []*v1alpha1.SourceGroup
	for i := range groups {
		group := &groups[i]
		if !group.DeletionTimestamp.IsZero() {
			continue
		}
		// A selector that does not parse chooses no host; CheckGroup tells it.
		matches, _ := Matches(group.Spec.Selector, host)
		if matches || slices.ContainsFunc(host.Status.SourceGroups, func(r v1alpha1.SourceGroupResult) bool { return r.Name == group.Name }) {
			of = append(of, group)
		}
	}
	return of
}
