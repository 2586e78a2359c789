package compile_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/compile"
)

func host(name string, labels ...string) *v1alpha1.Host {
	h := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{}}}
	for _, l := range labels {
		key, value, _ := strings.Cut(l, "=")
		h.Labels[key] = value
	}
	h.Spec.Repository.URL = "rest:https://backup.example.com/" + name
	return h
}

func group(name string, change ...func(*v1alpha1.SourceGroup)) v1alpha1.SourceGroup {
	g := v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Generation: 1}}
	g.Spec.HostSelector = &metav1.LabelSelector{}
	g.Spec.Includes = []string{"/etc"}
	for _, c := range change {
		c(&g)
	}
	return g
}

func onHost(name string) func(*v1alpha1.SourceGroup) {
	return func(g *v1alpha1.SourceGroup) {
		g.Spec.HostSelector = nil
		g.Spec.HostRef = &v1alpha1.LocalReference{Name: name}
	}
}

func onLabel(key, value string) func(*v1alpha1.SourceGroup) {
	return func(g *v1alpha1.SourceGroup) {
		g.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
	}
}

func schedule(name string, groups []string, change ...func(*v1alpha1.Schedule)) v1alpha1.Schedule {
	s := v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Generation: 1}}
	s.Spec.Cron = "30 2 * * *"
	s.Spec.TimeZone = "Europe/Zurich"
	s.Spec.SourceGroups = groups
	for _, c := range change {
		c(&s)
	}
	return s
}

func cron(expression string) func(*v1alpha1.Schedule) {
	return func(s *v1alpha1.Schedule) { s.Spec.Cron = expression }
}

var badSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "role", Operator: "Sometimes"}}}

// said is a compiled set in short: "group" and "schedule: its groups".
func said(set wire.ScheduleSet) []string {
	var out []string
	for _, g := range set.Groups {
		out = append(out, g.Name)
	}
	for _, s := range set.Schedules {
		out = append(out, s.Name+": "+strings.Join(s.Groups, " "))
	}
	return out
}

func foundShort(findings []compile.Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, fmt.Sprintf("%s %s %s %s", f.Kind, f.Name, f.Field, f.Reason))
	}
	return out
}

