package compile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/compile"
)

func hook(words ...string) v1alpha1.Hook { return v1alpha1.Hook{Command: words} }

func dump(g *v1alpha1.SourceGroup) {
	g.Spec.Includes, g.Spec.Command, g.Spec.FileName = nil, []string{"/usr/bin/pg_dump", "-Fc", "shop"}, "shop.dump"
}

func TestHooksAndCommandsReachTheMachine(t *testing.T) {
	h := host("web-1")
	h.Spec.Hooks = &v1alpha1.Hooks{PreBackup: []v1alpha1.Hook{hook("/bin/freeze", "all")}, PostBackup: []v1alpha1.Hook{hook("/bin/thaw")}}
	g := group("db", dump, func(g *v1alpha1.SourceGroup) {
		g.Spec.Hooks = &v1alpha1.Hooks{OnFailure: []v1alpha1.Hook{{
			Command: []string{"/bin/alarm"}, Timeout: &metav1.Duration{Duration: 1500 * time.Millisecond}, OnError: v1alpha1.HookContinue,
		}}}
	})
	set, findings := compile.Compile(compile.Input{Host: h, Groups: []v1alpha1.SourceGroup{g}})
	if len(findings) > 0 {
		t.Fatalf("findings: %v", findings)
	}
	wantHost := &wire.Hooks{
		PreBackup:  []wire.Hook{{Command: []string{"/bin/freeze", "all"}, TimeoutSeconds: 600, OnError: "Fail"}},
		PostBackup: []wire.Hook{{Command: []string{"/bin/thaw"}, TimeoutSeconds: 600, OnError: "Fail"}},
	}
	if diff := cmp.Diff(wantHost, set.Hooks); diff != "" {
		t.Errorf("the host's hooks (-want +got):\n%s", diff)
	}
	wantGroup := wire.SourceGroup{
		Name: "db", Generation: 1, Tag: "db", Command: []string{"/usr/bin/pg_dump", "-Fc", "shop"}, FileName: "shop.dump",
		Hooks: &wire.Hooks{OnFailure: []wire.Hook{{Command: []string{"/bin/alarm"}, TimeoutSeconds: 2, OnError: "Continue"}}},
	}
	if diff := cmp.Diff(wantGroup, set.Groups[0]); diff != "" {
		t.Errorf("the group (-want +got):\n%s", diff)
	}
	if got := compile.Hooks(&v1alpha1.Hooks{}); got != nil {
		t.Errorf("no hooks are %v", got)
	}
}

func TestGroupsThatNoMachineMayBeGiven(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.SourceGroup)
		field  string
		says   string
	}{
		"a hook that PATH would find": {func(g *v1alpha1.SourceGroup) {
			g.Spec.Hooks = &v1alpha1.Hooks{PreBackup: []v1alpha1.Hook{hook("freeze")}}
		}, "spec", "not an absolute path"},
		"a hook without words":      {func(g *v1alpha1.SourceGroup) { g.Spec.Hooks = &v1alpha1.Hooks{PostBackup: []v1alpha1.Hook{hook()}} }, "spec", "postBackup[0].command is missing"},
		"a command without a file":  {func(g *v1alpha1.SourceGroup) { dump(g); g.Spec.FileName = "" }, "spec", "fileName is missing"},
		"a command beside files":    {func(g *v1alpha1.SourceGroup) { dump(g); g.Spec.Includes = []string{"/etc"} }, "spec", "exactly one of"},
		"a file name with a folder": {func(g *v1alpha1.SourceGroup) { dump(g); g.Spec.FileName = "../x" }, "spec", "not a plain file name"},
		"windows in an unknown time zone": {func(g *v1alpha1.SourceGroup) {
			g.Spec.Bandwidth = &v1alpha1.Bandwidth{TimeZone: "Europe/Zürich"}
		}, "spec.bandwidth.timeZone", "not known"},
		"windows in whatever zone the machine has": {func(g *v1alpha1.SourceGroup) {
			g.Spec.Bandwidth = &v1alpha1.Bandwidth{TimeZone: "Local"}
		}, "spec.bandwidth.timeZone", "differs from machine to machine"},
		"a window that is no time": {func(g *v1alpha1.SourceGroup) {
			g.Spec.Bandwidth = &v1alpha1.Bandwidth{Windows: []v1alpha1.BandwidthWindow{{From: "8:00", To: "18:00"}}}
		}, "spec", "windows[0].from"},
		"a window of no length": {func(g *v1alpha1.SourceGroup) {
			g.Spec.Bandwidth = &v1alpha1.Bandwidth{Windows: []v1alpha1.BandwidthWindow{{From: "08:00", To: "08:00"}}}
		}, "spec", "from and to are equal"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := group("bad", tt.change)
			set, findings := compile.Compile(compile.Input{Host: host("web-1"), Groups: []v1alpha1.SourceGroup{bad, group("etc")}})
			if diff := cmp.Diff([]string{"etc"}, said(set)); diff != "" {
				t.Errorf("set (-want +got):\n%s", diff)
			}
			if len(findings) != 1 || findings[0].Field != tt.field || findings[0].Reason != "Invalid" || !strings.Contains(findings[0].Message, tt.says) {
				t.Errorf("findings %v, want one of %s with %q", findings, tt.field, tt.says)
			}
		})
	}
}

