package drill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestASampleIsRestoredAndCompared(t *testing.T) {
	f := &fake{t: t, taken: time.Now(), files: map[string]map[string]string{"etc": tree(100), "home": tree(3)}}
	o, heard := options(t, "etc", "home")
	s, err := Run(t.Context(), f, o)
	if err != nil {
		t.Fatal(err)
	}
	if s.FilesVerified != 8 || s.FilesFailed != 0 || s.BytesVerified == 0 || s.FilesMatchingLive != 0 || len(s.Groups) != 2 {
		t.Errorf("summary is %+v", s)
	}
	g := s.Groups[0]
	if g.Name != "etc" || g.SnapshotID != snapshotID || !g.SnapshotTime.Equal(f.taken) || g.FilesInSnapshot != 100 || g.FilesVerified != 5 || g.Error != "" {
		t.Errorf("group is %+v", g)
	}
	if len(f.restored) != 8 {
		t.Errorf("%d files were restored", len(f.restored))
	}
	if outcome, _, message := Verdict(s); outcome != wire.OutcomeSucceeded || message != "" {
		t.Errorf("verdict is %s %q", outcome, message)
	}
	if !heard.say("group home, snapshot 01234567") {
		t.Errorf("the log says %q", heard.lines)
	}
	empty(t, o.ScratchDir)
	finished := &wire.JobFinished{Report: wire.ReportID{Epoch: "e", Seq: 1}, Job: wire.JobRef{JobID: "j", Kind: wire.JobVerify}, Outcome: wire.OutcomeSucceeded, FinishedAt: time.Now(), Verify: &s}
	if err := finished.Validate(); err != nil {
		t.Error(err)
	}
}

func TestWhatIsWrongWithABackupIsFound(t *testing.T) {
	change := func(to string) func(string, string) *string {
		return func(path, content string) *string {
			if !strings.HasSuffix(path, "/1") {
				return &content
			}
			content = strings.ReplaceAll(content, "content", to)
			return &content
		}
	}
	missing := func(path, content string) *string {
		if strings.HasSuffix(path, "/1") {
			return nil
		}
		return &content
	}
	for _, tt := range []struct {
		name     string
		spoil    func(*fake)
		verified int64
		says     string
	}{
		{"a file that is restored with another content", func(f *fake) { f.written = change("CONTENT") }, 2, "not what the snapshot holds"},
		{"a file that is restored too short", func(f *fake) { f.written = change("") }, 2, "bytes, and"},
		{"a file that is not restored", func(f *fake) { f.written = missing }, 2, "was not restored"},
		{"a file that cannot be dumped", func(f *fake) {
			f.dumped, f.dumpErr = missing, &restic.Error{Kind: restic.KindFailed, Message: "ciphertext verification failed"}
		}, 2, "ciphertext verification failed"},
		{"a dump that goes on and on", func(f *fake) { f.dumped = change(strings.Repeat("content", 1000)) }, 2, "not what the snapshot holds"},
		{"a restore that fails altogether", func(f *fake) {
			f.written = func(string, string) *string { return nil }
			f.restoreErr = &restic.Error{Kind: restic.KindNothingRestored, Message: "all items failed"}
		}, 0, "not restored: all items failed"},
		{"a snapshot that cannot be listed", func(f *fake) {
			f.listErr = &restic.Error{Kind: restic.KindDamaged, Message: "tree 1234 is damaged"}
		}, 0, "tree 1234 is damaged"},
		{"a snapshot that cannot be read", func(f *fake) {
			f.snapshotsErr = &restic.Error{Kind: restic.KindFailed, Message: "snapshot is damaged"}
		}, 0, "snapshot is damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{t: t, taken: time.Now(), files: map[string]map[string]string{"etc": tree(3)}}
			tt.spoil(f)
			o, heard := options(t, "etc")
			s, err := Run(t.Context(), f, o)
			if err != nil {
				t.Fatal(err)
			}
			if s.FilesVerified != tt.verified || s.FilesFailed == 0 || len(s.FailedPaths) == 0 || s.Groups[0].FilesFailed != s.FilesFailed {
				t.Errorf("summary is %+v", s)
			}
			if !heard.say(tt.says) {
				t.Errorf("the log does not say %q: %q", tt.says, heard.lines)
			}
			if outcome, reason, message := Verdict(s); outcome != wire.OutcomeFailed || reason != wire.ReasonVerificationFailed || !strings.Contains(message, s.FailedPaths[0]) {
				t.Errorf("verdict is %s %s %q", outcome, reason, message)
			}
			empty(t, o.ScratchDir)
		})
	}
}

