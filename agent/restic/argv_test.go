package restic

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestGlobalArgs(t *testing.T) {
	for _, test := range []struct {
		name   string
		ca     string
		limits Limits
		retry  time.Duration
		want   []string
	}{
		{name: "nothing set", want: []string{"--json", "--cache-dir=/c"}},
		{name: "everything set", ca: "/ca.pem", limits: Limits{UploadKBps: 20, DownloadKBps: 30}, retry: 5 * time.Minute,
			want: []string{"--json", "--cache-dir=/c", "--cacert=/ca.pem", "--limit-upload=20", "--limit-download=30", "--retry-lock=5m0s"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, globals{cacheDir: "/c", caFile: test.ca, limits: test.limits, retryLock: test.retry}.args()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBackupArgs(t *testing.T) {
	got := backupArgs("ns/web-1", BackupOptions{Tag: "etc", Paths: []string{"/etc", "/-odd"}, Excludes: []string{"*.cache", "-x"}, ExcludesIgnoreCase: []string{"*.ISO"},
		ExcludeCaches: true, ExcludeIfPresent: []string{".nobackup"}, ExcludeLargerThan: "1G", OneFileSystem: true, SkipIfUnchanged: true, Verbose: true})
	want := []string{"backup", "--host=ns/web-1", "--tag=etc", "--group-by=host,tags", "--verbose=2", "--exclude=*.cache", "--exclude=-x", "--iexclude=*.ISO",
		"--exclude-caches", "--exclude-if-present=.nobackup", "--exclude-larger-than=1G", "--one-file-system", "--skip-if-unchanged", "--", "/etc", "/-odd"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRestoreArgs(t *testing.T) {
	for _, test := range []struct {
		name    string
		options RestoreOptions
		want    []string
	}{
		{"least", RestoreOptions{Target: "/r"}, []string{"restore", "--target=/r", "--overwrite=if-changed", "--", "abc"}},
		{"everything", RestoreOptions{Target: "/r", Includes: []string{"/etc"}, Overwrite: OverwriteNever, DryRun: true, Sparse: true},
			[]string{"restore", "--target=/r", "--overwrite=never", "--include=/etc", "--dry-run", "--sparse", "--", "abc"}},
		{"excludes and verify", RestoreOptions{Target: "/r", Excludes: []string{"*.o"}, Verify: true},
			[]string{"restore", "--target=/r", "--overwrite=if-changed", "--exclude=*.o", "--verify", "--", "abc"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, restoreArgs("abc", test.options)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSnapshotsArgs(t *testing.T) {
	got := snapshotsArgs(SnapshotFilter{Host: "h", Tag: "t", Paths: []string{"/a", "/b"}, Newest: 1})
	want := []string{"--no-lock", "snapshots", "--host=h", "--tag=t", "--path=/a", "--path=/b", "--latest=1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"--no-lock", "snapshots"}, snapshotsArgs(SnapshotFilter{})); diff != "" {
		t.Error("an empty filter passes no empty value, which restic takes for all hosts or untagged:", diff)
	}
}

func TestOptionsThatResticWouldMisunderstandAreRefused(t *testing.T) {
	backup := func(change func(*BackupOptions)) error {
		o := BackupOptions{Tag: "t", Paths: []string{"/etc"}}
		change(&o)
		return o.check()
	}
	restore := func(change func(*RestoreOptions)) error {
		o := RestoreOptions{Snapshot: "0123abcd", Target: "/r"}
		change(&o)
		return o.check()
	}
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"an empty tag", backup(func(o *BackupOptions) { o.Tag = "" }), "tag is empty"},
		{"a comma in the tag", backup(func(o *BackupOptions) { o.Tag = "a,b" }), "comma"},
		{"no paths", backup(func(o *BackupOptions) { o.Paths = nil }), "no path"},
		{"a relative path", backup(func(o *BackupOptions) { o.Paths = []string{"etc"} }), "not absolute"},
		{"an empty exclude", backup(func(o *BackupOptions) { o.Excludes = []string{""} }), "exclude pattern is empty"},
		{"a broken exclude", backup(func(o *BackupOptions) { o.Excludes = []string{"[a"} }), "not valid"},
		{"a size with a sign", backup(func(o *BackupOptions) { o.ExcludeLargerThan = "-1" }), "not a size"},
		{"a negative limit", backup(func(o *BackupOptions) { o.Limits.UploadKBps = -1 }), "negative"},
		{"a snapshot that is an option", restore(func(o *RestoreOptions) { o.Snapshot = "--help" }), "neither"},
		{"a snapshot with a subfolder", restore(func(o *RestoreOptions) { o.Snapshot = "0123abcd:/etc" }), "neither"},
		{"latest of anything", restore(func(o *RestoreOptions) { o.Snapshot = Latest }), "host or a tag"},
		{"a relative target", restore(func(o *RestoreOptions) { o.Target = "r" }), "not an absolute path"},
		{"no target", restore(func(o *RestoreOptions) { o.Target = "" }), "target is empty"},
		{"includes with excludes", restore(func(o *RestoreOptions) { o.Includes, o.Excludes = []string{"a"}, []string{"b"} }), "not both"},
		{"an unknown overwrite policy", restore(func(o *RestoreOptions) { o.Overwrite = "maybe" }), "overwrite policy"},
		{"verify in a dry run", restore(func(o *RestoreOptions) { o.DryRun, o.Verify = true, true }), "dry run"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !errors.Is(test.err, ErrInvalid) || !strings.Contains(test.err.Error(), test.want) {
				t.Errorf("got %v, want KindInvalid with %q", test.err, test.want)
			}
		})
	}
	if err := backup(func(*BackupOptions) {}); err != nil {
		t.Error("good options are refused:", err)
	}
	if err := restore(func(*RestoreOptions) {}); err != nil {
		t.Error("good options are refused:", err)
	}
}
