package sourcegroup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
)

// forgetting is a RepoMaintenance that forgets each day on one host, or on all of a role.
func forgetting(name, host, role string, change ...func(*v1alpha1.RepoMaintenance)) v1alpha1.RepoMaintenance {
	m := v1alpha1.RepoMaintenance{ObjectMeta: metav1.ObjectMeta{Name: name}}
	m.Spec.Forget = &v1alpha1.Cadence{Cron: "0 5 * * *"}
	if host != "" {
		m.Spec.HostRef = &v1alpha1.LocalReference{Name: host}
	} else {
		m.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"role": role}}
	}
	for _, c := range change {
		c(&m)
	}
	return m
}

// unforgottenOf is for hosts that share their repositories with nobody else.
func unforgottenOf(group *v1alpha1.SourceGroup, hosts []v1alpha1.Host, maintenances []v1alpha1.RepoMaintenance) []string {
	matched, _ := compile.GroupHosts(group, hosts)
	return notForgetting(matched, hosts, maintenances)
}

func TestWhatIsKnownOfForgettingLastsUntilASpecChanges(t *testing.T) {
	var f forgets
	g := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{UID: "u1", Generation: 1}}
	found := 0
	look := func(want ...string) {
		t.Helper()
		got, err := f.of(g, func() ([]string, error) { found++; return want, nil })
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	expect := func(what string, times int) {
		t.Helper()
		if found != times {
			t.Errorf("%s: found out %d times, want %d", what, found, times)
		}
	}
	look("web-1")
	look("web-1")
	expect("nothing changed", 1)
	f.changed()
	look("web-2")
	expect("a spec changed", 2)
	g.Generation++
	look("web-3")
	expect("the group changed", 3)
	if _, err := f.of(g, func() ([]string, error) { t.Error("found out again"); return nil, nil }); err != nil {
		t.Error(err)
	}
	f.changed()
	if _, err := f.of(g, func() ([]string, error) { return nil, errors.New("no cache") }); err == nil {
		t.Error("an error is lost")
	}
	_, _ = f.of(g, func() ([]string, error) { f.changed(); return []string{"read too early"}, nil })
	look("web-4")
	g.UID = "u2"
	look("web-5")
}

