package restic_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/agent/dump"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/test/env"
)

// These run the real restic, in both supported versions.

const childVariable = "RESTIC_TEST_BACKUP_UNTIL_KILLED"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == dump.Subcommand {
		os.Exit(dump.Main(os.Args[2:])) // this program stands for the agent's
	}
	if role := os.Getenv(childVariable); role != "" {
		backupUntilKilled(role)
		return
	}
	os.Exit(m.Run())
}

func eachRestic(t *testing.T, test func(t *testing.T, runner *restic.Runner)) {
	for _, name := range []string{env.ResticOld, env.Restic} {
		t.Run(name, func(t *testing.T) { test(t, newRunner(t, name)) })
	}
}

func newRunner(t *testing.T, name string) *restic.Runner {
	t.Helper()
	path, err := env.Binary("", name)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := restic.Find(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(binary.Version, strings.TrimPrefix(name, "restic-")+".") {
		t.Fatalf("%s says that it is %s", name, binary.Version)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &restic.Runner{DumpHelper: self, Binary: binary, Hostname: "shop/web-1", CacheDir: t.TempDir(), TempDir: t.TempDir(), RetryLock: -1,
		Grace: 20 * time.Second, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

func localRepository(t *testing.T) restic.Repository {
	return restic.Repository{URL: filepath.Join(t.TempDir(), "repo"), Environment: map[string]string{"RESTIC_PASSWORD": "correct horse"}}
}

func initialised(t *testing.T, r *restic.Runner) restic.Repository {
	t.Helper()
	repository := localRepository(t)
	if err := r.Init(t.Context(), repository, nil); err != nil {
		t.Fatal(err)
	}
	return repository
}

// tree makes a small source with a link, an empty file and a folder.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, size := range map[string]int{"a.txt": 10, "empty": 0, "sub/b.bin": 300_000, "sub/deep/c": 5000} {
		write(t, filepath.Join(dir, name), size)
	}
	if err := os.Symlink("a.txt", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, path string, size int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	if err := os.WriteFile(path, data, 0o640); err != nil {
		t.Fatal(err)
	}
}

// contents maps each path below dir to its type, mode and content.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		value := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			value += " " + info.ModTime().String() + " " + string(data)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			value += " " + target
		}
		out[name] = value
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type watcher struct {
	mu       sync.Mutex
	retries  []restic.Retry
	progress []restic.Progress
	lines    []string
	onStatus func(restic.Progress)
	onRetry  func(restic.Retry)
}

func (w *watcher) Progress(p restic.Progress) {
	w.mu.Lock()
	w.progress = append(w.progress, p)
	w.mu.Unlock()
	if w.onStatus != nil {
		w.onStatus(p)
	}
}

func (w *watcher) Retrying(r restic.Retry) {
	w.mu.Lock()
	w.retries = append(w.retries, r)
	w.mu.Unlock()
	if w.onRetry != nil {
		w.onRetry(r)
	}
}

func (w *watcher) Line(l restic.Line) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, l.Text)
}

func TestRepositoryLifeWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository := localRepository(t)
		if state, err := r.Probe(t.Context(), repository, nil); state != restic.StateMissing || err != nil {
			t.Fatal("before init:", state, err)
		}
		for range 2 {
			if err := r.Init(t.Context(), repository, nil); err != nil {
				t.Fatal("init, and init again:", err)
			}
		}
		if state, err := r.Probe(t.Context(), repository, nil); state != restic.StateExists || err != nil {
			t.Fatal("after init:", state, err)
		}
		wrong := repository
		wrong.Environment = map[string]string{"RESTIC_PASSWORD": "wrong"}
		if _, err := r.Probe(t.Context(), wrong, nil); !errors.Is(err, restic.ErrWrongPassword) {
			t.Error("probe with a wrong password:", err)
		}
		if err := r.Init(t.Context(), wrong, nil); !errors.Is(err, restic.ErrWrongPassword) {
			t.Error("init of an existing repository with a wrong password:", err)
		}
		if _, err := r.Backup(t.Context(), restic.BackupOptions{Repository: wrong, Tag: "t", Paths: []string{"/etc/hostname"}}, nil); !errors.Is(err, restic.ErrWrongPassword) {
			t.Error("backup with a wrong password:", err)
		}
		if _, err := r.Unlock(t.Context(), repository, nil); err != nil {
			t.Error("unlock:", err)
		}
		if err := os.Remove(filepath.Join(repository.URL, "config")); err != nil {
			t.Fatal(err)
		}
		if err := r.Init(t.Context(), repository, nil); !errors.Is(err, restic.ErrHalfInitialised) {
			t.Error("init of a half-initialised repository:", err)
		}
	})
}

func TestBackupAndRestoreWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository, source := initialised(t, r), tree(t)
		seen := &watcher{}
		result, err := r.Backup(t.Context(), restic.BackupOptions{Repository: repository, Tag: "files", Paths: []string{source}}, seen)
		if err != nil || result.CompletedWithErrors || len(result.SnapshotID) != 64 || result.TotalFiles != 4 {
			t.Fatalf("%+v, %v", result, err)
		}
		if !strings.Contains(strings.Join(seen.lines, "\n"), result.SnapshotID[:8]) {
			t.Error("the log does not name the snapshot:", seen.lines)
		}
		other, err := r.Backup(t.Context(), restic.BackupOptions{Repository: repository, Tag: "other", Paths: []string{source}, Excludes: []string{"sub"}}, nil)
		if err != nil || other.TotalFiles != 2 {
			t.Fatalf("a backup with excludes: %+v, %v", other, err)
		}
		snapshots, err := r.Snapshots(t.Context(), repository, restic.SnapshotFilter{Host: r.Hostname, Tag: "files"}, nil)
		if err != nil || len(snapshots) != 1 || snapshots[0].ID != result.SnapshotID || snapshots[0].TotalBytes != result.TotalBytes || !snapshots[0].Time.Equal(result.Started) {
			t.Errorf("%+v, %v", snapshots, err)
		}
		restore := restic.RestoreOptions{Repository: repository, Snapshot: restic.Latest, Filter: restic.SnapshotFilter{Host: r.Hostname, Tag: "files"}}

		full := restore
		full.Target = filepath.Join(t.TempDir(), "new", "folder")
		restored, err := r.Restore(t.Context(), full, nil)
		if err != nil || restored.CompletedWithErrors || restored.SnapshotID != result.SnapshotID || restored.BytesRestored != result.TotalBytes {
			t.Fatalf("%+v, %v", restored, err)
		}
		if diff := cmp.Diff(contents(t, source), contents(t, filepath.Join(full.Target, source))); diff != "" {
			t.Error("the restored tree differs:", diff)
		}

		some := restore
		some.Target, some.Includes, some.Snapshot = t.TempDir(), []string{filepath.Join(source, "sub")}, result.SnapshotID[:8]
		if _, err := r.Restore(t.Context(), some, nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(contents(t, filepath.Join(source, "sub")), contents(t, filepath.Join(some.Target, source, "sub"))); diff != "" {
			t.Error("the included folder differs:", diff)
		}
		if _, err := os.Lstat(filepath.Join(some.Target, source, "a.txt")); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a file that was not included was restored:", err)
		}

		without := restore
		without.Target, without.Excludes = t.TempDir(), []string{"*.bin"}
		if _, err := r.Restore(t.Context(), without, nil); err != nil {
			t.Fatal(err)
		}
		got := contents(t, filepath.Join(without.Target, source))
		if _, there := got["sub/b.bin"]; there || got["sub/deep/c"] == "" {
			t.Error("the excluded file came, or another one did not")
		}

		dry := restore
		dry.Target, dry.DryRun = filepath.Join(t.TempDir(), "untouched"), true
		if planned, err := r.Restore(t.Context(), dry, nil); err != nil || planned.BytesTotal != result.TotalBytes {
			t.Errorf("a dry run: %+v, %v", planned, err)
		}
		if _, err := os.Lstat(dry.Target); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a dry run wrote:", err)
		}

		nothing := restore
		nothing.Target, nothing.Includes = t.TempDir(), []string{"/no/such/path"}
		if _, err := r.Restore(t.Context(), nothing, nil); !errors.Is(err, restic.ErrNothingRestored) {
			t.Error("an include that matches nothing:", err)
		}
		absent := restore
		absent.Target, absent.Filter = t.TempDir(), restic.SnapshotFilter{Host: "nobody"}
		if _, err := r.Restore(t.Context(), absent, nil); !errors.Is(err, restic.ErrNoSuchSnapshot) {
			t.Error("latest of a host without snapshots:", err)
		}
		unknown := restore
		unknown.Target, unknown.Snapshot = t.TempDir(), "0123456789abcdef"
		if _, err := r.Restore(t.Context(), unknown, nil); !errors.Is(err, restic.ErrNoSuchSnapshot) {
			t.Error("a snapshot that does not exist:", err)
		}
	})
}

func TestIncompleteBackupsWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository, source := initialised(t, r), tree(t)
		options := restic.BackupOptions{Repository: repository, Tag: "t", Paths: []string{source, "/no/such/path"}}
		result, err := r.Backup(t.Context(), options, nil)
		if err != nil || !result.CompletedWithErrors || result.SnapshotID == "" || result.Missing.Count != 1 || result.Missing.First[0].Item != "/no/such/path" {
			t.Errorf("a missing path beside a good one: %+v, %v", result, err)
		}
		options.Paths = []string{"/no/such/path", source + "/*.nothing"}
		if result, err = r.Backup(t.Context(), options, nil); !errors.Is(err, restic.ErrNothingToBackUp) || result.SnapshotID != "" || result.Missing.Count != 2 {
			t.Errorf("only missing paths: %+v, %v", result, err)
		}
		// Reading the beginning of one's own memory is an I/O error for everybody, root included.
		options.Paths = []string{source, "/proc/self/mem"}
		result, err = r.Backup(t.Context(), options, nil)
		if err != nil || !result.CompletedWithErrors || result.SnapshotID == "" || result.Unreadable.Count != 1 || result.Unreadable.First[0].Item != "/proc/self/mem" {
			t.Errorf("an unreadable file: %+v, %v", result, err)
		}
	})
}

func TestPartialRestoreWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository, source := initialised(t, r), tree(t)
		backup, err := r.Backup(t.Context(), restic.BackupOptions{Repository: repository, Tag: "t", Paths: []string{source}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		target := t.TempDir()
		write(t, filepath.Join(target, source, "a.txt", "in the way"), 1)
		result, err := r.Restore(t.Context(), restic.RestoreOptions{Repository: repository, Snapshot: backup.SnapshotID, Target: target}, nil)
		if err != nil || !result.CompletedWithErrors || result.Failed.Count != 1 || !strings.HasSuffix(result.Failed.First[0].Item, "/a.txt") {
			t.Errorf("%+v, %v", result, err)
		}
	})
}

func TestRestServerRefusalsWithRealRestic(t *testing.T) {
	t.Parallel()
	server, err := env.StartRestServer(t.Context(), env.RestServerOptions{Dir: t.TempDir(), Users: map[string]string{"web-1": "server pass"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	ca, err := os.ReadFile(server.CA.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	repository := func() restic.Repository {
		return restic.Repository{URL: server.RepositoryURL("web-1"), CABundle: ca, Environment: map[string]string{"RESTIC_PASSWORD": "correct horse",
			"RESTIC_REST_USERNAME": "web-1", "RESTIC_REST_PASSWORD": "server pass"}}
	}
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		good := repository()
		if err := r.Init(t.Context(), good, nil); err != nil {
			t.Fatal(err)
		}
		if result, err := r.Backup(t.Context(), restic.BackupOptions{Repository: good, Tag: "t", Paths: []string{tree(t)}, Limits: restic.Limits{UploadKBps: 50_000}}, nil); err != nil {
			t.Errorf("%+v, %v", result, err)
		}
		denied := repository()
		denied.Environment["RESTIC_REST_PASSWORD"] = "other pass"
		if _, err := r.Probe(t.Context(), denied, nil); !errors.Is(err, restic.ErrUnauthorized) || strings.Contains(err.Error(), "other pass") {
			t.Error("a wrong server password:", err)
		}
		elsewhere := repository()
		elsewhere.URL = server.RepositoryURL("web-2")
		if _, err := r.Probe(t.Context(), elsewhere, nil); !errors.Is(err, restic.ErrUnauthorized) {
			t.Error("another user's path:", err)
		}
		untrusted := repository()
		untrusted.CABundle = nil
		if _, err := r.Probe(t.Context(), untrusted, nil); !errors.Is(err, restic.ErrTLS) {
			t.Error("without the CA bundle:", err)
		}
	})
}

// closedPort returns a URL where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return "rest:http://" + listener.Addr().String() + "/x"
}

func TestUnreachableRepositoryWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		r.UnreachableAfter = 2 * time.Second
		repository := restic.Repository{URL: closedPort(t), Environment: map[string]string{"RESTIC_PASSWORD": "correct horse"}}
		seen := &watcher{}
		if _, err := r.Probe(t.Context(), repository, seen); !errors.Is(err, restic.ErrUnreachable) || !strings.Contains(err.Error(), "connection refused") {
			t.Error("probe:", err)
		}
		if len(seen.retries) == 0 || seen.retries[0].Kind != restic.KindUnreachable || seen.retries[0].Attempts != 1 {
			t.Errorf("retrying was not told: %+v", seen.retries)
		}
		// A password that is part of restic's words must not hide what went wrong.
		repository.Environment["RESTIC_PASSWORD"] = "refused"
		if err := r.Init(t.Context(), repository, nil); !errors.Is(err, restic.ErrUnreachable) || strings.Contains(err.Error(), "refused") {
			t.Error("init:", err)
		}
		r.UnreachableAfter = -1
		ctx, cancel := context.WithCancel(t.Context())
		_, err := r.Backup(ctx, restic.BackupOptions{Repository: repository, Tag: "t", Paths: []string{"/etc/hostname"}}, &watcher{onRetry: func(restic.Retry) { cancel() }})
		if !errors.Is(err, restic.ErrCancelled) {
			t.Error("a backup cancelled while it retries:", err)
		}
	})
}

