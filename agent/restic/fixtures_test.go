package restic

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The fixtures are what restic 0.18.1 and 0.19.1 really printed (testdata/record.sh); a script plays them to a whole Runner, pipes included.
var fixtureVersions = []string{"0.18.1", "0.19.1"}

func playFixture(t *testing.T, version, name string) *Runner {
	t.Helper()
	base, err := filepath.Abs(filepath.Join("testdata", version, name))
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(base + ".code")
	if err != nil {
		t.Fatal(err)
	}
	return playScript(t, fmt.Sprintf("cat %q.stderr >&2\ncat %q.stdout\nexit %s", base, base, strings.TrimSpace(string(code))))
}

func playScript(t *testing.T, body string) *Runner {
	t.Helper()
	path := filepath.Join(t.TempDir(), "restic")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return &Runner{Binary: Binary{Path: path, Version: "0"}, Hostname: "h", CacheDir: t.TempDir(), TempDir: t.TempDir(), Logger: quiet()}
}

var fixtureRepository = Repository{URL: "/tmp/restic-fixtures/repo", Environment: map[string]string{"RESTIC_PASSWORD": "secret"}}

func eachVersion(t *testing.T, test func(t *testing.T, version string)) {
	for _, version := range fixtureVersions {
		t.Run(version, func(t *testing.T) { test(t, version) })
	}
}

func TestBackupResultsFromRecordedRuns(t *testing.T) {
	const src = "/tmp/restic-fixtures/src"
	for _, test := range []struct {
		fixture  string
		kind     Kind
		snapshot bool
		partial  bool
		missing  []string
		bad      []string
		message  string
	}{
		{fixture: "backup-ok", snapshot: true},
		{fixture: "backup-missing", snapshot: true, partial: true, missing: []string{"/tmp/restic-fixtures/gone", "/tmp/restic-fixtures/*.txt"}, message: "globs are not expanded"},
		{fixture: "backup-all-missing", kind: KindNothingToBackUp, missing: []string{"/tmp/restic-fixtures/gone"}, message: "/tmp/restic-fixtures/gone"},
		{fixture: "backup-unreadable", snapshot: true, partial: true, bad: []string{"/proc/self/mem"}, message: "/proc/self/mem"},
		{fixture: "locked", kind: KindLocked, message: "locked"},
	} {
		t.Run(test.fixture, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version string) {
				seen := &recorder{}
				result, err := playFixture(t, version, test.fixture).Backup(context.Background(),
					BackupOptions{Repository: fixtureRepository, Tag: "t", Paths: []string{src}}, seen)
				if KindOf(err) != test.kind {
					t.Fatalf("kind %q, want %q: %v", KindOf(err), test.kind, err)
				}
				if (result.SnapshotID != "") != test.snapshot || result.CompletedWithErrors != test.partial {
					t.Errorf("snapshot %q, completed with errors %v", result.SnapshotID, result.CompletedWithErrors)
				}
				items := func(f Failures) (out []string) {
					for _, failure := range f.First {
						out = append(out, failure.Item)
					}
					return out
				}
				if got := items(result.Missing); fmt.Sprint(got) != fmt.Sprint(test.missing) || result.Missing.Count != len(test.missing) {
					t.Errorf("missing %d: %q", result.Missing.Count, got)
				}
				if got := items(result.Unreadable); fmt.Sprint(got) != fmt.Sprint(test.bad) || result.Unreadable.Count != len(test.bad) {
					t.Errorf("unreadable %d: %q", result.Unreadable.Count, got)
				}
				said := result.Message
				if err != nil {
					said = err.Error()
				}
				if !strings.Contains(said, test.message) {
					t.Errorf("the message is %q, want %q in it", said, test.message)
				}
				if test.snapshot && (result.TotalFiles < 2 || result.TotalBytes < 3_000_000 || result.Duration <= 0) {
					t.Errorf("the summary was not read: %+v", result)
				}
				if test.fixture == "backup-unreadable" && !strings.Contains(seen.text(), "new "+src+"/a") && !strings.Contains(seen.text(), "unchanged "+src+"/a") {
					t.Errorf("the verbose lines are missing in the log:\n%s", seen.text())
				}
			})
		})
	}
}

