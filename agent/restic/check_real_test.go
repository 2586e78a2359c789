package restic_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/test/env"
)

// largest returns the largest file below a folder of a repository.
func largest(t *testing.T, dir string) string {
	t.Helper()
	name, size := "", int64(-1)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > size {
			name, size = path, info.Size()
		}
		return err
	})
	if err != nil || name == "" {
		t.Fatal("no file in", dir, err)
	}
	return name
}

func flip(t *testing.T, path string, offset int64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[offset] ^= 0xff
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCheckFindsDamageWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository, source := initialised(t, r), t.TempDir()
		write(t, filepath.Join(source, "f"), 2<<20)
		if _, err := r.Backup(t.Context(), restic.BackupOptions{Repository: repository, Tag: "t", Paths: []string{source}}, nil); err != nil {
			t.Fatal(err)
		}
		check := func(subset string) (restic.CheckResult, error) {
			return r.Check(t.Context(), restic.CheckOptions{Repository: repository, ReadDataSubset: subset}, nil)
		}
		for _, subset := range []string{"", "1/1", "50%", "0.5%", "1M"} {
			if result, err := check(subset); err != nil || result.Errors != 0 || len(result.Problems) != 0 || result.Message != "no errors were found" {
				t.Errorf("%q of a sound repository: %+v, %v", subset, result, err)
			}
		}
		pack := largest(t, filepath.Join(repository.URL, "data"))
		flip(t, pack, 1000)
		if result, err := check(""); err != nil {
			t.Errorf("without reading data a flipped bit in a file is not found: %+v, %v", result, err)
		}
		found := 0
		for part := 1; part <= 3; part++ {
			result, err := check(fmt.Sprintf("%d/3", part))
			if err == nil {
				continue
			}
			found++
			if !errors.Is(err, restic.ErrDamaged) || result.Errors != 1 || len(result.Problems) != 1 || !strings.Contains(result.Problems[0], "ciphertext verification failed") ||
				len(result.BrokenPacks) != 1 || result.BrokenPacks[0] != filepath.Base(pack) || !strings.Contains(err.Error(), filepath.Base(pack)) {
				t.Errorf("part %d: %+v, %v", part, result, err)
			}
		}
		if found != 1 {
			t.Errorf("%d of the three parts found the damaged pack, want one: all parts together read everything once", found)
		}
		if err := os.Truncate(pack, 5000); err != nil {
			t.Fatal(err)
		}
		if result, err := check("1/1"); !errors.Is(err, restic.ErrDamaged) || !strings.Contains(err.Error(), "unexpected file size") {
			t.Errorf("a pack that was cut: %+v, %v", result, err)
		}
		if err := os.Remove(pack); err != nil {
			t.Fatal(err)
		}
		if result, err := check(""); !errors.Is(err, restic.ErrDamaged) || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("a pack that is gone: %+v, %v", result, err)
		}
		flip(t, largest(t, filepath.Join(repository.URL, "index")), 100)
		if result, err := check(""); !errors.Is(err, restic.ErrDamaged) || !result.SuggestRepairIndex {
			t.Errorf("a damaged index: %+v, %v", result, err)
		}
		flip(t, filepath.Join(repository.URL, "config"), 40)
		if result, err := check(""); !errors.Is(err, restic.ErrDamaged) {
			t.Errorf("a damaged config: %+v, %v", result, err)
		}
	})
}