func TestCancelInTheMiddleLeavesNoLockWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository := initialised(t, r)
		source := t.TempDir()
		write(t, filepath.Join(source, "big"), 64<<20)
		ctx, cancel := context.WithCancel(t.Context())
		result, err := r.Backup(ctx, restic.BackupOptions{Repository: repository, Tag: "t", Paths: []string{source}, Limits: restic.Limits{UploadKBps: 8192}},
			&watcher{onStatus: func(restic.Progress) { cancel() }})
		if !errors.Is(err, restic.ErrCancelled) || result.SnapshotID != "" {
			t.Errorf("%+v, %v", result, err)
		}
		locks, err := os.ReadDir(filepath.Join(repository.URL, "locks"))
		if err != nil || len(locks) != 0 {
			t.Errorf("locks left: %v, %v", locks, err)
		}
		if left, err := os.ReadDir(r.TempDir); err != nil || len(left) != 0 {
			t.Errorf("temporary files left: %v, %v", left, err)
		}
		write(t, filepath.Join(source, "big"), 1000)
		if result, err := r.Backup(t.Context(), restic.BackupOptions{Repository: repository, Tag: "t", Paths: []string{source}}, nil); err != nil {
			t.Errorf("the next backup: %+v, %v", result, err)
		}
	})
}

func TestALockedRepositoryWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository, source := initialised(t, r), tree(t)
		options := restic.BackupOptions{Repository: repository, Tag: "t", Paths: []string{source}}
		if _, err := r.Backup(t.Context(), options, nil); err != nil {
			t.Fatal(err)
		}
		// A check that reads all data at 1 KiB/s holds an exclusive lock for minutes.
		holder := exec.Command(r.Binary.Path, "--limit-download=1", "--no-cache", "check", "--read-data")
		holder.Env = []string{"RESTIC_REPOSITORY=" + repository.URL, "RESTIC_PASSWORD=" + repository.Environment["RESTIC_PASSWORD"], "TMPDIR=" + t.TempDir()}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = holder.Process.Kill(); _ = holder.Wait() }()
		poll(t, "the lock of the holder", func() bool {
			locks, err := os.ReadDir(filepath.Join(repository.URL, "locks"))
			return err == nil && len(locks) > 0
		})
		if _, err := r.Backup(t.Context(), options, nil); !errors.Is(err, restic.ErrLocked) {
			t.Error("a backup meanwhile:", err)
		}
		_ = holder.Process.Kill()
		_ = holder.Wait()
		if _, err := r.Unlock(t.Context(), repository, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Backup(t.Context(), options, nil); err != nil {
			t.Error("a backup after unlock:", err)
		}
	})
}

func poll(t *testing.T, what string, ready func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-deadline:
			t.Fatal("waited in vain for", what)
		case <-tick.C:
		}
	}
}

// A helper process stands for the agent. It runs a long backup, is killed hard, and its restic must go with it.
func TestResticDiesWithTheAgent(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository := initialised(t, r)
		source := t.TempDir()
		write(t, filepath.Join(source, "big"), 40<<20)
		helper := exec.Command(os.Args[0])
		helper.Env = append(os.Environ(), childVariable+"="+strings.Join([]string{r.Binary.Path, repository.URL, source, r.CacheDir, r.TempDir}, "|"))
		output, err := helper.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := helper.Start(); err != nil {
			t.Fatal(err)
		}
		line := make([]byte, len("running\n"))
		if _, err := io.ReadFull(output, line); err != nil {
			t.Fatal("the helper did not get to work:", err)
		}
		children := childrenOf(t, helper.Process.Pid)
		if len(children) != 1 {
			t.Fatalf("the helper has the children %v, want one restic", children)
		}
		if err := helper.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = helper.Wait()
		poll(t, "the end of restic", func() bool { return !alive(children[0]) })
	})
}

func backupUntilKilled(arguments string) {
	a := strings.Split(arguments, "|")
	r := &restic.Runner{Binary: restic.Binary{Path: a[0]}, Hostname: "h", CacheDir: a[3], TempDir: a[4], Limits: restic.Limits{UploadKBps: 16}}
	var once sync.Once
	_, err := r.Backup(context.Background(), restic.BackupOptions{Tag: "t", Paths: []string{a[2]},
		Repository: restic.Repository{URL: a[1], Environment: map[string]string{"RESTIC_PASSWORD": "correct horse"}}},
		&watcher{onStatus: func(restic.Progress) { once.Do(func() { fmt.Println("running") }) }})
	fmt.Println("the backup ended by itself:", err)
}

func childrenOf(t *testing.T, pid int) (children []int) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		data, err := os.ReadFile(task)
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range strings.Fields(string(data)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			children = append(children, child)
		}
	}
	return children
}

// alive is false for a zombie, which nobody may have reaped yet.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(data), ") ")
	return !strings.HasPrefix(after, "Z")
}