func TestCircumstancesAreNoFaultOfTheBackup(t *testing.T) {
	locked := &restic.Error{Kind: restic.KindLocked, Message: "locked"}
	for _, tt := range []struct {
		name  string
		spoil func(*fake)
		kind  restic.Kind
	}{
		{"a lock", func(f *fake) { f.restoreErr = locked }, restic.KindLocked},
		{"a lock before", func(f *fake) { f.snapshotsErr = locked }, restic.KindLocked},
		{"a network that fails in the listing", func(f *fake) { f.listErr = &restic.Error{Kind: restic.KindUnreachable} }, restic.KindUnreachable},
		{"a wrong password at a dump", func(f *fake) {
			f.dumped, f.dumpErr = func(string, string) *string { return nil }, &restic.Error{Kind: restic.KindWrongPassword}
		}, restic.KindWrongPassword},
		{"a full disk", func(f *fake) {
			f.restoreFailures = []restic.Failure{{Item: "/x", Message: "write /x: no space left on device"}}
		}, restic.KindNoSpace},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{t: t, taken: time.Now(), files: map[string]map[string]string{"etc": tree(3)}}
			tt.spoil(f)
			o, _ := options(t, "etc")
			s, err := Run(t.Context(), f, o)
			if restic.KindOf(err) != tt.kind || s.FilesFailed != 0 {
				t.Errorf("error is %v, summary %+v", err, s)
			}
			empty(t, o.ScratchDir)
		})
	}
}

func TestACancelledDrillLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	f := &fake{t: t, taken: time.Now(), files: map[string]map[string]string{"etc": tree(3)}}
	f.dumped = func(_, content string) *string {
		cancel(errors.New("stop"))
		return &content
	}
	o, _ := options(t, "etc")
	if _, err := Run(ctx, f, o); err == nil || err.Error() != "stop" {
		t.Errorf("error is %v", err)
	}
	empty(t, o.ScratchDir)
}

func TestGroupsWithoutFilesFailADrillOnlyWhenThereIsNothingElse(t *testing.T) {
	for _, tt := range []struct {
		name    string
		files   map[string]map[string]string
		outcome wire.Outcome
		reason  wire.Reason
		errors  []string
	}{
		{"one of two groups has no snapshot", map[string]map[string]string{"etc": tree(3)}, wire.OutcomeSucceeded, "", []string{"", "no snapshot"}},
		{"one of two snapshots is empty", map[string]map[string]string{"etc": tree(3), "home": {}}, wire.OutcomeSucceeded, "", []string{"", "no regular files"}},
		{"no group has a snapshot", nil, wire.OutcomeFailed, wire.ReasonNoSnapshot, []string{"no snapshot", "no snapshot"}},
		{"all that there is, is empty", map[string]map[string]string{"etc": {}}, wire.OutcomeFailed, wire.ReasonNothingRestored, []string{"no regular files", "no snapshot"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{t: t, taken: time.Now(), files: tt.files, nodes: []restic.Node{{Path: "/a", Type: "dir"}, {Path: "/b", Type: "symlink"}}}
			o, _ := options(t, "etc", "home")
			s, err := Run(t.Context(), f, o)
			if err != nil {
				t.Fatal(err)
			}
			if outcome, reason, message := Verdict(s); outcome != tt.outcome || reason != tt.reason || (message == "") != (tt.reason == "") {
				t.Errorf("verdict is %s %s %q", outcome, reason, message)
			}
			for i, want := range tt.errors {
				if got := s.Groups[i].Error; (want == "") != (got == "") || !strings.Contains(got, want) {
					t.Errorf("group %d says %q, want %q", i, got, want)
				}
			}
		})
	}
}

func TestTheSampleIsUniformAndBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const files, want, rounds = 50, 10, 4000
	drawn := make([]int, files)
	for range rounds {
		s := newSample(want, 1000, r)
		for i := range files {
			s.see(restic.Node{Type: "dir", Path: "/d"})
			s.see(restic.Node{Type: restic.NodeFile, Path: fmt.Sprint(i), Size: 1})
			s.see(restic.Node{Type: restic.NodeFile, Path: "/inexact", Inexact: true})
			s.see(restic.Node{Type: restic.NodeFile, Path: "/large", Size: 1001})
		}
		got := s.draw()
		if len(got) != want || s.files != 3*files || s.tooLarge != files {
			t.Fatalf("%d of %d files, %d too large", len(got), s.files, s.tooLarge)
		}
		for _, n := range got {
			var i int
			if _, err := fmt.Sscan(n.Path, &i); err != nil {
				t.Fatal(err)
			}
			drawn[i]++
		}
	}
	// Each is drawn 800 times on average, with a deviation of 25.
	for i, n := range drawn {
		if n < 650 || n > 950 {
			t.Errorf("file %d was drawn %d times of %d", i, n, rounds)
		}
	}
}

func TestTheBytesAreBounded(t *testing.T) {
	files := map[string]string{}
	for i := range 20 {
		files[fmt.Sprintf("/nonexistent/%d", i)] = strings.Repeat("x", 100)
	}
	f := &fake{t: t, taken: time.Now(), files: map[string]map[string]string{"a": files, "b": files}}
	o, _ := options(t, "a", "b")
	o.Verify.Sample, o.MaxBytes = 20, 1000
	s, err := Run(t.Context(), f, o)
	if err != nil {
		t.Fatal(err)
	}
	if s.BytesVerified > 1000 || s.Groups[0].FilesVerified != 5 || s.Groups[1].FilesVerified != 5 {
		t.Errorf("summary is %+v", s)
	}
}

func TestAFileThatIsTooLargeIsReadInPart(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "dump.sql")
	content := strings.Repeat("0123456789", 100)
	mtime := time.Now().Add(-time.Hour)
	if err := os.WriteFile(big, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(big, mtime, mtime); err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, change func(*fake)) (wire.VerifySummary, *notes) {
		f := &fake{t: t, taken: time.Now().Add(time.Hour), mtime: mtime, files: map[string]map[string]string{"db": {big: content}}}
		if change != nil {
			change(f)
		}
		o, heard := options(t, "db")
		o.MaxBytes = 256
		s, err := Run(t.Context(), f, o)
		if err != nil {
			t.Fatal(err)
		}
		if len(f.restored) != 0 {
			t.Errorf("restored: %q", f.restored)
		}
		return s, heard
	}
	s, heard := run(t, nil)
	if s.FilesVerified != 1 || s.BytesVerified != 256 || s.FilesMatchingLive != 1 || !heard.say("first 256 bytes are read instead") {
		t.Errorf("summary is %+v, %q", s, heard.lines)
	}
	short := "too short"
	if s, heard = run(t, func(f *fake) { f.dumped = func(string, string) *string { return &short } }); s.FilesFailed != 1 || !heard.say("ends after 9 bytes") {
		t.Errorf("summary is %+v, %q", s, heard.lines)
	}
}