func TestACheckThatCannotCheckIsNoDamageWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		good := initialised(t, r)
		source := t.TempDir()
		write(t, filepath.Join(source, "f"), 4<<20)
		if _, err := r.Backup(t.Context(), restic.BackupOptions{Repository: good, Tag: "t", Paths: []string{source}}, nil); err != nil {
			t.Fatal(err)
		}
		check := func(ctx context.Context, repository restic.Repository, observer restic.Observer, limits restic.Limits) error {
			result, err := r.Check(ctx, restic.CheckOptions{Repository: repository, ReadDataSubset: "100%", Limits: limits}, observer)
			if errors.Is(err, restic.ErrDamaged) {
				t.Errorf("%+v", result)
			}
			return err
		}
		absent := good
		absent.URL = filepath.Join(t.TempDir(), "none")
		if err := check(t.Context(), absent, nil, restic.Limits{}); !errors.Is(err, restic.ErrNoRepository) {
			t.Error("no repository:", err)
		}
		wrong := good
		wrong.Environment = map[string]string{"RESTIC_PASSWORD": "wrong"}
		if err := check(t.Context(), wrong, nil, restic.Limits{}); !errors.Is(err, restic.ErrWrongPassword) {
			t.Error("a wrong password:", err)
		}
		// 0.19 wraps the notices of retries into JSON in this command alone.
		seen := &watcher{}
		away := good
		away.URL = closedPort(t)
		r.UnreachableAfter = 2 * time.Second
		if err := check(t.Context(), away, seen, restic.Limits{}); !errors.Is(err, restic.ErrUnreachable) {
			t.Error("unreachable:", err)
		}
		if len(seen.retries) == 0 {
			t.Error("retrying was not told")
		}
		r.UnreachableAfter = 0

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- check(ctx, good, nil, restic.Limits{DownloadKBps: 64}) }()
		poll(t, "the lock of the check", func() bool {
			locks, err := os.ReadDir(filepath.Join(good.URL, "locks"))
			return err == nil && len(locks) > 0
		})
		if err := check(t.Context(), good, nil, restic.Limits{}); !errors.Is(err, restic.ErrLocked) {
			t.Error("locked by another check:", err)
		}
		if _, err := r.Forget(t.Context(), restic.ForgetOptions{Repository: good, Host: r.Hostname, Tag: "t", Keep: restic.Retention{KeepLast: 1}}, nil); !errors.Is(err, restic.ErrLocked) {
			t.Error("forget meanwhile:", err)
		}
		if _, err := r.Prune(t.Context(), restic.PruneOptions{Repository: good}, nil); !errors.Is(err, restic.ErrLocked) {
			t.Error("prune meanwhile:", err)
		}
		if removed, err := r.Unlock(t.Context(), good, nil); err != nil || removed != 0 {
			t.Error("unlock meanwhile must leave a living lock alone:", removed, err)
		}
		cancel()
		if err := <-done; !errors.Is(err, restic.ErrCancelled) {
			t.Error("cancelled:", err)
		}
		if locks, err := os.ReadDir(filepath.Join(good.URL, "locks")); err != nil || len(locks) > 0 {
			t.Error("locks left:", locks, err)
		}
	})
}

func TestUnlockCountsStaleLocksWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		a := startAppendOnly(t, "web-1")
		if err := r.Init(t.Context(), a.user, nil); err != nil {
			t.Fatal(err)
		}
		source := t.TempDir()
		write(t, filepath.Join(source, "f"), 8<<20)
		holder := exec.Command(r.Binary.Path, "--limit-upload=16", "backup", "--cacert="+filepath.Join(filepath.Dir(filepath.Dir(a.data)), "pki", "ca.crt"), source)
		holder.Env = []string{"RESTIC_REPOSITORY=" + a.user.URL, "RESTIC_CACHE_DIR=" + t.TempDir(), "TMPDIR=" + t.TempDir()}
		for name, value := range a.user.Environment {
			holder.Env = append(holder.Env, name+"="+value)
		}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = holder.Process.Kill() }()
		poll(t, "the lock of the backup", func() bool {
			locks, err := env.Locks(a.data)
			return err == nil && len(locks) > 0
		})
		_ = holder.Process.Kill()
		_ = holder.Wait()
		if _, err := r.Forget(t.Context(), restic.ForgetOptions{Repository: a.admin, Host: "h", Tag: "t", Keep: restic.Retention{KeepLast: 1}}, nil); !errors.Is(err, restic.ErrLocked) {
			t.Error("the lock of a killed backup does not stop a forget:", err)
		}
		if removed, err := r.Unlock(t.Context(), a.user, nil); err != nil || removed != 1 {
			t.Error("unlock:", removed, err)
		}
		if removed, err := r.Unlock(t.Context(), a.user, nil); err != nil || removed != 0 {
			t.Error("unlock again:", removed, err)
		}
		if result, err := r.Forget(t.Context(), restic.ForgetOptions{Repository: a.admin, Host: "h", Tag: "t", Keep: restic.Retention{KeepLast: 1}}, nil); err != nil {
			t.Errorf("%+v, %v", result, err)
		}
		denied := a.user
		denied.Environment = map[string]string{"RESTIC_PASSWORD": "correct horse", "RESTIC_REST_USERNAME": "web-1", "RESTIC_REST_PASSWORD": "other"}
		if _, err := r.Unlock(t.Context(), denied, nil); !errors.Is(err, restic.ErrUnauthorized) {
			t.Error("unlock without credentials:", err)
		}
	})
}
