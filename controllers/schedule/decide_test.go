package schedule

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func host(name, role string) v1alpha1.Host {
	return v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name), Labels: map[string]string{"role": role}}}
}

func group(name, role string) v1alpha1.SourceGroup {
	return v1alpha1.SourceGroup{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.SourceGroupSpec{
			Selector: v1alpha1.Selector{HostSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"role": role}}},
			Includes: []string{"/etc"},
		},
	}
}

// set is the ScheduleSet of a host that holds the schedule nightly in a generation.
func set(host string, generation int64, applied bool) v1alpha1.ScheduleSet {
	s := v1alpha1.ScheduleSet{ObjectMeta: metav1.ObjectMeta{Name: host}}
	s.Spec.Host.UID = "uid-" + host
	s.Spec.Revision = "new"
	s.Spec.Schedules = []v1alpha1.ScheduleSetSchedule{{Name: "nightly", Generation: generation}}
	if applied {
		s.Status.AppliedRevision = "new"
	}
	return s
}

func schedule(groups ...string) *v1alpha1.Schedule {
	return &v1alpha1.Schedule{
		ObjectMeta: metav1.ObjectMeta{Name: "nightly", Generation: 3},
		Spec:       v1alpha1.ScheduleSpec{Cron: "30 2 * * *", TimeZone: "UTC", SourceGroups: groups},
	}
}

