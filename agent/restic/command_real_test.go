package restic_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
)

func commandBackup(repository restic.Repository, script string) restic.BackupOptions {
	return restic.BackupOptions{Repository: repository, Tag: "db", Command: []string{"sh", "-c", script, "argument with spaces"}, FileName: "shop.dump",
		CommandEnv: map[string]string{"RESTIC_MANAGER_SOURCE_GROUP": "db"}}
}

func snapshotCount(t *testing.T, r *restic.Runner, repository restic.Repository) int {
	t.Helper()
	return count(t, r, repository, "", "")
}

func TestABackupOfACommandWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository := initialised(t, r)
		seen := &watcher{}
		result, err := r.Backup(t.Context(), commandBackup(repository, `echo "$0"; env; ls /proc/$$/fd; echo progress >&2; printf last >&2`), seen)
		if err != nil || len(result.SnapshotID) != 64 || result.CompletedWithErrors || result.TotalFiles != 1 {
			t.Fatalf("%+v, %v", result, err)
		}
		var content bytes.Buffer
		if err := r.Dump(t.Context(), repository, result.SnapshotID, "/shop.dump", &content, nil); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(content.String(), "argument with spaces\n") || !strings.Contains(content.String(), "RESTIC_MANAGER_SOURCE_GROUP=db\n") || !strings.HasSuffix(content.String(), "\n0\n1\n2\n") {
			t.Errorf("the command's output: %q", content.String())
		}
		for _, secret := range []string{"RESTIC_PASSWORD", "correct horse", "RESTIC_REPOSITORY", repository.URL} {
			if strings.Contains(content.String(), secret) {
				t.Errorf("the command sees %s", secret)
			}
		}
		log := strings.Join(seen.lines, "\n")
		if !strings.Contains(log, "progress\nlast") || !strings.Contains(log, result.SnapshotID[:8]) {
			t.Errorf("the log lacks the command's messages or the snapshot:\n%s", log)
		}
		snapshots, err := r.Snapshots(t.Context(), repository, restic.SnapshotFilter{Host: r.Hostname, Tag: "db"}, nil)
		if err != nil || len(snapshots) != 1 {
			t.Errorf("%+v, %v", snapshots, err)
		}
		large, err := r.Backup(t.Context(), commandBackup(repository, `head -c 40000000 /dev/urandom`), nil)
		if err != nil || large.TotalBytes != 40_000_000 {
			t.Errorf("a large output: %+v, %v", large, err)
		}
	})
}

func TestAFailedCommandLeavesNoSnapshotWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository := initialised(t, r)
		for _, test := range []struct {
			name, script string
			kind         restic.Kind
			message      string
		}{
			{"fails at once", "echo 'no such database: correct horse' >&2; exit 1", restic.KindCommandFailed, "sh failed with exit code 1; no snapshot was made; it last said: no such database: ***"},
			{"prints a part and fails", "head -c 9000000 /dev/urandom; echo lost >&2; exit 3", restic.KindCommandFailed, "exit code 3; no snapshot was made; it last said: lost"},
			{"prints nothing", "echo 'nothing to do' >&2", restic.KindCommandEmpty, "exit code 0 and printed nothing; no snapshot was made; it last said: nothing to do"},
			{"is killed", "head -c 9000000 /dev/urandom; kill -KILL $$", restic.KindCommandFailed, `sh was ended by the signal "killed"; no snapshot`},
			{"its guard is killed", "head -c 9000000 /dev/urandom; kill -KILL $PPID; sleep 600", restic.KindCommandFailed, "killed before it could tell how it went"},
			{"says that it failed to reach something", "echo 'dial tcp: connection refused (403)' >&2; echo part; exit 1", restic.KindCommandFailed, "connection refused"},
			{"a long line on stderr", "head -c 300000 /dev/zero | tr '\\0' x >&2; exit 1", restic.KindCommandFailed, "exit code 1"},
		} {
			result, err := r.Backup(t.Context(), commandBackup(repository, test.script), nil)
			if restic.KindOf(err) != test.kind || result.SnapshotID != "" || err == nil || !strings.Contains(err.Error(), test.message) || strings.Contains(err.Error(), "correct horse") {
				t.Errorf("%s: %+v, %v", test.name, result, err)
			}
		}
		missing := commandBackup(repository, "")
		missing.Command = []string{"/no/such/pg_dump"}
		if _, err := r.Backup(t.Context(), missing, nil); !errors.Is(err, restic.ErrCommandFailed) || !strings.Contains(err.Error(), `the command "/no/such/pg_dump" cannot be started`) {
			t.Error("a command that does not exist:", err)
		}
		unhelped := *r
		unhelped.DumpHelper = "/no/such/agent"
		if _, err := unhelped.Backup(t.Context(), commandBackup(repository, "echo x"), nil); restic.KindOf(err) != restic.KindNotStarted || !strings.Contains(err.Error(), "/no/such/agent") {
			t.Error("an agent that is not there:", err)
		}
		wrong := repository
		wrong.Environment = map[string]string{"RESTIC_PASSWORD": "wrong"}
		if _, err := r.Backup(t.Context(), commandBackup(wrong, "echo x; exit 1"), nil); !errors.Is(err, restic.ErrWrongPassword) {
			t.Error("a wrong password is not the command's fault:", err)
		}
		if n := snapshotCount(t, r, repository); n != 0 {
			t.Errorf("%d snapshots were made", n)
		}
		if locks, err := os.ReadDir(filepath.Join(repository.URL, "locks")); err != nil || len(locks) > 0 {
			t.Error("locks left:", locks, err)
		}
	})
}

func TestACancelledDumpEndsWithAllItStartedWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository, cleaned := initialised(t, r), filepath.Join(t.TempDir(), "cleaned")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var pids [3]int
		w := &lineWatcher{each: func(text string) {
			if n, _ := fmt.Sscanf(text, "pids %d %d %d", &pids[0], &pids[1], &pids[2]); n == 3 {
				cancel()
			}
		}}
		script := `trap 'touch "` + cleaned + `"; exit 0' TERM; head -c 9000000 /dev/urandom; sleep 600 & echo pids $$ $! $PPID >&2; wait`
		result, err := r.Backup(ctx, commandBackup(repository, script), w)
		if !errors.Is(err, restic.ErrCancelled) || result.SnapshotID != "" {
			t.Errorf("%+v, %v", result, err)
		}
		for _, pid := range pids {
			if pid == 0 {
				t.Fatalf("pids %v", pids)
			}
			// Backup returns after the command closed its pipes, and that is a moment before it is gone.
			poll(t, fmt.Sprintf("the end of %d of %v", pid, pids), func() bool { return !alive(pid) })
		}
		if _, err := os.Stat(cleaned); err != nil {
			t.Error("the command had no time to clean up:", err)
		}
		if n := snapshotCount(t, r, repository); n != 0 {
			t.Errorf("%d snapshots were made", n)
		}
	})
}

func TestADumpEndsWhenResticIsKilledWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository := initialised(t, r)
		var pids [3]int
		w := &lineWatcher{each: func(text string) {
			if n, _ := fmt.Sscanf(text, "pids %d %d %d", &pids[0], &pids[1], &pids[2]); n == 3 {
				front := parentOf(t, pids[2])
				_ = syscall.Kill(parentOf(t, front), syscall.SIGKILL)
			}
		}}
		result, err := r.Backup(t.Context(), commandBackup(repository, `echo part; sleep 600 & echo pids $$ $! $PPID >&2; wait`), w)
		if restic.KindOf(err) != restic.KindKilled || result.SnapshotID != "" {
			t.Errorf("%+v, %v", result, err)
		}
		for _, pid := range pids {
			if pid == 0 {
				t.Fatalf("pids %v", pids)
			}
			// A process closes its pipes a moment before it is gone.
			poll(t, fmt.Sprintf("the end of %d of %v", pid, pids), func() bool { return !alive(pid) })
		}
		if n := snapshotCount(t, r, repository); n != 0 {
			t.Errorf("%d snapshots were made", n)
		}
	})
}

func TestADeadlineEndsADumpWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository := initialised(t, r)
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		if result, err := r.Backup(ctx, commandBackup(repository, `echo part; sleep 600`), nil); !errors.Is(err, restic.ErrDeadline) || result.SnapshotID != "" {
			t.Errorf("%+v, %v", result, err)
		}
		if n := snapshotCount(t, r, repository); n != 0 {
			t.Errorf("%d snapshots were made", n)
		}
	})
}

func parentOf(t *testing.T, pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Error(err)
	}
	var state string
	var parent int
	_, after, _ := strings.Cut(string(data), ") ")
	if _, err := fmt.Sscan(after, &state, &parent); err != nil {
		t.Error(err)
	}
	return parent
}

// lineWatcher hears each line.
type lineWatcher struct {
	mu   sync.Mutex
	each func(text string)
}

func (*lineWatcher) Progress(restic.Progress) {}
func (*lineWatcher) Retrying(restic.Retry)    {}
func (w *lineWatcher) Line(l restic.Line) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.each(l.Text)
}
