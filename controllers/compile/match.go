package compile

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Matches tells whether a selector chooses a host of its own namespace. An error is a label selector that does not parse: it chooses none.
func Matches(selector v1alpha1.Selector, host *v1alpha1.Host) (bool, error) {
	if selector.HostRef == nil && plainly(selector.HostSelector, host) {
		return true, nil
	}
	match, err := matcher(selector)
	if err != nil {
		return false, err
	}
	return match(host), nil
}

// plainly tells that a host has all labels of a selector that asks for nothing else, which most do, without the cost of parsing it for one host. What a
// host's labels equal is valid, since theirs are.
func plainly(selector *metav1.LabelSelector, host *v1alpha1.Host) bool {
	if selector == nil || len(selector.MatchExpressions) > 0 {
		return false
	}
	for label, value := range selector.MatchLabels {
		if has, ok := host.Labels[label]; !ok || has != value {
			return false
		}
	}
	return true
}

// matcher prepares a selector for many hosts.
func matcher(selector v1alpha1.Selector) (func(*v1alpha1.Host) bool, error) {
	if ref := selector.HostRef; ref != nil {
		return func(host *v1alpha1.Host) bool { return host.Name == ref.Name }, nil
	}
	if selector.HostSelector == nil {
		return func(*v1alpha1.Host) bool { return false }, nil
	}
	return labelMatcher(selector.HostSelector)
}

// labelMatcher matches every host for a nil selector: it narrows nothing.
func labelMatcher(selector *metav1.LabelSelector) (func(*v1alpha1.Host) bool, error) {
	if selector == nil {
		return func(*v1alpha1.Host) bool { return true }, nil
	}
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil, fmt.Errorf("the label selector is not valid: %w", err)
	}
	return func(host *v1alpha1.Host) bool { return parsed.Matches(labels.Set(host.Labels)) }, nil
}

// GroupHosts returns the hosts that a group is for, sorted by name, out of the hosts of its namespace. Hosts that are being deleted are
// left out.
func GroupHosts(group *v1alpha1.SourceGroup, hosts []v1alpha1.Host) ([]*v1alpha1.Host, []Finding) {
	match, err := matcher(group.Spec.Selector)
	if err != nil {
		return nil, []Finding{invalidSelector(KindSourceGroup, group.Name, err)}
	}
	selected := selectHosts(hosts, match)
	if ref := group.Spec.HostRef; ref != nil && len(selected) == 0 {
		return nil, []Finding{{
			Kind: KindSourceGroup, Name: group.Name, Field: "spec.hostRef", Reason: v1alpha1.ReasonHostNotFound,
			Message: fmt.Sprintf("there is no Host %q in this namespace: create it, or name another one", ref.Name),
		}}
	}
	return selected, nil
}

// ScheduleHosts returns the hosts that a schedule is for, sorted by name: those of its groups, narrowed by its own selector. groups and
// hosts are those of its namespace. Findings are everything of CheckSchedule, each group that does not exist, and each that shares no
// host with the schedule; an invalid schedule is for no host.
func ScheduleHosts(schedule *v1alpha1.Schedule, groups []v1alpha1.SourceGroup, hosts []v1alpha1.Host) ([]*v1alpha1.Host, []Finding) {
	findings := CheckSchedule(schedule)
	valid := len(findings) == 0
	narrow, err := labelMatcher(schedule.Spec.HostSelector)
	if err != nil {
		return nil, findings
	}
	chosen := map[string]bool{}
	for _, name := range schedule.Spec.SourceGroups {
		group := findGroup(groups, name)
		if group == nil {
			findings = append(findings, groupNotFound(schedule.Name, name))
			continue
		}
		match, err := matcher(group.Spec.Selector)
		if err != nil {
			findings = append(findings, noSharedHost(schedule.Name, name, "its label selector is not valid"))
			continue
		}
		shared := false
		for i := range hosts {
			if host := &hosts[i]; host.DeletionTimestamp.IsZero() && match(host) && narrow(host) {
				chosen[host.Name], shared = true, true
			}
		}
		if !shared {
			findings = append(findings, noSharedHost(schedule.Name, name, "change its hostSelector or the one of the Schedule, or label a Host"))
		}
	}
	if !valid {
		return nil, sortFindings(findings)
	}
	return selectHosts(hosts, func(h *v1alpha1.Host) bool { return chosen[h.Name] }), sortFindings(findings)
}

func selectHosts(hosts []v1alpha1.Host, match func(*v1alpha1.Host) bool) []*v1alpha1.Host {
	var selected []*v1alpha1.Host
	for i := range hosts {
		if host := &hosts[i]; host.DeletionTimestamp.IsZero() && match(host) {
			selected = append(selected, host)
		}
	}
	slices.SortFunc(selected, func(a, b *v1alpha1.Host) int { return cmp.Compare(a.Name, b.Name) })
	return selected
}

func findGroup(groups []v1alpha1.SourceGroup, name string) *v1alpha1.SourceGroup {
	for i := range groups {
		if groups[i].Name == name && groups[i].DeletionTimestamp.IsZero() {
			return &groups[i]
		}
	}
	return nil
}

func groupNotFound(schedule, group string) Finding {
	return Finding{
		Kind: KindSchedule, Name: schedule, Field: "spec.sourceGroups", Reason: v1alpha1.ReasonSourceGroupNotFound,
		Message: fmt.Sprintf("there is no SourceGroup %q in this namespace: create it, or take it out of sourceGroups", group),
	}
}

func noSharedHost(schedule, group, remedy string) Finding {
	return Finding{
		Kind: KindSchedule, Name: schedule, Field: "spec.sourceGroups", Reason: v1alpha1.ReasonNoSharedHost,
		Message: fmt.Sprintf("SourceGroup %q shares no Host with this Schedule: %s", group, remedy),
	}
}

func invalidSelector(kind, name string, err error) Finding {
	return Finding{Kind: kind, Name: name, Field: "spec.hostSelector", Reason: v1alpha1.ReasonInvalid, Message: err.Error()}
}
