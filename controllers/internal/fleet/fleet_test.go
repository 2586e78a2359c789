package fleet

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/status"
)

func day(n int) *metav1.Time { return &metav1.Time{Time: time.Date(2026, 3, n, 3, 0, 0, 0, time.UTC)} }

// option changes a Host's status.
type option func(*v1alpha1.HostStatus)

func newHost(name string, options ...option) *v1alpha1.Host {
	h := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, o := range options {
		o(&h.Status)
	}
	return h
}

func ended(group string, result v1alpha1.JobResult, success *metav1.Time, failures int32) option {
	return func(s *v1alpha1.HostStatus) {
		s.SourceGroups = append(s.SourceGroups, v1alpha1.SourceGroupResult{Name: group, Result: result, LastSuccessTime: success, ConsecutiveFailures: failures})
	}
}

func onSchedule(schedule string, suspended bool, groups ...string) option {
	return func(s *v1alpha1.HostStatus) {
		entry := v1alpha1.HostSchedule{Name: schedule, Suspended: suspended}
		for _, g := range groups {
			entry.SourceGroups = append(entry.SourceGroups, v1alpha1.HostScheduleGroup{Name: g})
		}
		s.Schedules = append(s.Schedules, entry)
	}
}

func late(schedule, group string) option {
	return func(s *v1alpha1.HostStatus) {
		s.Overdue = append(s.Overdue, v1alpha1.OverdueBackup{Schedule: schedule, SourceGroup: group})
	}
}

func TestOfGroup(t *testing.T) {
	nightly := onSchedule("nightly", false, "etc")
	many := make([]*v1alpha1.Host, 12)
	for i := range many {
		many[i] = newHost(fmt.Sprintf("web-%02d", i), nightly, ended("etc", v1alpha1.ResultFailed, nil, 1), late("nightly", "etc"))
	}
	ten := make([]string, 10)
	for i := range ten {
		ten[i] = many[i].Name
	}
	for _, test := range []struct {
		name    string
		hosts   []*v1alpha1.Host
		want    v1alpha1.FleetSummary
		current string
	}{
		{name: "for nobody", current: "Unknown NoHostMatches: there is no Host to back up"},
		{
			name: "all succeeded; the one that is farthest behind tells since when",
			hosts: []*v1alpha1.Host{newHost("a", nightly, ended("etc", v1alpha1.ResultSucceeded, day(3), 0)), newHost("b", nightly, ended("etc", v1alpha1.ResultSucceeded, day(2), 0),
				ended("home", v1alpha1.ResultFailed, day(1), 4))},
			want:    v1alpha1.FleetSummary{HostsMatched: 2, HostsSucceeded: 2, OldestSuccessTime: day(2)},
			current: "True UpToDate: no backup of 2 Hosts is overdue",
		},
		{
			name: "a failure, one with errors, one that never ran, and cancelled ones",
			hosts: []*v1alpha1.Host{
				newHost("a", nightly, ended("etc", v1alpha1.ResultFailed, day(1), 2)), newHost("b", nightly, ended("etc", v1alpha1.ResultCompletedWithErrors, day(2), 0)), newHost("c", nightly),
				newHost("d", nightly, ended("etc", v1alpha1.ResultCancelled, day(3), 0)), newHost("e", nightly, ended("etc", v1alpha1.ResultCancelled, nil, 0)),
				newHost("f", nightly, ended("etc", v1alpha1.ResultCancelled, day(3), 1)),
			},
			want:    v1alpha1.FleetSummary{HostsMatched: 6, HostsSucceeded: 1, HostsFailing: 3, FailingHosts: []string{"a", "b", "f"}, HostsNeverRan: 2, OldestSuccessTime: day(1)},
			current: "Unknown WaitingForFirstBackup: nothing is overdue; waiting for the first backup of 2 of 6 Hosts: c, e",
		},
		{
			name: "ten are named, all are counted", hosts: many,
			want: v1alpha1.FleetSummary{HostsMatched: 12, HostsFailing: 12, FailingHosts: ten, HostsOverdue: 12, OverdueHosts: ten},
			current: "False Overdue: 12 of 12 Hosts are overdue: web-00, web-01, web-02, web-03, web-04, web-05, web-06, web-07, web-08, web-09, …; " +
				"kubectl describe says of each since when",
		},
		{
			name: "one that is overdue on another group does not count", hosts: []*v1alpha1.Host{newHost("a", nightly, ended("etc", v1alpha1.ResultSucceeded, day(3), 0), late("nightly", "home"))},
			want:    v1alpha1.FleetSummary{HostsMatched: 1, HostsSucceeded: 1, OldestSuccessTime: day(3)},
			current: "True UpToDate: no backup of 1 Host is overdue",
		},
		{
			name: "no Schedule fires it", hosts: []*v1alpha1.Host{newHost("a", onSchedule("nightly", false, "home"))},
			want: v1alpha1.FleetSummary{HostsMatched: 1, HostsNeverRan: 1}, current: "Unknown NothingScheduled: no Schedule fires on 1 Host so far",
		},
		{
			name: "all Schedules that fire it are suspended", hosts: []*v1alpha1.Host{newHost("a", onSchedule("nightly", true, "etc"))},
			want: v1alpha1.FleetSummary{HostsMatched: 1, HostsNeverRan: 1}, current: "Unknown Suspended: no backup is expected of 1 Host: all is suspended",
		},
		{
			name:    "on some Hosts no Schedule fires it",
			hosts:   []*v1alpha1.Host{newHost("a", nightly, ended("etc", v1alpha1.ResultSucceeded, day(3), 0)), newHost("b", ended("etc", v1alpha1.ResultSucceeded, day(3), 0))},
			want:    v1alpha1.FleetSummary{HostsMatched: 2, HostsSucceeded: 2, OldestSuccessTime: day(3)},
			current: "True UpToDate: no backup of 2 Hosts is overdue; on 1 of them no Schedule fires",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			check(t, OfGroup("etc", test.hosts), test.want, test.current)
		})
	}
}

