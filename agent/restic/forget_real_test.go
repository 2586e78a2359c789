package restic_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/test/env"
)

// plainRestic runs restic as a person would, for what this package does not offer.
func plainRestic(t *testing.T, r *restic.Runner, repository restic.Repository, args ...string) string {
	t.Helper()
	if len(repository.CABundle) > 0 {
		file := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(file, repository.CABundle, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"--cacert=" + file}, args...)
	}
	cmd := exec.Command(r.Binary.Path, args...)
	cmd.Env = []string{"RESTIC_REPOSITORY=" + repository.URL, "RESTIC_CACHE_DIR=" + r.CacheDir}
	for name, value := range repository.Environment {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("restic %q: %v: %s", args, err, out)
	}
	return string(out)
}

// snapshotAt makes a snapshot of a path as of some time ago.
func snapshotAt(t *testing.T, r *restic.Runner, repository restic.Repository, ago time.Duration, host, path string, tags ...string) {
	t.Helper()
	args := []string{"backup", "--host=" + host, "--time=" + time.Now().Add(-ago).Format(time.DateTime), path}
	for _, tag := range tags {
		args = append(args, "--tag="+tag)
	}
	plainRestic(t, r, repository, args...)
}

func count(t *testing.T, r *restic.Runner, repository restic.Repository, host, tag string) int {
	t.Helper()
	snapshots, err := r.Snapshots(t.Context(), repository, restic.SnapshotFilter{Host: host, Tag: tag}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return len(snapshots)
}

const day = 24 * time.Hour

func TestForgetTouchesOneHostAndOneTagWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository := initialised(t, r)
		first, second := tree(t), tree(t)
		for i := range 3 {
			ago := time.Duration(i+1) * day
			// The group's paths changed once: restic's own grouping would keep one of each.
			snapshotAt(t, r, repository, ago, r.Hostname, []string{first, first, second}[i], "etc")
			snapshotAt(t, r, repository, ago, r.Hostname, first, "home")
			snapshotAt(t, r, repository, ago, "shop/web-2", first, "etc")
		}
		options := restic.ForgetOptions{Repository: repository, Host: r.Hostname, Tag: "etc", Keep: restic.Retention{KeepLast: 1}}
		result, err := r.Forget(t.Context(), options, nil)
		if err != nil || result.Kept != 1 || result.Removed != 2 || result.Refused != 0 || result.ExitCode != 0 {
			t.Errorf("%+v, %v", result, err)
		}
		got := []int{count(t, r, repository, r.Hostname, "etc"), count(t, r, repository, r.Hostname, "home"), count(t, r, repository, "shop/web-2", "etc")}
		if diff := cmp.Diff([]int{1, 3, 3}, got); diff != "" {
			t.Error("snapshots of the group, of another group, of another host:", diff)
		}
		if result, err = r.Forget(t.Context(), options, nil); err != nil || result.Kept != 1 || result.Removed != 0 {
			t.Errorf("again: %+v, %v", result, err)
		}
		options.Tag = "unknown"
		if result, err = r.Forget(t.Context(), options, nil); err != nil || result.Kept != 0 || result.Removed != 0 {
			t.Errorf("without any snapshot: %+v, %v", result, err)
		}
	})
}

func TestRetentionRulesWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository, source := initialised(t, r), tree(t)
		for days := range 6 {
			tags := []string{"t"}
			if days == 4 {
				tags = append(tags, "golden")
			}
			snapshotAt(t, r, repository, time.Duration(days)*(day+time.Hour)+time.Hour, "h", source, tags...)
		}
		// Dated in the future: a count would keep these and let go of the real ones.
		snapshotAt(t, r, repository, -30*day, "h", source, "t")
		forget := func(keep restic.Retention) restic.ForgetResult {
			result, err := r.Forget(t.Context(), restic.ForgetOptions{Repository: repository, Host: "h", Tag: "t", Keep: keep}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return result
		}
		if result := forget(restic.Retention{KeepWithin: "3d", KeepTags: []string{"golden", "other"}}); result.Kept != 5 || result.Removed != 2 {
			t.Errorf("three days back from the newest, what is dated in the future, and the golden one should stay: %+v", result)
		}
		if result := forget(restic.Retention{KeepWithinDaily: "2d", KeepHourly: 1, KeepWeekly: 1, KeepMonthly: 1, KeepYearly: 1}); result.Kept < 2 || result.Kept > 4 {
			t.Errorf("every rule is understood: %+v", result)
		}
		if result := forget(restic.Retention{KeepLast: 1}); result.Kept != 1 {
			t.Errorf("%+v", result)
		}
		if snapshots, err := r.Snapshots(t.Context(), repository, restic.SnapshotFilter{Host: "h"}, nil); err != nil || len(snapshots) != 1 || snapshots[0].Time.Before(time.Now()) {
			t.Errorf("a count prefers what is dated in the future: %+v, %v", snapshots, err)
		}
	})
}

// appendOnly is one folder of repositories behind two servers: at the first nobody deletes, at the second the same user can, with another password.
type appendOnly struct {
	data        string
	user, admin restic.Repository
}

