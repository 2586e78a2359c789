package compile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/compile"
)

func keeping(r v1alpha1.Retention) func(*v1alpha1.SourceGroup) {
	return func(g *v1alpha1.SourceGroup) { g.Spec.Retention = &r }
}

func tagged(tag string) func(*v1alpha1.SourceGroup) {
	return func(g *v1alpha1.SourceGroup) { g.Spec.Tag = tag }
}

var daily = keeping(v1alpha1.Retention{KeepDaily: 7})

// withResults is a host that has backed these groups up.
func withResults(h *v1alpha1.Host, groups ...string) *v1alpha1.Host {
	for _, g := range groups {
		h.Status.SourceGroups = append(h.Status.SourceGroups, v1alpha1.SourceGroupResult{Name: g})
	}
	return h
}

func TestForgetGroups(t *testing.T) {
	web, db := host("web-1", "role=web"), host("db-1", "role=db")
	tests := []struct {
		name     string
		hosts    []*v1alpha1.Host
		groups   []v1alpha1.SourceGroup
		only     string
		want     []string // restic host, tag, keepDaily
		findings []string
	}{
		{
			name:   "a group with retention is forgotten by its host and tag",
			hosts:  []*v1alpha1.Host{web},
			groups: []v1alpha1.SourceGroup{group("etc", daily), group("home", daily, tagged("people"))},
			want:   []string{"web-1.shop etc 7", "web-1.shop people 7"},
		},
		{
			name:   "a group without retention keeps everything, and that is nothing to tell",
			hosts:  []*v1alpha1.Host{web},
			groups: []v1alpha1.SourceGroup{group("etc")},
		},
		{
			name:     "an empty retention keeps everything too, and is told",
			hosts:    []*v1alpha1.Host{web},
			groups:   []v1alpha1.SourceGroup{group("etc", keeping(v1alpha1.Retention{})), group("home", daily)},
			want:     []string{"web-1.shop home 7"},
			findings: []string{"SourceGroup etc spec.retention Invalid"},
		},
		{
			name:     "so does a duration that restic would not understand",
			hosts:    []*v1alpha1.Host{web},
			groups:   []v1alpha1.SourceGroup{group("etc", keeping(v1alpha1.Retention{KeepWithin: "2 weeks"}))},
			findings: []string{"SourceGroup etc spec.retention Invalid"},
		},
		{
			name:     "and a count below zero",
			hosts:    []*v1alpha1.Host{web},
			groups:   []v1alpha1.SourceGroup{group("etc", keeping(v1alpha1.Retention{KeepLast: -1}))},
			findings: []string{"SourceGroup etc spec.retention Invalid"},
		},
		{
			name:     "a group that is not valid for another cause is left alone",
			hosts:    []*v1alpha1.Host{web},
			groups:   []v1alpha1.SourceGroup{group("etc", daily, func(g *v1alpha1.SourceGroup) { g.Spec.Includes = nil })},
			findings: []string{"SourceGroup etc spec Invalid"},
		},
		{
			name:   "a group that was not asked for is left alone",
			hosts:  []*v1alpha1.Host{web},
			groups: []v1alpha1.SourceGroup{group("etc", daily)},
			only:   "home",
		},
		{
			name:   "in a shared repository each host is forgotten for itself",
			hosts:  []*v1alpha1.Host{web, db},
			groups: []v1alpha1.SourceGroup{group("etc", daily), group("dump", daily, onLabel("role", "db"))},
			want:   []string{"db-1.shop dump 7", "db-1.shop etc 7", "web-1.shop etc 7"},
		},
		{
			name:   "one group can be asked for alone",
			hosts:  []*v1alpha1.Host{web, db},
			groups: []v1alpha1.SourceGroup{group("etc", daily), group("home", daily)},
			only:   "home",
			want:   []string{"db-1.shop home 7", "web-1.shop home 7"},
		},
		{
			name:   "a host that the group does not select any more is forgotten on while it has results of it",
			hosts:  []*v1alpha1.Host{withResults(host("web-2"), "etc"), host("web-3")},
			groups: []v1alpha1.SourceGroup{group("etc", daily, onLabel("role", "web"))},
			want:   []string{"web-2.shop etc 7"},
		},
		{
			name:  "a group that is being deleted forgets nothing more",
			hosts: []*v1alpha1.Host{withResults(host("web-2"), "etc")},
			groups: []v1alpha1.SourceGroup{group("etc", daily, func(g *v1alpha1.SourceGroup) {
				g.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
			})},
		},
		{
			name:     "of two groups with one tag on a host neither is forgotten: restic cannot tell their snapshots apart",
			hosts:    []*v1alpha1.Host{web},
			groups:   []v1alpha1.SourceGroup{group("a", daily, tagged("x")), group("b", daily, tagged("x")), group("c", daily)},
			want:     []string{"web-1.shop c 7"},
			findings: []string{"SourceGroup a spec.tag TagShared", "SourceGroup b spec.tag TagShared"},
		},
		{
			name:     "not even when the other one keeps everything",
			hosts:    []*v1alpha1.Host{web},
			groups:   []v1alpha1.SourceGroup{group("a", daily), group("b", tagged("a"))},
			findings: []string{"SourceGroup a spec.tag TagShared"},
		},
		{
			name:     "or is the one that was asked for",
			hosts:    []*v1alpha1.Host{web},
			groups:   []v1alpha1.SourceGroup{group("a", daily), group("b", tagged("a"), daily)},
			only:     "b",
			findings: []string{"SourceGroup b spec.tag TagShared"},
		},
		{
			name:     "or was for the host once",
			hosts:    []*v1alpha1.Host{withResults(host("web-2", "role=web"), "old")},
			groups:   []v1alpha1.SourceGroup{group("old", onLabel("role", "db"), tagged("new")), group("new", daily)},
			findings: []string{"SourceGroup new spec.tag TagShared"},
		},
		{
			name:   "the same tag on different hosts is no matter",
			hosts:  []*v1alpha1.Host{web, db},
			groups: []v1alpha1.SourceGroup{group("a", daily, tagged("x"), onLabel("role", "web")), group("b", daily, tagged("x"), onLabel("role", "db"))},
			want:   []string{"db-1.shop x 7", "web-1.shop x 7"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			groups, findings := compile.ForgetGroups(tt.hosts, tt.groups, tt.only)
			var got []string
			for _, g := range groups {
				got = append(got, fmt.Sprintf("%s %s %d", g.ResticHost, g.Tag, g.Retention.KeepDaily))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.findings, foundShort(findings)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if len(groups) > 0 {
				if err := (&wire.Forget{Groups: groups}).Validate(); err != nil {
					t.Errorf("an agent would refuse it: %v", err)
				}
			}
		})
	}
}

func TestASharedTagNamesBothGroupsAndTheHost(t *testing.T) {
	groups := []v1alpha1.SourceGroup{group("a", daily, tagged("x")), group("b", daily, tagged("x")), group("c")}
	hosts := []*v1alpha1.Host{host("web-1")}
	for name, other := range map[int]string{0: "b", 1: "a"} {
		findings := compile.TagConflicts(&groups[name], groups, hosts)
		if len(findings) != 1 || findings[0].Name != groups[name].Name {
			t.Fatalf("findings of %s: %v", groups[name].Name, findings)
		}
		for _, part := range []string{`"x"`, fmt.Sprintf("SourceGroup %q", other), `Host "web-1"`, "a tag of its own"} {
			if !strings.Contains(findings[0].Message, part) {
				t.Errorf("%q does not say %s", findings[0].Message, part)
			}
		}
	}
	if findings := compile.TagConflicts(&groups[2], groups, hosts); findings != nil {
		t.Errorf("a tag of its own: %v", findings)
	}
	if findings := compile.TagConflicts(&groups[0], groups, nil); findings != nil {
		t.Errorf("without a host: %v", findings)
	}
	_, findings := compile.Compile(compile.Input{Host: hosts[0], Groups: groups})
	if diff := cmp.Diff([]string{"SourceGroup a spec.tag TagShared", "SourceGroup b spec.tag TagShared"}, foundShort(findings)); diff != "" {
		t.Errorf("findings of the set (-want +got):\n%s", diff)
	}
}

func TestRetentionTakesEveryRule(t *testing.T) {
	got := compile.Retention(&v1alpha1.Retention{
		KeepLast: 1, KeepHourly: 2, KeepDaily: 3, KeepWeekly: 4, KeepMonthly: 5, KeepYearly: 6, KeepWithin: "1h", KeepWithinHourly: "2h",
		KeepWithinDaily: "3d", KeepWithinWeekly: "4d", KeepWithinMonthly: "5m", KeepWithinYearly: "6y", KeepTags: []string{"keep"},
	})
	want := wire.Retention{
		KeepLast: 1, KeepHourly: 2, KeepDaily: 3, KeepWeekly: 4, KeepMonthly: 5, KeepYearly: 6, KeepWithin: "1h", KeepWithinHourly: "2h",
		KeepWithinDaily: "3d", KeepWithinWeekly: "4d", KeepWithinMonthly: "5m", KeepWithinYearly: "6y", KeepTags: []string{"keep"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if none := compile.Retention(nil); !none.Empty() || none.Validate() == nil {
		t.Error("no retention is one that somebody may forget by")
	}
}

func TestVerifyGroups(t *testing.T) {
	groups := []v1alpha1.SourceGroup{
		group("home", tagged("people")), group("etc"), group("db", onLabel("role", "db")), group("broken", func(g *v1alpha1.SourceGroup) { g.Spec.Includes = nil }),
	}
	etc := wire.VerifyGroup{Name: "etc", ResticHost: "web-1.shop", Tag: "etc"}
	home := wire.VerifyGroup{Name: "home", ResticHost: "web-1.shop", Tag: "people"}
	for name, tt := range map[string]struct {
		only string
		want []wire.VerifyGroup
	}{
		"all valid groups of the host":          {"", []wire.VerifyGroup{etc, home}},
		"one group alone":                       {"home", []wire.VerifyGroup{home}},
		"a group of other hosts is not drilled": {"db", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, compile.VerifyGroups(host("web-1"), groups, tt.only)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