func TestOfSchedule(t *testing.T) {
	both := onSchedule("nightly", false, "etc", "home")
	good := func(group string) option { return ended(group, v1alpha1.ResultSucceeded, day(3), 0) }
	for _, test := range []struct {
		name    string
		hosts   []*v1alpha1.Host
		want    v1alpha1.FleetSummary
		current string
	}{
		{
			name: "a Host is as good as the worst of its groups",
			hosts: []*v1alpha1.Host{
				newHost("a", both, good("etc"), good("home")), newHost("b", both, good("etc"), ended("home", v1alpha1.ResultFailed, day(1), 3)), newHost("c", both, good("etc")),
				newHost("d", both, ended("etc", v1alpha1.ResultFailed, nil, 1)),
			},
			want:    v1alpha1.FleetSummary{HostsMatched: 4, HostsSucceeded: 1, HostsFailing: 2, FailingHosts: []string{"b", "d"}, HostsNeverRan: 1, OldestSuccessTime: day(1)},
			current: "Unknown WaitingForFirstBackup: nothing is overdue; waiting for the first backup of 1 of 4 Hosts: c",
		},
		{
			name: "only what it fires itself counts", hosts: []*v1alpha1.Host{newHost("a", onSchedule("nightly", false, "etc"), good("etc"), ended("home", v1alpha1.ResultFailed, nil, 1), late("hourly", "etc"))},
			want: v1alpha1.FleetSummary{HostsMatched: 1, HostsSucceeded: 1, OldestSuccessTime: day(3)}, current: "True UpToDate: no backup of 1 Host is overdue",
		},
		{
			name: "a Host that has not been looked at never ran", hosts: []*v1alpha1.Host{newHost("a", good("etc"))},
			want: v1alpha1.FleetSummary{HostsMatched: 1, HostsNeverRan: 1}, current: "Unknown NothingScheduled: no Schedule fires on 1 Host so far",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			check(t, OfSchedule("nightly", test.hosts), test.want, test.current)
		})
	}
}

func check(t *testing.T, f Fleet, want v1alpha1.FleetSummary, current string) {
	t.Helper()
	if diff := cmp.Diff(want, f.Summary(0)); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	var conditions []metav1.Condition
	f.SetCurrent(status.For(&conditions, 1, testingclock.NewFakePassiveClock(day(4).Time)))
	c := meta.FindStatusCondition(conditions, v1alpha1.ConditionBackupsCurrent)
	if got := fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message); got != current {
		t.Errorf("condition is\n%s, want\n%s", got, current)
	}
}

func TestWhichSummariesAChangeConcerns(t *testing.T) {
	before := func() *v1alpha1.Host {
		return newHost("a", onSchedule("nightly", false, "etc", "home"), onSchedule("hourly", false, "db"),
			ended("etc", v1alpha1.ResultSucceeded, day(1), 0), ended("home", v1alpha1.ResultSucceeded, day(1), 0), ended("db", v1alpha1.ResultSucceeded, day(1), 0))
	}
	for _, test := range []struct {
		name              string
		change            func(*v1alpha1.HostStatus)
		groups, schedules []string
	}{
		{name: "nothing", change: func(*v1alpha1.HostStatus) {}},
		{name: "a new success", change: func(s *v1alpha1.HostStatus) { s.SourceGroups[0].LastSuccessTime = day(2) }, groups: []string{"etc"}, schedules: []string{"nightly"}},
		{name: "a failure", change: func(s *v1alpha1.HostStatus) { s.SourceGroups[2].Result = v1alpha1.ResultFailed }, groups: []string{"db"}, schedules: []string{"hourly"}},
		{name: "what a job said", change: func(s *v1alpha1.HostStatus) { s.SourceGroups[0].Message = "3 files" }},
		{name: "the next run", change: func(s *v1alpha1.HostStatus) { s.Schedules[0].NextRunTime = day(5) }},
		{name: "a Schedule is suspended", change: func(s *v1alpha1.HostStatus) { s.Schedules[1].Suspended = true }, groups: []string{"db"}, schedules: []string{"hourly"}},
		{name: "a Schedule goes", change: func(s *v1alpha1.HostStatus) { s.Schedules = s.Schedules[:1] }, groups: []string{"db"}, schedules: []string{"hourly"}},
		{name: "a backup falls overdue", change: late("nightly", "home"), groups: []string{"home"}, schedules: []string{"nightly"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			after := before()
			test.change(&after.Status)
			if diff := cmp.Diff(test.groups, ChangedGroups(before(), after)); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.schedules, ChangedSchedules(before(), after)); diff != "" {
				t.Errorf("schedules (-want +got):\n%s", diff)
			}
		})
	}
}