func TestRetentionEnforced(t *testing.T) {
	web := map[string]string{"role": "web"}
	at := func(name, url string, suspend bool) v1alpha1.Host {
		h := host(name, web)
		h.Spec.Repository.URL, h.Spec.Suspend = url, suspend
		return h
	}
	two := []v1alpha1.Host{at("web-1", "rest:https://backup.example.com/1", false), at("web-2", "rest:https://backup.example.com/2", false)}
	var many []v1alpha1.Host
	for i := range 12 {
		many = append(many, at(fmt.Sprintf("web-%d", 100+i), fmt.Sprintf("rest:https://backup.example.com/%d", i), false))
	}
	keep := &v1alpha1.Retention{KeepDaily: 7}
	for _, test := range []struct {
		name         string
		retention    *v1alpha1.Retention
		hosts        []v1alpha1.Host
		maintenances []v1alpha1.RepoMaintenance
		want         string
	}{
		{"no rule: nothing is ever forgotten", nil, two, []v1alpha1.RepoMaintenance{forgetting("all", "", "web")},
			"False NoRetention: spec.retention is not set, so no snapshot of this group is ever forgotten"},
		{"a forget on every host", keep, two, []v1alpha1.RepoMaintenance{forgetting("all", "", "web")},
			"True Enforced: maintenance forgets by spec.retention on 2 Hosts"},
		{"a host that no RepoMaintenance selects", keep, two, []v1alpha1.RepoMaintenance{forgetting("one", "web-1", "")},
			"False NoForget: nothing is forgotten on 1 of 2 Hosts: web-2 (no RepoMaintenance is in force)"},
		{"a RepoMaintenance without a forget", keep, two[:1],
			[]v1alpha1.RepoMaintenance{forgetting("one", "web-1", "", func(m *v1alpha1.RepoMaintenance) { m.Spec.Forget = nil })},
			"False NoForget: nothing is forgotten on 1 of 1 Host: web-1 (RepoMaintenance one has no forget)"},
		{"one that is suspended", keep, two[:1],
			[]v1alpha1.RepoMaintenance{forgetting("one", "web-1", "", func(m *v1alpha1.RepoMaintenance) { m.Spec.Suspend = true })},
			"False NoForget: nothing is forgotten on 1 of 1 Host: web-1 (RepoMaintenance one is suspended)"},
		{"one whose forget is suspended", keep, two[:1],
			[]v1alpha1.RepoMaintenance{forgetting("one", "web-1", "", func(m *v1alpha1.RepoMaintenance) { m.Spec.Forget.Suspend = true })},
			"False NoForget: nothing is forgotten on 1 of 1 Host: web-1 (RepoMaintenance one is suspended)"},
		{"one whose cron does not parse", keep, two[:1],
			[]v1alpha1.RepoMaintenance{forgetting("one", "web-1", "", func(m *v1alpha1.RepoMaintenance) { m.Spec.Forget.Cron = "61 * * * *" })},
			"False NoForget: nothing is forgotten on 1 of 1 Host: web-1 (no RepoMaintenance is in force)"},
		{"a suspended host", keep, []v1alpha1.Host{at("web-1", "rest:https://backup.example.com/1", true)}, []v1alpha1.RepoMaintenance{forgetting("one", "web-1", "")},
			"False NoForget: nothing is forgotten on 1 of 1 Host: web-1 (the Host is suspended)"},
		{"a suspended host whose repository another one shares", keep, []v1alpha1.Host{at("web-1", "rest:https://backup.example.com/1", true), at("web-2", "rest:https://backup.example.com/1/", false)},
			[]v1alpha1.RepoMaintenance{forgetting("one", "web-2", "")},
			"True Enforced: maintenance forgets by spec.retention on 2 Hosts"},
		{"ten hosts are named", keep, many, nil,
			"False NoForget: nothing is forgotten on 12 of 12 Hosts: web-100 (no RepoMaintenance is in force), web-101 (no RepoMaintenance is in force), web-102 (no RepoMaintenance is in force), " +
				"web-103 (no RepoMaintenance is in force), web-104 (no RepoMaintenance is in force), web-105 (no RepoMaintenance is in force), web-106 (no RepoMaintenance is in force), " +
				"web-107 (no RepoMaintenance is in force), web-108 (no RepoMaintenance is in force), web-109 (no RepoMaintenance is in force), …"},
		{"no host at all", keep, nil, nil, "False NoHostMatches: there is no Host to enforce it on"},
		{"rules that restic would not take", &v1alpha1.Retention{KeepWithin: "14x"}, two, []v1alpha1.RepoMaintenance{forgetting("all", "", "web")},
			"False Invalid: spec.retention: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := group()
			g.Spec.Retention = test.retention
			_, err := decide(g, seen{hosts: test.hosts, unforgotten: unforgottenOf(g, test.hosts, test.maintenances)}, testingclock.NewFakePassiveClock(time.Now()))
			if err != nil {
				t.Errorf("a retention keeps the group from being Ready: %v", err)
			}
			got := ""
			for _, c := range g.Status.Conditions {
				if c.Type == v1alpha1.ConditionRetentionEnforced {
					got = string(c.Status) + " " + c.Reason + ": " + c.Message
				}
			}
			if test.name == "rules that restic would not take" {
				got = got[:min(len(got), len(test.want))]
			}
			if got != test.want {
				t.Errorf("got\n%s, expected\n%s", got, test.want)
			}
		})
	}
}

func TestATagThatTwoGroupsHaveIsTold(t *testing.T) {
	hosts := []v1alpha1.Host{host("web-1", map[string]string{"role": "web"})}
	hosts[0].Spec.Repository.URL = "rest:https://backup.example.com/1"
	g, other := group(), group()
	g.Spec.Retention, other.Name, other.Spec.Tag = &v1alpha1.Retention{KeepDaily: 7}, "other", "etc"
	s := seen{hosts: hosts, unforgotten: unforgottenOf(g, hosts, []v1alpha1.RepoMaintenance{forgetting("all", "", "web")}), groups: []v1alpha1.SourceGroup{*g, *other}}
	if _, err := decide(g, s, testingclock.NewFakePassiveClock(time.Now())); err != nil {
		t.Error(err)
	}
	c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionRetentionEnforced)
	if c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonTagShared || !strings.Contains(c.Message, `SourceGroup "other" on Host "web-1"`) {
		t.Errorf("condition %+v", c)
	}
}
