package drill

import (
	"crypto/rand"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
	"golang.org/x/sys/unix"
)

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

// real is a local repository with a restic of one version.
type real struct {
	t       *testing.T
	program string
	runner  *restic.Runner
	repo    restic.Repository
	source  string
}

func eachRestic(t *testing.T, test func(*testing.T, *real)) {
	for _, version := range []string{"0.18", "0.19"} {
		t.Run(version, func(t *testing.T) {
			program, err := filepath.Abs("../../.cache/bin/restic-" + version)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(program); err != nil {
				t.Skip("there is no restic; make components builds one")
			}
			binary, err := restic.Find(t.Context(), program)
			if err != nil {
				t.Fatal(err)
			}
			root := t.TempDir()
			r := &real{t: t, program: program, source: filepath.Join(root, "source"), runner: &restic.Runner{Binary: binary, Hostname: "shop.web-1", CacheDir: filepath.Join(root, "cache"),
				TempDir: filepath.Join(root, "tmp"), Logger: slog.New(slog.DiscardHandler)},
				repo: restic.Repository{URL: filepath.Join(root, "repo"), Environment: map[string]string{"RESTIC_PASSWORD": "hunter2"}}}
			if err := r.runner.Init(t.Context(), r.repo, nil); err != nil {
				t.Fatal(err)
			}
			test(t, r)
		})
	}
}