func TestTheLiveFileIsComparedWhileItIsUnchanged(t *testing.T) {
	now := time.Now()
	mtime := now.Add(-time.Hour)
	for _, tt := range []struct {
		name           string
		live           string
		mtime          time.Time
		snapshot       time.Time
		host           string
		matching, fail int64
		dumps          int
		says           string
	}{
		{"the same content", "content", mtime, now.Add(time.Hour), "", 1, 0, 0, ""},
		{"another content behind unchanged times is a fault", "CONTENT", mtime, now.Add(time.Hour), "", 0, 1, 1, "has another content"},
		{"another content that was written after the snapshot is none", "CONTENT", mtime, now.Add(-time.Minute), "", 0, 0, 1, "changed after the snapshot"},
		{"another time of modification says nothing", "CONTENT", now, now.Add(time.Hour), "", 0, 0, 1, ""},
		{"another size neither", "CONTENT!", mtime, now.Add(time.Hour), "", 0, 0, 1, ""},
		{"another host's files are not here", "CONTENT", mtime, now.Add(time.Hour), "shop.web-2", 0, 0, 1, ""},
		{"this host's are", "content", mtime, now.Add(time.Hour), "shop.web-1", 1, 0, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, []byte(tt.live), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, tt.mtime, tt.mtime); err != nil {
				t.Fatal(err)
			}
			f := &fake{t: t, taken: tt.snapshot, mtime: mtime, files: map[string]map[string]string{"etc": {path: "content"}}}
			o, heard := options(t, "etc")
			o.LiveHost = tt.host
			s, err := Run(t.Context(), f, o)
			if err != nil {
				t.Fatal(err)
			}
			if s.FilesMatchingLive != tt.matching || s.FilesFailed != tt.fail || s.FilesVerified != 1-tt.fail || !heard.say(tt.says) || f.dumps != tt.dumps {
				t.Errorf("%d dumps, summary is %+v, log %q", f.dumps, s, heard.lines)
			}
		})
	}
}

func TestTheSnapshotItselfTellsWhetherTheRestoreIsWrongOrTheFileHere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	mtime := time.Now().Add(-time.Hour)
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, mtime, mtime); err != nil {
		t.Fatal(err)
	}
	wrong := "CONTENT"
	f := &fake{t: t, taken: time.Now().Add(time.Hour), mtime: mtime, files: map[string]map[string]string{"etc": {path: "content"}}, written: func(string, string) *string { return &wrong }}
	o, heard := options(t, "etc")
	s, err := Run(t.Context(), f, o)
	if err != nil || s.FilesFailed != 1 || !heard.say("the restored file is not what the snapshot holds") {
		t.Errorf("summary is %+v, %v, log %q", s, err, heard.lines)
	}
}

func TestAPipeInPlaceOfALiveFileIsNotWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	mkfifo(t, path)
	f := &fake{t: t, taken: time.Now(), files: map[string]map[string]string{"etc": {path: "content"}}}
	o, _ := options(t, "etc")
	if s, err := Run(t.Context(), f, o); err != nil || s.FilesVerified != 1 {
		t.Errorf("summary is %+v, %v", s, err)
	}
}

func TestLeftoversOfAKilledAgentAreRemoved(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, scratchPrefix+"1", "group-1", "etc")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(left, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "other"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Join(dir, "nonexistent")} {
		if err := RemoveLeftovers(d); err != nil {
			t.Error(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "other" {
		t.Errorf("left are %v, %v", entries, err)
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no groups":                 func(o *Options) { o.Verify.Groups = nil },
		"no sample":                 func(o *Options) { o.Verify.Sample = 0 },
		"an empty host":             func(o *Options) { o.Verify.Groups[0].ResticHost = "" },
		"a relative scratch folder": func(o *Options) { o.ScratchDir = "verify" },
	} {
		o, _ := options(t, "etc")
		change(&o)
		if _, err := Run(t.Context(), &fake{t: t}, o); err == nil || !strings.Contains(err.Error(), "cannot be run") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestManyFailuresAreCountedAndSomeNamed(t *testing.T) {
	f := &fake{t: t, taken: time.Now(), files: map[string]map[string]string{"etc": tree(60)}, written: func(string, string) *string { return nil }}
	o, _ := options(t, "etc")
	o.Verify.Sample = 50
	s, err := Run(t.Context(), f, o)
	if err != nil {
		t.Fatal(err)
	}
	_, _, message := Verdict(s)
	if s.FilesFailed != 50 || len(s.FailedPaths) != wire.MaxListed || !strings.Contains(message, "50 of 50 files") || !strings.Contains(message, "and 47 more") {
		t.Errorf("%d failed, %d named: %q", s.FilesFailed, len(s.FailedPaths), message)
	}
}