func startAppendOnly(t *testing.T, name string) appendOnly {
	t.Helper()
	dir := t.TempDir()
	ca, err := env.EnsureCA(filepath.Join(dir, "pki"), "test")
	if err != nil {
		t.Fatal(err)
	}
	a := appendOnly{data: filepath.Join(dir, "data")}
	bundle, err := os.ReadFile(ca.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	server := func(process, password string, appendOnly bool) restic.Repository {
		s, err := env.StartRestServer(t.Context(), env.RestServerOptions{Dir: dir, Data: a.data, Name: process, CA: ca, AppendOnly: appendOnly, Users: map[string]string{name: password}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Stop() })
		return restic.Repository{URL: s.RepositoryURL(name), CABundle: bundle, Environment: map[string]string{"RESTIC_PASSWORD": "correct horse",
			"RESTIC_REST_USERNAME": name, "RESTIC_REST_PASSWORD": password}}
	}
	a.user = server("user", "user pass", true)
	a.admin = server("admin", "admin pass", false)
	a.data = filepath.Join(a.data, name)
	return a
}

// files lists what lies in a folder of the repository, with sizes.
func (a appendOnly) files(t *testing.T, folder string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	err := filepath.Walk(filepath.Join(a.data, folder), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			out[info.Name()] = info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func total(files map[string]int64) (bytes uint64) {
	for _, size := range files {
		bytes += uint64(size)
	}
	return bytes
}

func TestAnAppendOnlyRepositoryWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		a := startAppendOnly(t, "web-1")
		if err := r.Init(t.Context(), a.user, nil); err != nil {
			t.Fatal(err)
		}
		source := t.TempDir()
		for i := range 3 {
			// Each snapshot shares a part with the next, so that garbage lies beside what is used: prune must repack.
			write(t, filepath.Join(source, "new"), 3<<20)
			write(t, filepath.Join(source, "small", string(rune('a'+i))), 200_000)
			if _, err := r.Backup(t.Context(), restic.BackupOptions{Repository: a.user, Tag: "t", Paths: []string{source}}, nil); err != nil {
				t.Fatal(err)
			}
		}
		forget := restic.ForgetOptions{Repository: a.user, Host: r.Hostname, Tag: "t", Keep: restic.Retention{KeepLast: 1}}

		before := a.files(t, "snapshots")
		seen := &watcher{}
		result, err := r.Forget(t.Context(), forget, seen)
		if !errors.Is(err, restic.ErrForgetRefused) || result.Kept != 1 || result.Removed != 0 || result.Refused != 2 {
			t.Errorf("forget by the user: %+v, %v", result, err)
		}
		if err == nil || !strings.Contains(err.Error(), "append-only") || strings.Contains(err.Error(), "user pass") {
			t.Error("the message does not help:", err)
		}
		if wantExit := map[bool]int{true: 0, false: 3}[strings.HasPrefix(r.Binary.Version, "0.18.")]; result.ExitCode != wantExit {
			t.Errorf("restic %s exited with %d, this version is known for %d", r.Binary.Version, result.ExitCode, wantExit)
		}
		if diff := cmp.Diff(before, a.files(t, "snapshots")); diff != "" {
			t.Error("the user could delete:", diff)
		}
		if !strings.Contains(strings.Join(seen.lines, "\n"), "unable to remove") {
			t.Error("the log does not tell:", seen.lines)
		}

		forget.Repository = a.admin
		if result, err = r.Forget(t.Context(), forget, nil); err != nil || result.Kept != 1 || result.Removed != 2 || result.Refused != 0 {
			t.Fatalf("forget by the admin: %+v, %v", result, err)
		}
		if left := a.files(t, "snapshots"); len(left) != 1 {
			t.Error("left after forget:", left)
		}

		// This is why a prune is never begun without admin credentials: it uploads, and only then it fails.
		packs := a.files(t, "data")
		pruned, err := r.Prune(t.Context(), restic.PruneOptions{Repository: a.user, MaxUnused: "0"}, nil)
		if !errors.Is(err, restic.ErrUnauthorized) || !strings.Contains(err.Error(), "admin credentials") {
			t.Errorf("prune by the user: %+v, %v", pruned, err)
		}
		if grown := a.files(t, "data"); len(grown) <= len(packs) {
			t.Errorf("prune by the user left %d packs of %d; it is known to upload before it fails", len(grown), len(packs))
		}

		size := total(a.files(t, "data"))
		seen = &watcher{}
		pruned, err = r.Prune(t.Context(), restic.PruneOptions{Repository: a.admin, MaxUnused: "0", MaxRepackSize: "100M"}, seen)
		if err != nil {
			t.Fatal(err)
		}
		left := total(a.files(t, "data"))
		if left >= size || size-left < 6<<20 {
			t.Errorf("prune by the admin shrank the repository from %d to %d bytes", size, left)
		}
		// restic rounds, and does not count the headers of packs.
		if !near(pruned.BytesRemaining, left) || !near(pruned.BytesFreed, size-left) || pruned.BytesUnused != 0 {
			t.Errorf("prune freed %d bytes of %d and says %+v", size-left, size, pruned)
		}
		if len(seen.progress) == 0 || !slices.ContainsFunc(seen.lines, func(l string) bool { return strings.HasPrefix(l, "total prune:") }) {
			t.Errorf("prune was not told: %d progress, %q", len(seen.progress), seen.lines)
		}
		if check, err := r.Check(t.Context(), restic.CheckOptions{Repository: a.user, ReadDataSubset: "100%"}, nil); err != nil {
			t.Errorf("check by the user: %+v, %v", check, err)
		}
		raw, err := r.Stats(t.Context(), a.user, restic.Limits{}, nil)
		if err != nil || !near(raw, left) {
			t.Errorf("stats of %d bytes: %d, %v", left, raw, err)
		}
		if locks := a.files(t, "locks"); len(locks) > 0 {
			t.Error("locks left:", locks)
		}
	})
}

// near allows a tenth.
func near(a, b uint64) bool { return a*10 <= b*11 && b*10 <= a*11 }

func TestAPruneThatLeavesSomethingUnusedWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository, source := initialised(t, r), t.TempDir()
		for range 2 {
			write(t, filepath.Join(source, "f"), 2<<20)
			write(t, filepath.Join(source, "g"), 100)
			if _, err := r.Backup(t.Context(), restic.BackupOptions{Repository: repository, Tag: "t", Paths: []string{source}}, nil); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(source, "kept"), make([]byte, 5000), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.Forget(t.Context(), restic.ForgetOptions{Repository: repository, Host: r.Hostname, Tag: "t", Keep: restic.Retention{KeepLast: 1}}, nil); err != nil {
			t.Fatal(err)
		}
		if result, err := r.Prune(t.Context(), restic.PruneOptions{Repository: repository, MaxUnused: "unlimited", MaxRepackSize: "1k"}, nil); err != nil || result.BytesRemaining < 2<<20 {
			t.Errorf("%+v, %v", result, err)
		}
	})
}
