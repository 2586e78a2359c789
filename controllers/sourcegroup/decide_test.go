package sourcegroup

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func host(name string, labels map[string]string) v1alpha1.Host {
	return v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name), Labels: labels}}
}

// set is the ScheduleSet of a host that holds the group etc in a generation.
func set(host string, generation int64, applied bool) v1alpha1.ScheduleSet {
	s := v1alpha1.ScheduleSet{ObjectMeta: metav1.ObjectMeta{Name: host}}
	s.Spec.Host.UID = "uid-" + host
	s.Spec.Revision = "new"
	s.Spec.Groups = []v1alpha1.ScheduleSetGroup{{Name: "other", Generation: 2}, {Name: "etc", Generation: generation}}
	s.Status.AppliedRevision = "old"
	if applied {
		s.Status.AppliedRevision = "new"
	}
	return s
}

func group() *v1alpha1.SourceGroup {
	return &v1alpha1.SourceGroup{
		ObjectMeta: metav1.ObjectMeta{Name: "etc", Generation: 2},
		Spec: v1alpha1.SourceGroupSpec{
			Selector: v1alpha1.Selector{HostSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}},
			Includes: []string{"/etc"},
		},
	}
}

func TestDecide(t *testing.T) {
	web := map[string]string{"role": "web"}
	hosts := []v1alpha1.Host{host("web-1", web), host("web-2", web), host("db-1", map[string]string{"role": "db"})}
	var many []v1alpha1.Host
	for i := range 12 {
		many = append(many, host("web-"+strconv.Itoa(100+i), web))
	}
	for _, test := range []struct {
		name             string
		change           func(*v1alpha1.SourceGroup)
		hosts            []v1alpha1.Host
		sets             []v1alpha1.ScheduleSet
		matched, applied int32
		want             map[string]string // type → status, reason, message
	}{
		{
			name: "applied by all", hosts: hosts, sets: []v1alpha1.ScheduleSet{set("web-1", 2, true), set("web-2", 2, true)}, matched: 2, applied: 2,
			want: map[string]string{"Ready": "True Accepted: accepted for 2 Hosts", "Applied": "True AppliedByAll: in force on 2 Hosts"},
		},
		{
			name: "a host that has no set yet is waited for", hosts: hosts, sets: []v1alpha1.ScheduleSet{set("web-1", 2, true)}, matched: 2, applied: 1,
			want: map[string]string{"Ready": "True Accepted: accepted for 2 Hosts", "Applied": "False NotAppliedYet: waiting for 1 of 2 Hosts: web-2"},
		},
		{
			name: "a set that was not acked does not count", hosts: hosts[:1], sets: []v1alpha1.ScheduleSet{set("web-1", 2, false)}, matched: 1,
			want: map[string]string{"Ready": "True Accepted: accepted for 1 Host", "Applied": "False NotAppliedYet: waiting for 1 of 1 Host: web-1"},
		},
		{
			name: "an earlier generation does not count", hosts: hosts[:1], sets: []v1alpha1.ScheduleSet{set("web-1", 1, true)}, matched: 1,
			want: map[string]string{"Ready": "True Accepted: accepted for 1 Host", "Applied": "False NotAppliedYet: waiting for 1 of 1 Host: web-1"},
		},
		{
			name: "the set of an earlier Host of the same name does not count", hosts: hosts[:1], matched: 1,
			sets: []v1alpha1.ScheduleSet{func() v1alpha1.ScheduleSet { s := set("web-1", 2, true); s.Spec.Host.UID = "earlier"; return s }()},
			want: map[string]string{"Ready": "True Accepted: accepted for 1 Host", "Applied": "False NotAppliedYet: waiting for 1 of 1 Host: web-1"},
		},
		{
			name: "ten hosts are named", hosts: many, matched: 12,
			want: map[string]string{
				"Ready":   "True Accepted: accepted for 12 Hosts",
				"Applied": "False NotAppliedYet: waiting for 12 of 12 Hosts: web-100, web-101, web-102, web-103, web-104, web-105, web-106, web-107, web-108, web-109, …",
			},
		},
		{
			name: "no host matches: accepted all the same", hosts: hosts[2:],
			want: map[string]string{
				"Ready":   "True NoHostMatches: accepted; no Host has labels that spec.hostSelector selects",
				"Applied": "False NoHostMatches: there is no Host to apply it",
			},
		},
		{
			name: "a Host that does not exist is waited for", hosts: hosts,
			change: func(g *v1alpha1.SourceGroup) {
				g.Spec.Selector = v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "web-9"}}
			},
			want: map[string]string{
				"Ready":   `False HostNotFound: spec.hostRef: there is no Host "web-9" in this namespace: create it, or name another one`,
				"Applied": "False NoHostMatches: there is no Host to apply it",
			},
		},
		{
			name: "a selector that does not parse stalls", hosts: hosts,
			change: func(g *v1alpha1.SourceGroup) {
				g.Spec.HostSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "role", Operator: "Like"}}}
			},
			want: map[string]string{
				"Ready":   `False Invalid: spec.hostSelector: the label selector is not valid: "Like" is not a valid label selector operator`,
				"Stalled": `True Invalid: spec.hostSelector: the label selector is not valid: "Like" is not a valid label selector operator`,
				"Applied": "False NoHostMatches: there is no Host to apply it",
			},
		},
		{
			name: "hooks that no machine would take stall", hosts: hosts,
			change: func(g *v1alpha1.SourceGroup) {
				g.Spec.Hooks = &v1alpha1.Hooks{PreBackup: []v1alpha1.Hook{{Command: []string{"freeze"}}}}
			},
			want: map[string]string{
				"Ready":   `False Invalid: spec: hooks: preBackup[0].command: "freeze" is not an absolute path`,
				"Stalled": `True Invalid: spec: hooks: preBackup[0].command: "freeze" is not an absolute path`,
				"Applied": "False NoHostMatches: there is no Host to apply it",
			},
		},
		{
			name: "so does a command without a file name", hosts: hosts,
			change: func(g *v1alpha1.SourceGroup) { g.Spec.Includes, g.Spec.Command = nil, []string{"/usr/bin/pg_dump"} },
			want: map[string]string{
				"Ready":   "False Invalid: spec: fileName is missing",
				"Stalled": "True Invalid: spec: fileName is missing",
				"Applied": "False NoHostMatches: there is no Host to apply it",
			},
		},
		{
			name: "and a bandwidth window in a time zone that does not exist", hosts: hosts,
			change: func(g *v1alpha1.SourceGroup) {
				g.Spec.Bandwidth = &v1alpha1.Bandwidth{TimeZone: "Mars/Olympus", Windows: []v1alpha1.BandwidthWindow{{From: "08:00", To: "18:00"}}}
			},
			want: map[string]string{
				"Ready":   `False Invalid: spec.bandwidth.timeZone: timeZone "Mars/Olympus" is not known: write an IANA name such as Europe/Zurich, or UTC`,
				"Stalled": `True Invalid: spec.bandwidth.timeZone: timeZone "Mars/Olympus" is not known: write an IANA name such as Europe/Zurich, or UTC`,
				"Applied": "False NoHostMatches: there is no Host to apply it",
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := group()
			if test.change != nil {
				test.change(g)
			}
			_, _ = decide(g, seen{hosts: test.hosts, sets: test.sets, unforgotten: unforgottenOf(g, test.hosts, nil)}, testingclock.NewFakePassiveClock(time.Now()))
			if g.Status.HostsMatched != test.matched || g.Status.HostsApplied != test.applied {
				t.Errorf("matched %d, applied %d, expected %d and %d", g.Status.HostsMatched, g.Status.HostsApplied, test.matched, test.applied)
			}
			if g.Status.ObservedGeneration != 2 {
				t.Errorf("observedGeneration %d, expected 2", g.Status.ObservedGeneration)
			}
			got := map[string]string{}
			for _, c := range g.Status.Conditions {
				if c.Type == v1alpha1.ConditionBackupsCurrent {
					continue // package fleet has tests of it
				}
				if c.Type != v1alpha1.ConditionRetentionEnforced {
					got[c.Type] = string(c.Status) + " " + c.Reason + ": " + c.Message
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
		})
	}
}
