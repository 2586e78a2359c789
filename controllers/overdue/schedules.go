package overdue

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/cronspec"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// Schedules is when each schedule of a compiled set runs on the host, sorted by name. It goes on from what is on record in the host's status: what did
// not change is expected since when it was.
func Schedules(host *v1alpha1.Host, set *wire.ScheduleSet, now time.Time) []v1alpha1.HostSchedule {
	known := make(map[string]*v1alpha1.HostSchedule, len(host.Status.Schedules))
	for i := range host.Status.Schedules {
		known[host.Status.Schedules[i].Name] = &host.Status.Schedules[i]
	}
	schedules := make([]v1alpha1.HostSchedule, 0, len(set.Schedules))
	for i := range set.Schedules {
		if s, ok := expected(host, &set.Schedules[i], set.Suspended, known[set.Schedules[i].Name], now); ok {
			schedules = append(schedules, s)
		}
	}
	slices.SortFunc(schedules, func(a, b v1alpha1.HostSchedule) int { return cmp.Compare(a.Name, b.Name) })
	return schedules
}

func expected(host *v1alpha1.Host, compiled *wire.Schedule, hostSuspended bool, before *v1alpha1.HostSchedule, now time.Time) (v1alpha1.HostSchedule, bool) {
	spec, err := cronspec.Parse(compiled.Cron, compiled.TimeZone)
	if err != nil {
		return v1alpha1.HostSchedule{}, false // it never fires; the Schedule's own condition says so
	}
	delay := cronspec.Jitter(cronspec.JitterKey(host.Namespace, host.Name, compiled.Name), time.Duration(compiled.JitterSeconds)*time.Second)
	s := v1alpha1.HostSchedule{
		Name: compiled.Name, Cron: compiled.Cron, TimeZone: compiled.TimeZone, Suspended: hostSuspended || compiled.Suspended,
		SourceGroups: make([]v1alpha1.HostScheduleGroup, 0, len(compiled.Groups)),
	}
	if delay > 0 {
		s.Delay = &metav1.Duration{Duration: delay}
	}
	for _, group := range compiled.Groups {
		s.SourceGroups = append(s.SourceGroups, v1alpha1.HostScheduleGroup{Name: group, Since: since(host, &s, group, before, now)})
	}
	if !s.Suspended {
		if fire, ok := spec.Next(now.Add(-delay)); ok {
			s.NextRunTime = at(fire.At.Add(delay))
		}
	}
	return s, true
}

// since is from when on a backup of the group is expected.
func since(host *v1alpha1.Host, s *v1alpha1.HostSchedule, group string, before *v1alpha1.HostSchedule, now time.Time) metav1.Time {
	if before == nil {
		return *at(now)
	}
	i := slices.IndexFunc(before.SourceGroups, func(g v1alpha1.HostScheduleGroup) bool { return g.Name == group })
	if i < 0 {
		return *at(now)
	}
	same := before.Cron == s.Cron && before.TimeZone == s.TimeZone && before.Suspended == s.Suspended
	late := !s.Suspended && slices.ContainsFunc(host.Status.Overdue, func(o v1alpha1.OverdueBackup) bool {
		return o.Schedule == s.Name && o.SourceGroup == group
	})
	if same || late {
		return before.SourceGroups[i].Since
	}
	return *at(now)
}

// NextRun is the soonest run of all; nil for none.
func NextRun(schedules []v1alpha1.HostSchedule) *metav1.Time {
	var soonest *metav1.Time
	for i := range schedules {
		if next := schedules[i].NextRunTime; next != nil && (soonest == nil || next.Before(soonest)) {
			soonest = next
		}
	}
	return soonest
}

// at is an instant as the API stores it: in whole seconds, so that what was written compares equal to what comes back.
func at(t time.Time) *metav1.Time { return &metav1.Time{Time: t.UTC().Truncate(time.Second)} }