func TestCompile(t *testing.T) {
	web := host("web-1", "role=web")
	tests := []struct {
		name      string
		groups    []v1alpha1.SourceGroup
		schedules []v1alpha1.Schedule
		want      []string
		findings  []string
	}{
		{
			name:   "a group that selects the host by label is in the set",
			groups: []v1alpha1.SourceGroup{group("etc", onLabel("role", "web"))},
			want:   []string{"etc"},
		},
		{
			name:   "a group that selects other labels, or names another host, is not",
			groups: []v1alpha1.SourceGroup{group("db", onLabel("role", "db")), group("other", onHost("web-2"))},
		},
		{
			name:      "a schedule fires only those of its groups that are for the host",
			groups:    []v1alpha1.SourceGroup{group("etc"), group("db", onLabel("role", "db"))},
			schedules: []v1alpha1.Schedule{schedule("nightly", []string{"etc", "db"})},
			want:      []string{"etc", "nightly: etc"},
		},
		{
			name:      "a schedule that shares no group with the host stays away",
			groups:    []v1alpha1.SourceGroup{group("etc"), group("db", onLabel("role", "db"))},
			schedules: []v1alpha1.Schedule{schedule("nightly", []string{"db"})},
			want:      []string{"etc"},
		},
		{
			name:   "a schedule whose own selector leaves the host out stays away",
			groups: []v1alpha1.SourceGroup{group("etc")},
			schedules: []v1alpha1.Schedule{schedule("nightly", []string{"etc"}, func(s *v1alpha1.Schedule) {
				s.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"role": "db"}}
			})},
			want: []string{"etc"},
		},
		{
			name:      "a missing group is told, and the schedule fires the others",
			groups:    []v1alpha1.SourceGroup{group("etc")},
			schedules: []v1alpha1.Schedule{schedule("nightly", []string{"etc", "gone"})},
			want:      []string{"etc", "nightly: etc"},
			findings:  []string{"Schedule nightly spec.sourceGroups SourceGroupNotFound"},
		},
		{
			name:      "an invalid cron expression never reaches the host, and its neighbour does",
			groups:    []v1alpha1.SourceGroup{group("etc")},
			schedules: []v1alpha1.Schedule{schedule("bad", []string{"etc"}, cron("61 * * * *")), schedule("good", []string{"etc"})},
			want:      []string{"etc", "good: etc"},
			findings:  []string{"Schedule bad spec.cron Invalid"},
		},
		{
			name:   "nor does an unknown time zone",
			groups: []v1alpha1.SourceGroup{group("etc")},
			schedules: []v1alpha1.Schedule{schedule("bad", []string{"etc"}, func(s *v1alpha1.Schedule) {
				s.Spec.TimeZone = "Mars/Olympus"
			})},
			want:     []string{"etc"},
			findings: []string{"Schedule bad spec.timeZone Invalid"},
		},
		{
			name:     "a group that no agent would take is left out alone",
			groups:   []v1alpha1.SourceGroup{group("empty", func(g *v1alpha1.SourceGroup) { g.Spec.Includes = nil }), group("etc")},
			want:     []string{"etc"},
			findings: []string{"SourceGroup empty spec Invalid"},
		},
		{
			name:   "an invalid label selector is for no host",
			groups: []v1alpha1.SourceGroup{group("bad", func(g *v1alpha1.SourceGroup) { g.Spec.HostSelector = badSelector }), group("etc")},
			want:   []string{"etc"},
		},
		{
			name: "what is being deleted is left out",
			groups: []v1alpha1.SourceGroup{group("etc"), group("old", func(g *v1alpha1.SourceGroup) {
				g.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
			})},
			want: []string{"etc"},
		},
		{
			name:      "names sort, whatever order the objects come in",
			groups:    []v1alpha1.SourceGroup{group("b"), group("a")},
			schedules: []v1alpha1.Schedule{schedule("z", []string{"b", "a"}), schedule("y", []string{"b"})},
			want:      []string{"a", "b", "y: b", "z: a b"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, findings := compile.Compile(compile.Input{Host: web, IdentityHash: "id", Groups: tt.groups, Schedules: tt.schedules})
			if diff := cmp.Diff(tt.want, said(set)); diff != "" {
				t.Errorf("set (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.findings, foundShort(findings)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompileTakesEveryField(t *testing.T) {
	h := host("web-1")
	h.Spec.Suspend = true
	h.Spec.Bandwidth = &v1alpha1.Bandwidth{UploadKBps: 100}
	h.Spec.Repository.CABundle = "pem"
	g := group("etc")
	g.Spec = v1alpha1.SourceGroupSpec{
		Selector: g.Spec.Selector, Includes: []string{"/etc"}, Excludes: []string{"*.cache"}, IExcludes: []string{"*.TMP"},
		ExcludeIfPresent: []string{".nobackup"}, ExcludeCaches: true, ExcludeLargerThan: "2G", OneFileSystem: true, Tag: "system",
		Bandwidth: &v1alpha1.Bandwidth{DownloadKBps: 7},
	}
	s := schedule("nightly", []string{"etc"})
	s.Spec.Suspend = true
	s.Spec.Jitter = &metav1.Duration{Duration: 45 * time.Minute}
	s.Spec.StartingDeadline = &metav1.Duration{Duration: time.Hour}
	s.Spec.WhenDisconnected = v1alpha1.WhenDisconnectedWait
	key := wire.SigningKey{KeyID: wire.KeyIDOf(make([]byte, 32)), PublicKey: make([]byte, 32)}
	set, findings := compile.Compile(compile.Input{
		Host: h, IdentityHash: "id", Groups: []v1alpha1.SourceGroup{g}, Schedules: []v1alpha1.Schedule{s},
		SigningKeys: []wire.SigningKey{key}, TLSPins: []string{"sha256:b", "sha256:a"},
	})
	want := wire.ScheduleSet{
		Label: wire.ScheduleSetLabel, Host: wire.HostRef{Namespace: "shop", Name: "web-1"}, IdentityHash: "id", Suspended: true, ResticHost: "web-1.shop",
		Repository: wire.Repository{URL: h.Spec.Repository.URL, CABundle: "pem", Credential: "repository"},
		Bandwidth:  wire.Bandwidth{UploadKBps: 100},
		Groups: []wire.SourceGroup{{
			Name: "etc", Generation: 1, Tag: "system", Includes: []string{"/etc"}, Excludes: []string{"*.cache"}, IExcludes: []string{"*.TMP"},
			ExcludeIfPresent: []string{".nobackup"}, ExcludeCaches: true, ExcludeLargerThan: "2G", OneFileSystem: true, Bandwidth: wire.Bandwidth{DownloadKBps: 7},
		}},
		Schedules: []wire.Schedule{{
			Name: "nightly", Generation: 1, Cron: "30 2 * * *", TimeZone: "Europe/Zurich", JitterSeconds: 2700, Suspended: true, Groups: []string{"etc"},
			WhenDisconnected: "Wait", StartingDeadlineSeconds: 3600,
		}},
		SigningKeys: []wire.SigningKey{key},
		TLSPins:     []string{"sha256:a", "sha256:b"},
	}
	if diff := cmp.Diff(want, set); diff != "" {
		t.Errorf("set (-want +got):\n%s", diff)
	}
	if len(findings) > 0 {
		t.Errorf("findings: %v", findings)
	}
	set.Serial, set.Revision = 1, "r"
	if _, err := wire.EncodeDocument(&set); err != nil {
		t.Errorf("the agent would refuse it: %v", err)
	}
}

func TestTooManyObjectsForOneHost(t *testing.T) {
	var groups []v1alpha1.SourceGroup
	var schedules []v1alpha1.Schedule
	for i := range wire.MaxGroups + 3 {
		groups = append(groups, group(fmt.Sprintf("g%03d", i)))
		schedules = append(schedules, schedule(fmt.Sprintf("s%03d", i), []string{"g000"}))
	}
	set, findings := compile.Compile(compile.Input{Host: host("web-1"), Groups: groups, Schedules: schedules})
	if len(set.Groups) != wire.MaxGroups || len(set.Schedules) != wire.MaxSchedules {
		t.Errorf("%d groups and %d schedules, want the limits", len(set.Groups), len(set.Schedules))
	}
	if len(findings) != 2 || !strings.Contains(findings[0].Message, `"s100"`) || !strings.Contains(findings[1].Message, `"g100"`) {
		t.Errorf("findings do not name the first that is left out: %v", findings)
	}
}

// Any order of the same objects is the same revision; any change of one of them is another.
func FuzzRevision(f *testing.F) {
	f.Add(uint64(1), uint8(3))
	f.Add(uint64(42), uint8(12))
	f.Fuzz(func(t *testing.T, seed uint64, n uint8) {
		r := rand.New(rand.NewPCG(seed, 0))
		var groups []v1alpha1.SourceGroup
		var schedules []v1alpha1.Schedule
		for i := range int(n%20) + 1 {
			groups = append(groups, group(fmt.Sprintf("g%d", i)))
			schedules = append(schedules, schedule(fmt.Sprintf("s%d", i), []string{fmt.Sprintf("g%d", i), fmt.Sprintf("g%d", i/2)}))
		}
		digests := map[string]string{"repository": "d"}
		revision := func() string {
			set, _ := compile.Compile(compile.Input{
				Host: host("web-1"), IdentityHash: "id", Groups: groups, Schedules: schedules, TLSPins: []string{"a", "b"},
			})
			set.Serial = int64(r.Uint32()) // not part of it
			set.Credentials = []wire.CredentialHash{{Name: "repository", SHA256: fmt.Sprint(r.Uint64())}}
			out, err := compile.Revision(set, digests)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		first := revision()
		if len(first) != 16 {
			t.Errorf("revision %q is not one for a column", first)
		}
		r.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
		r.Shuffle(len(schedules), func(i, j int) { schedules[i], schedules[j] = schedules[j], schedules[i] })
		for i := range schedules {
			names := schedules[i].Spec.SourceGroups
			r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		}
		if again := revision(); again != first {
			t.Errorf("revision %s became %s by another order", first, again)
		}
		groups[r.IntN(len(groups))].Generation++
		changed := revision()
		if changed == first {
			t.Error("a changed group has the same revision")
		}
		digests["repository"] = "e"
		if revision() == changed {
			t.Error("a changed credential has the same revision")
		}
	})
}