func TestDecide(t *testing.T) {
	const (
		allFound = "True AllFound: every group in spec.sourceGroups exists and shares a Host with the Schedule"
		nobody   = "False NoHostMatches: there is no Host to apply it"
		missing  = `there is no SourceGroup "gone" in this namespace: create it, or take it out of sourceGroups`
		foreign  = `SourceGroup "db" shares no Host with this Schedule: change its hostSelector or the one of the Schedule, or label a Host`
	)
	all := facts{
		hosts:  []v1alpha1.Host{host("web-1", "web"), host("web-2", "web")},
		groups: []v1alpha1.SourceGroup{group("etc", "web"), group("home", "web"), group("db", "db")},
		sets:   []v1alpha1.ScheduleSet{set("web-1", 3, true), set("web-2", 3, true)},
	}
	for _, test := range []struct {
		name             string
		schedule         *v1alpha1.Schedule
		change           func(*v1alpha1.Schedule, *facts)
		matched, applied int32
		fires            bool
		want             map[string]string
	}{
		{
			name: "applied by all", schedule: schedule("etc", "home"), matched: 2, applied: 2, fires: true,
			want: map[string]string{"Ready": "True Accepted: accepted for 2 Hosts", "SourceGroupsFound": allFound, "Applied": "True AppliedByAll: in force on 2 Hosts"},
		},
		{
			name: "an earlier generation and a set without ack do not count", schedule: schedule("etc"), matched: 2, fires: true,
			change: func(_ *v1alpha1.Schedule, f *facts) {
				f.sets = []v1alpha1.ScheduleSet{set("web-1", 2, true), set("web-2", 3, false)}
			},
			want: map[string]string{"Ready": "True Accepted: accepted for 2 Hosts", "SourceGroupsFound": allFound, "Applied": "False NotAppliedYet: waiting for 2 of 2 Hosts: web-1, web-2"},
		},
		{
			name: "a selector narrows", schedule: schedule("etc"), matched: 1, applied: 1, fires: true,
			change: func(s *v1alpha1.Schedule, f *facts) {
				f.hosts = []v1alpha1.Host{host("web-1", "web"), host("web-2", "web")}
				f.hosts[0].Labels["tier"] = "gold"
				s.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}
			},
			want: map[string]string{"Ready": "True Accepted: accepted for 1 Host", "SourceGroupsFound": allFound, "Applied": "True AppliedByAll: in force on 1 Host"},
		},
		{
			name: "suspended: accepted, and it does not fire", schedule: schedule("etc"), matched: 2, applied: 2,
			change: func(s *v1alpha1.Schedule, _ *facts) { s.Spec.Suspend = true },
			want: map[string]string{
				"Ready":             "True Suspended: accepted for 2 Hosts; it does not fire while spec.suspend is true",
				"SourceGroupsFound": allFound, "Applied": "True AppliedByAll: in force on 2 Hosts",
			},
		},
		{
			name: "a missing group is named and the others go on", schedule: schedule("etc", "gone"), matched: 2, applied: 2, fires: true,
			want: map[string]string{"Ready": "True Accepted: accepted for 2 Hosts", "SourceGroupsFound": "False SourceGroupNotFound: " + missing, "Applied": "True AppliedByAll: in force on 2 Hosts"},
		},
		{
			name: "a group for other hosts is named and the others go on", schedule: schedule("etc", "db"), matched: 2, applied: 2, fires: true,
			want: map[string]string{"Ready": "True Accepted: accepted for 2 Hosts", "SourceGroupsFound": "False NoSharedHost: " + foreign, "Applied": "True AppliedByAll: in force on 2 Hosts"},
		},
		{
			name: "both are named, and without a host it does not fire", schedule: schedule("db", "gone"),
			want: map[string]string{"Ready": "True NoHostMatches: accepted; it is for no Host", "SourceGroupsFound": "False SourceGroupNotFound: " + foreign + "; " + missing, "Applied": nobody},
		},
		{
			name: "no group exists: it waits for one", schedule: schedule("gone"),
			want: map[string]string{"Ready": "False SourceGroupNotFound: " + missing, "SourceGroupsFound": "False SourceGroupNotFound: " + missing, "Applied": nobody},
		},
		{
			name: "a bad expression stalls", schedule: schedule("etc"),
			change: func(s *v1alpha1.Schedule, _ *facts) { s.Spec.Cron = "61 2 * * *" },
			want: map[string]string{
				"Ready":             `False Invalid: spec.cron: cron "61 2 * * *": minute "61" is not valid: in "61" the end of range (61) above maximum (59)`,
				"Stalled":           `True Invalid: spec.cron: cron "61 2 * * *": minute "61" is not valid: in "61" the end of range (61) above maximum (59)`,
				"SourceGroupsFound": "Unknown Invalid: not looked at while the Schedule is invalid",
				"Applied":           "False Invalid: no machine gets it while the Schedule is invalid",
			},
		},
		{
			name: "an unknown time zone stalls", schedule: schedule("etc"),
			change: func(s *v1alpha1.Schedule, _ *facts) { s.Spec.TimeZone = "Europe/Zurrich" },
			want: map[string]string{
				"Ready":             `False Invalid: spec.timeZone: timeZone "Europe/Zurrich" is not known: write an IANA name such as Europe/Zurich, or UTC`,
				"Stalled":           `True Invalid: spec.timeZone: timeZone "Europe/Zurrich" is not known: write an IANA name such as Europe/Zurich, or UTC`,
				"SourceGroupsFound": "Unknown Invalid: not looked at while the Schedule is invalid",
				"Applied":           "False Invalid: no machine gets it while the Schedule is invalid",
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			seen := all
			if test.change != nil {
				test.change(test.schedule, &seen)
			}
			_, _ = decide(test.schedule, seen, testingclock.NewFakePassiveClock(noon))
			s := test.schedule.Status
			if s.HostsMatched != test.matched || s.HostsApplied != test.applied {
				t.Errorf("matched %d, applied %d, expected %d and %d", s.HostsMatched, s.HostsApplied, test.matched, test.applied)
			}
			if s.ObservedGeneration != 3 {
				t.Errorf("observedGeneration %d, expected 3", s.ObservedGeneration)
			}
			if fires := s.NextFireTime != nil; fires != test.fires {
				t.Errorf("nextFireTime %v, expected one: %v", s.NextFireTime, test.fires)
			}
			got := map[string]string{}
			for _, c := range s.Conditions {
				if c.Type == v1alpha1.ConditionBackupsCurrent {
					continue // package fleet has tests of it
				}
				got[c.Type] = string(c.Status) + " " + c.Reason + ": " + c.Message
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFireTimes(t *testing.T) {
	at := func(day, hour, minute int) *metav1.Time {
		return new(metav1.NewTime(time.Date(2026, 3, day, hour, minute, 0, 0, time.UTC)))
	}
	for _, test := range []struct {
		name               string
		change             func(*v1alpha1.Schedule)
		now                *metav1.Time
		last, next         *metav1.Time // on record
		wantLast, wantNext *metav1.Time
	}{
		{name: "a new schedule claims no fire from before", now: at(1, 12, 0), wantNext: at(2, 2, 30)},
		{name: "between two fires nothing changes", now: at(2, 2, 0), last: at(1, 2, 30), next: at(2, 2, 30), wantLast: at(1, 2, 30), wantNext: at(2, 2, 30)},
		{name: "a fire becomes the last one", now: at(2, 2, 30), last: at(1, 2, 30), next: at(2, 2, 30), wantLast: at(2, 2, 30), wantNext: at(3, 2, 30)},
		{name: "after days away the newest fire is the last one", now: at(5, 12, 0), last: at(1, 2, 30), next: at(2, 2, 30), wantLast: at(5, 2, 30), wantNext: at(6, 2, 30)},
		{name: "suspended there is no next one, and the last one stays", now: at(2, 2, 0), last: at(1, 2, 30), next: at(2, 2, 30), wantLast: at(1, 2, 30),
			change: func(s *v1alpha1.Schedule) { s.Spec.Suspend = true }},
		{name: "resumed it claims no fire of the pause", now: at(5, 12, 0), last: at(1, 2, 30), wantLast: at(1, 2, 30), wantNext: at(6, 2, 30)},
		{name: "a changed expression claims no fire of its own from before", now: at(2, 12, 0), last: at(1, 2, 30), next: at(2, 2, 30), wantLast: at(2, 2, 30), wantNext: at(3, 11, 0),
			change: func(s *v1alpha1.Schedule) { s.Spec.Cron, s.Generation = "0 11 * * *", 4 }},
		{name: "an expression that became invalid keeps the last one", now: at(2, 2, 0), last: at(1, 2, 30), next: at(2, 2, 30), wantLast: at(1, 2, 30),
			change: func(s *v1alpha1.Schedule) { s.Spec.Cron, s.Generation = "x", 4 }},
		{name: "the zone counts, and a time in the gap is its end", now: at(28, 12, 0), wantNext: at(29, 1, 0),
			change: func(s *v1alpha1.Schedule) { s.Spec.TimeZone = "Europe/Zurich" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := schedule("etc")
			s.Status = v1alpha1.ScheduleStatus{ObservedGeneration: 3, LastFireTime: test.last, NextFireTime: test.next}
			if test.change != nil {
				test.change(s)
			}
			setFireTimes(s, true, test.now.Time)
			if diff := cmp.Diff(test.wantLast, s.Status.LastFireTime); diff != "" {
				t.Errorf("lastFireTime (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.wantNext, s.Status.NextFireTime); diff != "" {
				t.Errorf("nextFireTime (-want +got):\n%s", diff)
			}
		})
	}
}