func TestRestoreResultsFromRecordedRuns(t *testing.T) {
	for _, test := range []struct {
		fixture  string
		includes []string
		kind     Kind
		partial  bool
		failed   int
		message  string
	}{
		{fixture: "restore-ok"},
		{fixture: "restore-include", includes: []string{"/tmp/restic-fixtures/src/dir"}},
		{fixture: "restore-dry-run"},
		{fixture: "restore-nothing", includes: []string{"/nope"}, kind: KindNothingRestored, message: "/nope"},
		{fixture: "restore-partial", partial: true, failed: 1, message: "/tmp/restic-fixtures/src/a"},
		{fixture: "restore-all-failed", includes: []string{"/tmp/restic-fixtures/src/a"}, kind: KindNothingRestored, failed: 1, message: "all 1 items failed"},
		{fixture: "restore-no-snapshot", kind: KindNoSuchSnapshot},
		{fixture: "restore-bad-target", kind: KindFailed, message: "cannot create target directory"},
	} {
		t.Run(test.fixture, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version string) {
				result, err := playFixture(t, version, test.fixture).Restore(context.Background(),
					RestoreOptions{Repository: fixtureRepository, Snapshot: "0123456789abcdef", Target: "/r", Includes: test.includes}, nil)
				if KindOf(err) != test.kind {
					t.Fatalf("kind %q, want %q: %v", KindOf(err), test.kind, err)
				}
				if result.CompletedWithErrors != test.partial || result.Failed.Count != test.failed {
					t.Errorf("completed with errors %v, %d failed", result.CompletedWithErrors, result.Failed.Count)
				}
				said := result.Message
				if err != nil {
					said = err.Error()
				}
				if !strings.Contains(said, test.message) {
					t.Errorf("the message is %q, want %q in it", said, test.message)
				}
				if test.kind == "" && result.FilesRestored == 0 {
					t.Errorf("the summary was not read: %+v", result)
				}
			})
		})
	}
}

func TestProbeAndInitFromRecordedRuns(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		ctx := context.Background()
		probe := func(fixture string, observer Observer) (State, error) {
			return playFixture(t, version, fixture).Probe(ctx, fixtureRepository, observer)
		}
		if state, err := probe("probe-ok", nil); state != StateExists || err != nil {
			t.Error("an existing repository:", state, err)
		}
		if state, err := probe("no-repository", nil); state != StateMissing || err != nil {
			t.Error("no repository:", state, err)
		}
		for fixture, kind := range map[string]Kind{"wrong-password": KindWrongPassword, "unauthorized": KindUnauthorized} {
			if _, err := probe(fixture, nil); KindOf(err) != kind {
				t.Errorf("%s is %v", fixture, err)
			}
		}
		seen := &recorder{}
		if _, err := probe("untrusted", seen); KindOf(err) != KindTLS {
			t.Error("an untrusted certificate:", err)
		}
		if len(seen.retries) < permanentAttempts || seen.retries[0].Kind != KindTLS {
			t.Errorf("retries: %+v", seen.retries)
		}
		seen = &recorder{}
		probe("unreachable", seen)
		if len(seen.retries) == 0 || seen.retries[0].Kind != KindUnreachable || seen.retries[0].Next <= 0 || !strings.Contains(seen.retries[0].Reason, "connection refused") {
			t.Errorf("retries: %+v", seen.retries)
		}
		for fixture, kind := range map[string]Kind{"init-ok": "", "half-initialised": KindHalfInitialised, "init-unreachable": KindUnreachable} {
			if err := playFixture(t, version, fixture).Init(ctx, fixtureRepository, nil); KindOf(err) != kind {
				t.Errorf("init %s is %v", fixture, err)
			}
		}
		snapshots, err := playFixture(t, version, "snapshots").Snapshots(ctx, fixtureRepository, SnapshotFilter{Host: "h"}, nil)
		if err != nil || len(snapshots) == 0 || snapshots[0].Hostname != "h" || len(snapshots[0].ID) != 64 || snapshots[0].TotalBytes == 0 {
			t.Errorf("snapshots: %+v, %v", snapshots, err)
		}
	})
}