func TestBandwidthWindows(t *testing.T) {
	h := host("web-1")
	h.Spec.Bandwidth = &v1alpha1.Bandwidth{
		UploadKBps: 100, DownloadKBps: 200, TimeZone: "Europe/Zurich",
		Windows: []v1alpha1.BandwidthWindow{{From: "22:00", To: "06:00", UploadKBps: 5}, {From: "12:00", To: "24:00", DownloadKBps: 6}},
	}
	set, findings := compile.Compile(compile.Input{Host: h})
	want := wire.Bandwidth{
		UploadKBps: 100, DownloadKBps: 200, TimeZone: "Europe/Zurich",
		Windows: []wire.BandwidthWindow{{From: "22:00", To: "06:00", UploadKBps: 5}, {From: "12:00", To: "24:00", DownloadKBps: 6}},
	}
	if diff := cmp.Diff(want, set.Bandwidth); diff != "" || len(findings) > 0 {
		t.Errorf("findings %v, bandwidth (-want +got):\n%s", findings, diff)
	}
	h.Spec.Bandwidth.TimeZone = "Mars/Olympus"
	set, findings = compile.Compile(compile.Input{Host: h})
	want.TimeZone = ""
	if diff := cmp.Diff(want, set.Bandwidth); diff != "" {
		t.Errorf("in an unknown time zone (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Host web-1 spec.bandwidth.timeZone Invalid"}, foundShort(findings)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if !strings.Contains(findings[0].Message, "the windows count in UTC") {
		t.Errorf("%q does not say what happens meanwhile", findings[0].Message)
	}
}

// Whatever changes what a machine does changes the revision: else it would never hear of it.
func TestRevisionCoversEverything(t *testing.T) {
	revision := func(change func(*v1alpha1.Host, *v1alpha1.SourceGroup)) string {
		h, g := host("web-1"), group("db", dump)
		h.Spec.Hooks = &v1alpha1.Hooks{PreBackup: []v1alpha1.Hook{hook("/bin/freeze")}}
		h.Spec.Bandwidth = &v1alpha1.Bandwidth{Windows: []v1alpha1.BandwidthWindow{{From: "08:00", To: "18:00", UploadKBps: 1}}}
		if change != nil {
			change(h, &g)
		}
		set, _ := compile.Compile(compile.Input{Host: h, Groups: []v1alpha1.SourceGroup{g}})
		out, err := compile.Revision(set, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	seen := map[string]string{revision(nil): "no change"}
	for name, change := range map[string]func(*v1alpha1.Host, *v1alpha1.SourceGroup){
		"a hook's word": func(h *v1alpha1.Host, _ *v1alpha1.SourceGroup) {
			h.Spec.Hooks.PreBackup[0].Command = []string{"/bin/thaw"}
		},
		"a hook's place": func(h *v1alpha1.Host, _ *v1alpha1.SourceGroup) {
			h.Spec.Hooks.PostBackup, h.Spec.Hooks.PreBackup = h.Spec.Hooks.PreBackup, nil
		},
		"a hook's policy": func(h *v1alpha1.Host, _ *v1alpha1.SourceGroup) { h.Spec.Hooks.PreBackup[0].OnError = "Continue" },
		"a hook's time": func(h *v1alpha1.Host, _ *v1alpha1.SourceGroup) {
			h.Spec.Hooks.PreBackup[0].Timeout = &metav1.Duration{Duration: time.Second}
		},
		"a group's hook": func(_ *v1alpha1.Host, g *v1alpha1.SourceGroup) {
			g.Spec.Hooks = &v1alpha1.Hooks{PreBackup: []v1alpha1.Hook{hook("/x")}}
		},
		"a command's word":  func(_ *v1alpha1.Host, g *v1alpha1.SourceGroup) { g.Spec.Command[1] = "-Fp" },
		"a file name":       func(_ *v1alpha1.Host, g *v1alpha1.SourceGroup) { g.Spec.FileName = "other.dump" },
		"a window":          func(h *v1alpha1.Host, _ *v1alpha1.SourceGroup) { h.Spec.Bandwidth.Windows[0].To = "19:00" },
		"a window's cap":    func(h *v1alpha1.Host, _ *v1alpha1.SourceGroup) { h.Spec.Bandwidth.Windows[0].UploadKBps = 2 },
		"the windows' zone": func(h *v1alpha1.Host, _ *v1alpha1.SourceGroup) { h.Spec.Bandwidth.TimeZone = "Europe/Zurich" },
		"a group's own window": func(_ *v1alpha1.Host, g *v1alpha1.SourceGroup) {
			g.Spec.Bandwidth = &v1alpha1.Bandwidth{Windows: []v1alpha1.BandwidthWindow{{From: "08:00", To: "18:00"}}}
		},
	} {
		r := revision(change)
		if other, again := seen[r]; again {
			t.Errorf("%s gives the revision of %s", name, other)
		}
		seen[r] = name
	}
	retained := func(_ *v1alpha1.Host, g *v1alpha1.SourceGroup) { g.Spec.Retention = &v1alpha1.Retention{KeepLast: 1} }
	if seen[revision(retained)] != "no change" {
		t.Error("a retention, which no machine holds, changes the revision")
	}
}