func (r *real) write(name, content string) string {
	r.t.Helper()
	path := filepath.Join(r.source, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// restic runs a command line as a person would.
func (r *real) restic(input string, args ...string) {
	r.t.Helper()
	c := exec.Command(r.program, args...)
	c.Stdin = strings.NewReader(input)
	c.Env = []string{"RESTIC_REPOSITORY=" + r.repo.URL, "RESTIC_PASSWORD=hunter2", "HOME=" + r.t.TempDir(), "RESTIC_CACHE_DIR=" + r.runner.CacheDir}
	if out, err := c.CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
}

func (r *real) backup() {
	r.t.Helper()
	if _, err := r.runner.Backup(r.t.Context(), restic.BackupOptions{Repository: r.repo, Tag: "etc", Paths: []string{r.source}}, nil); err != nil {
		r.t.Fatal(err)
	}
}

func (r *real) drill(change ...func(*Options)) (wire.VerifySummary, *notes, error) {
	r.t.Helper()
	o, heard := options(r.t, "etc")
	o.Repository, o.Verify.Sample = r.repo, 100
	for _, f := range change {
		f(&o)
	}
	s, err := Run(r.t.Context(), r.runner, o)
	empty(r.t, o.ScratchDir)
	return s, heard, err
}

func TestFilesOfAllKindsAreDrilled(t *testing.T) {
	eachRestic(t, func(t *testing.T, r *real) {
		names := []string{"plain", "with space", " leading", "trailing ", "star*", "question?", "[brackets]", "back\\slash", "new\nline", "tab\t", "$HOME", "#comment", "!bang", "-dash",
			"quote'\"", "ünïcödé", "dir/nested", "dir*/nested", "a,b", "~", "%41"}
		for _, name := range names {
			r.write(name, "content of "+name)
		}
		// What a pattern that is not exact would bring along or confuse.
		r.write("starfish", "not star*")
		r.write("dirx/nested", "not dir*/nested")
		r.write("empty", "")
		r.write("large", strings.Repeat("0123456789abcdef", 1<<17))
		sparse := r.write("sparse", "begin")
		if err := os.Truncate(sparse, 8<<20); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(r.write("closed", "nobody may read it"), 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(filepath.Join(r.source, "plain"), filepath.Join(r.source, "hard")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/etc/passwd", filepath.Join(r.source, "link")); err != nil {
			t.Fatal(err)
		}
		mkfifo(t, filepath.Join(r.source, "pipe"))
		regular := int64(len(names) + 7)
		unnameable := r.write("bad\xff", "cannot be named")
		r.backup()
		// Some are compared with the snapshot itself.
		for _, name := range []string{"plain", "star*", " leading", "new\nline", "empty"} {
			if err := os.Chtimes(filepath.Join(r.source, name), time.Now(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		live := regular - 6 // plain has two names
		s, heard, err := r.drill()
		if err != nil {
			t.Fatal(err)
		}
		if s.FilesVerified != regular || s.FilesFailed != 0 || s.FilesMatchingLive != live || s.Groups[0].FilesInSnapshot != regular+1 {
			t.Errorf("%d of %d files (beside %q) verified, %d live: %+v\n%s", s.FilesVerified, regular, unnameable, s.FilesMatchingLive, s, strings.Join(heard.lines, "\n"))
		}
	})
}

func TestASmallSampleOfManyFiles(t *testing.T) {
	eachRestic(t, func(t *testing.T, r *real) {
		for path, content := range tree(300) {
			r.write(filepath.Base(path), content)
		}
		r.backup()
		r.write("1", "changed since, and longer than before")
		s, _, err := r.drill(func(o *Options) { o.Verify.Sample = 3 })
		if err != nil || s.FilesVerified != 3 || s.Groups[0].FilesInSnapshot != 300 {
			t.Errorf("summary is %+v, %v", s, err)
		}
	})
}

func TestACommandsOutputIsDrilled(t *testing.T) {
	eachRestic(t, func(t *testing.T, r *real) {
		r.restic(strings.Repeat("insert into t;\n", 10000), "backup", "--stdin", "--stdin-filename", "dump.sql", "--host", "shop.web-1", "--tag", "etc")
		s, _, err := r.drill()
		if err != nil || s.FilesVerified != 1 || s.BytesVerified != 150000 || s.FilesMatchingLive != 0 || s.Groups[0].FilesInSnapshot != 1 {
			t.Errorf("summary is %+v, %v", s, err)
		}
		// One that does not fit is read in part.
		s, heard, err := r.drill(func(o *Options) { o.MaxBytes = 1000 })
		if err != nil || s.FilesVerified != 1 || s.BytesVerified != 1000 || !heard.say("are read instead") {
			t.Errorf("in part: summary is %+v, %v", s, err)
		}
	})
}

func TestDamageIsFound(t *testing.T) {
	eachRestic(t, func(t *testing.T, r *real) {
		for path := range tree(5) {
			content := make([]byte, 50_000)
			_, _ = rand.Read(content)
			r.write(filepath.Base(path), string(content))
		}
		r.backup()
		damaged := 0
		err := filepath.WalkDir(filepath.Join(r.repo.URL, "data"), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			raw, err := os.ReadFile(path)
			if err != nil || len(raw) < 10_000 { // a pack of trees
				return err
			}
			for i := 100; i < len(raw)-2000; i += 50 {
				raw[i] ^= 0xff
			}
			damaged++
			return os.WriteFile(path, raw, 0o600)
		})
		if err != nil || damaged == 0 {
			t.Fatalf("%d packs damaged, %v", damaged, err)
		}
		s, heard, err := r.drill()
		if err != nil {
			t.Fatal(err)
		}
		if outcome, reason, _ := Verdict(s); outcome != wire.OutcomeFailed || reason != wire.ReasonVerificationFailed || s.FilesVerified+s.FilesFailed != 5 {
			t.Errorf("verdict is %s %s of %+v\n%s", outcome, reason, s, strings.Join(heard.lines, "\n"))
		}
	})
}

func TestABackupThatReadSomethingElseIsFound(t *testing.T) {
	eachRestic(t, func(t *testing.T, r *real) {
		path := r.write("ledger", "one hundred")
		mtime := time.Now().Add(-time.Hour).Truncate(time.Second)
		if err := os.Chtimes(path, mtime, mtime); err != nil {
			t.Fatal(err)
		}
		// The snapshot is dated later than the change below: as if the file had been that way all the time.
		r.restic("", "backup", "--host", "shop.web-1", "--tag", "etc", "--time", time.Now().Add(time.Hour).Format(time.DateTime), r.source)
		if err := os.WriteFile(path, []byte("one million"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, mtime, mtime); err != nil {
			t.Fatal(err)
		}
		s, heard, err := r.drill()
		if err != nil || s.FilesFailed != 1 || s.FailedPaths[0] != path || !heard.say("has another content") {
			t.Errorf("summary is %+v, %v\n%s", s, err, strings.Join(heard.lines, "\n"))
		}
	})
}

func TestAnotherHostsSnapshotsAreNotDrilled(t *testing.T) {
	eachRestic(t, func(t *testing.T, r *real) {
		r.write("file", "content")
		r.restic("", "backup", "--host", "shop.web-2", "--tag", "etc", r.source)
		r.restic("", "backup", "--host", "shop.web-1", "--tag", "other", r.source)
		s, _, err := r.drill()
		if err != nil {
			t.Fatal(err)
		}
		if outcome, reason, message := Verdict(s); outcome != wire.OutcomeFailed || reason != wire.ReasonNoSnapshot || !strings.Contains(message, "etc (there is no snapshot") {
			t.Errorf("verdict is %s %s %q", outcome, reason, message)
		}
		// A wrong password is no verdict about the backup.
		r.repo.Environment = map[string]string{"RESTIC_PASSWORD": "wrong"}
		if s, _, err = r.drill(); restic.KindOf(err) != restic.KindWrongPassword {
			t.Errorf("with a wrong password: %+v, %v", s, err)
		}
	})
}
