package compile_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
)

func names(hosts []*v1alpha1.Host) []string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.Name)
	}
	return out
}

var fleet = []v1alpha1.Host{*host("web-2", "role=web"), *host("web-1", "role=web", "zone=a"), *host("db-1", "role=db")}

func TestMatches(t *testing.T) {
	web := host("web-1", "role=web")
	tests := []struct {
		name     string
		selector v1alpha1.Selector
		want     bool
		wantErr  bool
	}{
		{"by name", v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "web-1"}}, true, false},
		{"not by another name", v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "web-2"}}, false, false},
		{"by label", v1alpha1.Selector{HostSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}}, true, false},
		{"an empty selector selects every host", v1alpha1.Selector{HostSelector: &metav1.LabelSelector{}}, true, false},
		{"no selector at all selects none", v1alpha1.Selector{}, false, false},
		{"an invalid selector is an error", v1alpha1.Selector{HostSelector: badSelector}, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := compile.Matches(tt.selector, web)
			if got != tt.want || (err != nil) != tt.wantErr {
				t.Errorf("Matches = %v, %v; want %v, error %v", got, err, tt.want, tt.wantErr)
			}
		})
	}
}

func TestGroupHosts(t *testing.T) {
	tests := []struct {
		name     string
		group    v1alpha1.SourceGroup
		want     []string
		findings []string
	}{
		{"by label, sorted", group("g", onLabel("role", "web")), []string{"web-1", "web-2"}, nil},
		{"nobody matches, which is no fault", group("g", onLabel("role", "nas")), nil, nil},
		{"a named host that does not exist is told", group("g", onHost("gone")), nil, []string{"SourceGroup g spec.hostRef HostNotFound"}},
		{"an invalid selector is told", group("g", func(g *v1alpha1.SourceGroup) { g.Spec.HostSelector = badSelector }), nil,
			[]string{"SourceGroup g spec.hostSelector Invalid"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, findings := compile.GroupHosts(&tt.group, fleet)
			if diff := cmp.Diff(tt.want, names(got)); diff != "" {
				t.Errorf("hosts (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.findings, foundShort(findings)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestScheduleHosts(t *testing.T) {
	groups := []v1alpha1.SourceGroup{group("web", onLabel("role", "web")), group("db", onLabel("role", "db")), group("nas", onLabel("role", "nas"))}
	zoneA := func(s *v1alpha1.Schedule) {
		s.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"zone": "a"}}
	}
	tests := []struct {
		name     string
		schedule v1alpha1.Schedule
		want     []string
		findings []string
	}{
		{"the hosts of all its groups", schedule("s", []string{"web", "db"}), []string{"db-1", "web-1", "web-2"}, nil},
		{"narrowed by its own selector", schedule("s", []string{"web"}, zoneA), []string{"web-1"}, nil},
		{"a group without a shared host is told, the others count", schedule("s", []string{"web", "nas"}), []string{"web-1", "web-2"},
			[]string{"Schedule s spec.sourceGroups NoSharedHost"}},
		{"a group that the selector narrows to nothing is told", schedule("s", []string{"web", "db"}, zoneA), []string{"web-1"},
			[]string{"Schedule s spec.sourceGroups NoSharedHost"}},
		{"a missing group is told, the others count", schedule("s", []string{"web", "gone"}), []string{"web-1", "web-2"},
			[]string{"Schedule s spec.sourceGroups SourceGroupNotFound"}},
		{"an invalid schedule is for nobody", schedule("s", []string{"web"}, cron("@reboot")), nil, []string{"Schedule s spec.cron Invalid"}},
		{"so is one with an invalid selector", schedule("s", []string{"web"}, func(s *v1alpha1.Schedule) { s.Spec.HostSelector = badSelector }), nil,
			[]string{"Schedule s spec.hostSelector Invalid"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, findings := compile.ScheduleHosts(&tt.schedule, groups, fleet)
			if diff := cmp.Diff(tt.want, names(got)); diff != "" {
				t.Errorf("hosts (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.findings, foundShort(findings)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// What a reconciler counts and what an agent gets must be the same.
func TestScheduleHostsAgreesWithCompile(t *testing.T) {
	groups := []v1alpha1.SourceGroup{group("web", onLabel("role", "web")), group("db", onLabel("role", "db")), group("one", onHost("web-2"))}
	for _, list := range [][]string{{"web"}, {"db", "one"}, {"one"}, {"gone"}, {"web", "gone"}} {
		s := schedule("s", list)
		counted, _ := compile.ScheduleHosts(&s, groups, fleet)
		var got []string
		for _, h := range []int{2, 1, 0} {
			set, _ := compile.Compile(compile.Input{Host: &fleet[h], Groups: groups, Schedules: []v1alpha1.Schedule{s}})
			if len(set.Schedules) > 0 {
				got = append(got, fleet[h].Name)
			}
		}
		if diff := cmp.Diff(names(counted), got); diff != "" {
			t.Errorf("groups %v: counted and compiled differ:\n%s", list, diff)
		}
	}
}
