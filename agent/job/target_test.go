package job

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestWhereARestoreMayGo(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"allowed/sub", "other"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, at string) {
		if err := os.Symlink(to, filepath.Join(base, at)); err != nil {
			t.Fatal(err)
		}
	}
	link(filepath.Join(base, "other"), "allowed/out")
	link(filepath.Join(base, "allowed"), "in")
	link(filepath.Join(base, "nowhere"), "allowed/dangling")
	f := newFixture(t, func(o *Options) { o.AllowRestore = []string{filepath.Join(base, "allowed")} })
	own := filepath.Join(f.dir, "restore")

	for _, c := range []struct{ name, target, want, refused string }{
		{"none: a folder of its own", "", filepath.Join(own, "job-1"), ""},
		{"the allowed folder itself", base + "/allowed", base + "/allowed", ""},
		{"below it, existing or not", base + "/allowed/sub/new/deep", base + "/allowed/sub/new/deep", ""},
		{"a link into it", base + "/in/x", base + "/allowed/x", ""},
		{"below the agent's own restore folder", own + "/mine", own + "/mine", ""},
		{"elsewhere", "/etc", "", "its owner can, with /etc in allow.restore of agent.yaml (enroll --allow-restore /etc)"},
		{"a folder with the same beginning", base + "/allowed-not", "", "does not allow"},
		{"out by dots", base + "/allowed/../other", "", "does not allow"},
		{"out by a link", base + "/allowed/out/x", "", "which leads to " + base + "/other/x"},
		{"by a link that leads nowhere", base + "/allowed/dangling/x", "", "leads nowhere"},
		{"through a file", base + "/allowed/file/x", "", "cannot be used"},
		{"the agent's state", f.dir + "/ledger", "", "the agent's own state"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(base, "allowed", "file"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := f.restoreTarget("job-1", c.target)
			if c.refused == "" && (err != nil || got != c.want) || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
				t.Errorf("%q: %q, %v", c.target, got, err)
			}
		})
	}

	f.submit(restoreJob("job-2", "/srv/a", "/etc"))
	if got := f.result("job-2"); got.Outcome != wire.OutcomeFailed || got.Reason != wire.ReasonRefused || !strings.Contains(got.Message, "NotAllowedByMachine: ") {
		t.Errorf("%+v", got)
	}
	none(t, f.restic.calls, "restic was started")
}

func TestAllowingEverythingStillProtectsTheAgent(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.AllowRestore = []string{"/"} })
	if _, err := f.restoreTarget("job-1", "/srv/files"); err != nil {
		t.Error(err)
	}
	for _, target := range []string{f.dir, filepath.Dir(f.dir), "/"} {
		if got, err := f.restoreTarget("job-1", target); err == nil {
			t.Errorf("%s was allowed as %s", target, got)
		}
	}
}

func TestARestoreNeverReachesTheConsentOfTheMachine(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	etc := filepath.Join(base, "etc")
	if err := os.MkdirAll(filepath.Join(etc, "restic-manager"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(etc, "restic-manager"), filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, func(o *Options) {
		o.AllowRestore, o.ConfigDirs = []string{base}, []string{filepath.Join(base, "link")}
	})
	for _, target := range []string{"etc", "etc/restic-manager", "etc/restic-manager/new", "link", "link/new", "."} {
		if got, err := f.restoreTarget("job-1", filepath.Join(base, target)); err == nil || !strings.Contains(err.Error(), "the folder of agent.yaml") {
			t.Errorf("%s: %q, %v", target, got, err)
		}
	}
	for _, target := range []string{"etc/nginx", "etc/restic-manager-2", "srv"} {
		if _, err := f.restoreTarget("job-1", filepath.Join(base, target)); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestARestoreIsTranslatedBothWays(t *testing.T) {
	f := newFixture(t)
	j := restoreJob("job-1", "/srv/a", "")
	j.Restore.Includes, j.Restore.Overwrite, j.Restore.Verify = []string{"/etc/hosts"}, "never", true
	f.submit(j)
	c := f.next("restore")
	target := filepath.Join(f.dir, "restore", "job-1")
	if o := c.restore; o.Snapshot != restic.Latest || o.Filter.Host != "web-1.shop" || o.Filter.Tag != "etc" || o.Target != target ||
		len(o.Includes) != 1 || o.Overwrite != restic.OverwriteNever || !o.Verify {
		t.Errorf("options %+v", o)
	}
	c.done(reply{restore: restic.RestoreResult{SnapshotID: "abcdef0123", CompletedWithErrors: true, Message: "1 item was not restored",
		Failed: restic.Failures{Count: 1, First: []restic.Failure{{Item: "/etc/x"}}}, FilesTotal: 3, FilesRestored: 2, BytesTotal: 9, BytesRestored: 8, ExitCode: 1}})
	got := f.result("job-1")
	if got.Outcome != wire.OutcomeCompletedWithErrors || got.Reason != wire.ReasonPartialRestore || got.Restore.SnapshotID != "abcdef0123" ||
		got.Restore.Target != target || got.Restore.FilesRestored != 2 || got.Restore.FailedPaths[0] != "/etc/x" {
		t.Errorf("%+v %+v", got, got.Restore)
	}
	other := restoreJob("job-2", "/srv/a", "")
	other.Restore.ResticHost = "db-1.shop"
	f.submit(other)
	c = f.next("restore")
	if c.restore.Filter.Host != "db-1.shop" {
		t.Errorf("filter %+v", c.restore.Filter)
	}
	c.done(reply{err: failure(restic.KindNoSuchSnapshot), restore: restic.RestoreResult{SnapshotID: restic.Latest, ExitCode: -1}})
	if got := f.result("job-2"); got.Reason != wire.ReasonNoSnapshot || got.Restore.SnapshotID != "" {
		t.Errorf("%+v", got)
	}
}
