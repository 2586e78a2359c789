package fleet

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// ChangedGroups names the SourceGroups whose summary differs by a change of a Host's status, sorted.
func ChangedGroups(before, after *v1alpha1.Host) []string {
	changed := map[string]bool{}
	was, is := results(before), results(after)
	for group := range mergeKeys(was, is) {
		if !equality.Semantic.DeepEqual(was[group], is[group]) {
			changed[group] = true
		}
	}
	if !equality.Semantic.DeepEqual(before.Status.Overdue, after.Status.Overdue) {
		for _, host := range []*v1alpha1.Host{before, after} {
			for _, o := range host.Status.Overdue {
				changed[o.SourceGroup] = true
			}
		}
	}
	for schedule := range firing(before, after) {
		for _, host := range []*v1alpha1.Host{before, after} {
			for _, group := range groupsOf(host, schedule) {
				changed[group] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(changed))
}

// ChangedSchedules names the Schedules whose summary differs by a change of a Host's status, sorted.
func ChangedSchedules(before, after *v1alpha1.Host) []string {
	changed := firing(before, after)
	groups := ChangedGroups(before, after)
	for _, host := range []*v1alpha1.Host{before, after} {
		for i := range host.Status.Schedules {
			s := &host.Status.Schedules[i]
			if slices.ContainsFunc(groups, func(g string) bool { return has(s, g) }) {
				changed[s.Name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(changed))
}

// firing are the Schedules that came, went, were suspended or resumed, or have other groups. Their times do not matter here.
func firing(before, after *v1alpha1.Host) map[string]bool {
	was, is := fires(before), fires(after)
	changed := map[string]bool{}
	for schedule := range mergeKeys(was, is) {
		if !equality.Semantic.DeepEqual(was[schedule], is[schedule]) {
			changed[schedule] = true
		}
	}
	return changed
}

// fired is what a summary looks at of a Schedule.
type fired struct {
	Suspended bool
	Groups    []string
}

func fires(host *v1alpha1.Host) map[string]fired {
	all := make(map[string]fired, len(host.Status.Schedules))
	for i := range host.Status.Schedules {
		s := &host.Status.Schedules[i]
		all[s.Name] = fired{s.Suspended, groupsOf(host, s.Name)}
	}
	return all
}

// result is what a summary looks at of a group.
type result struct {
	Outcome outcome
	Success *metav1.Time
}

func results(host *v1alpha1.Host) map[string]result {
	all := make(map[string]result, len(host.Status.SourceGroups))
	for i := range host.Status.SourceGroups {
		name := host.Status.SourceGroups[i].Name
		o, success := outcomeOf(host, name)
		all[name] = result{o, success}
	}
	return all
}

func mergeKeys[V any](a, b map[string]V) map[string]bool {
	keys := make(map[string]bool, len(a)+len(b))
	for key := range a {
		keys[key] = true
	}
	for key := range b {
		keys[key] = true
	}
	return keys
}
