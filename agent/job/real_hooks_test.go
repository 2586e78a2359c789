package job

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
)

// saying is a hook that writes its environment into a file of a name, and a line into another.
func saying(dir, name string) []wire.Hook {
	script := "echo " + name + " >>" + dir + "/order; env >" + dir + "/" + name + "; echo out of " + name
	return []wire.Hook{{Command: []string{"/bin/sh", "-c", script}, TimeoutSeconds: 60, OnError: wire.HookOnErrorFail}}
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(raw)), "\n")
}

func TestRealHooksRunInOrderAndKnowWhatHappened(t *testing.T) {
	f := newReal(t, allowAll)
	url, said := f.repository(), t.TempDir()
	j := backupJob("job-1", url)
	j.Backup.Includes = []string{source(t, 10)}
	j.Hooks = &wire.Hooks{PreBackup: saying(said, "host-pre"), PostBackup: saying(said, "host-post"), OnFailure: saying(said, "host-failure")}
	j.Backup.Hooks = &wire.Hooks{PreBackup: saying(said, "group-pre"), PostBackup: saying(said, "group-post"), OnFailure: saying(said, "group-failure")}
	r := f.do(j, wire.OutcomeSucceeded, "")
	if diff := cmp.Diff([]string{"host-pre", "group-pre", "group-post", "host-post"}, lines(t, filepath.Join(said, "order"))); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(r.LogTail, "host preBackup 1: out of host-pre") {
		t.Errorf("log %s", r.LogTail)
	}
	env := lines(t, filepath.Join(said, "host-post"))
	for _, want := range []string{"RESTIC_MANAGER_HOST=web-1", "RESTIC_MANAGER_NAMESPACE=shop", "RESTIC_MANAGER_SOURCE_GROUP=etc", "RESTIC_MANAGER_JOB_ID=job-1", "RESTIC_MANAGER_JOB_KIND=Backup",
		"RESTIC_MANAGER_HOOK=postBackup", "RESTIC_MANAGER_OUTCOME=Succeeded", "RESTIC_MANAGER_EXIT_CODE=0", "RESTIC_MANAGER_SNAPSHOT_ID=" + r.Backup.SnapshotID} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is missing in %q", want, env)
		}
	}
	if strings.Contains(strings.Join(env, "\n"), "correct horse") {
		t.Error("the hook knows the password")
	}

	if err := os.Remove(filepath.Join(said, "order")); err != nil {
		t.Fatal(err)
	}
	j.Ref.JobID = "job-2"
	j.Backup.Hooks.PreBackup[0].Command = []string{"/bin/sh", "-c", "echo it does not freeze; exit 7"}
	r = f.do(j, wire.OutcomeFailed, wire.ReasonHookFailed)
	if diff := cmp.Diff([]string{"host-pre", "group-failure", "host-failure", "group-post", "host-post"}, lines(t, filepath.Join(said, "order"))); diff != "" {
		t.Error(diff)
	}
	if env := lines(t, filepath.Join(said, "group-failure")); !slices.Contains(env, "RESTIC_MANAGER_REASON=HookFailed") || !strings.Contains(r.Message, "it does not freeze") || len(r.HookFailures) != 1 {
		t.Errorf("%+v, environment %q", r, env)
	}
	snapshots(t, url, 1)
}

func snapshots(t *testing.T, url string, want int) {
	t.Helper()
	if files, err := os.ReadDir(filepath.Join(url, "snapshots")); err != nil || len(files) != want {
		t.Errorf("%d snapshots, want %d (%v)", len(files), want, err)
	}
}

func TestRealDumpThatFailsOrIsEmptyLeavesNoSnapshot(t *testing.T) {
	for _, version := range []string{env.Restic, env.ResticOld} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			f := newRealVersion(t, version, allowAll)
			url := f.repository()
			dumpJob := func(id, script string) Job {
				j := backupJob(id, url)
				j.Backup.Includes, j.Backup.Command, j.Backup.FileName = nil, []string{"/bin/sh", "-c", script}, "shop.sql"
				return j
			}
			failed := f.do(dumpJob("failed", "echo half of it; echo no such database >&2; exit 3"), wire.OutcomeFailed, wire.ReasonCommandFailed)
			if !strings.Contains(failed.LogTail, "no such database") || !strings.Contains(failed.Message, "no such database") {
				t.Errorf("%+v", failed)
			}
			f.do(dumpJob("empty", "true"), wire.OutcomeFailed, wire.ReasonCommandEmpty)
			snapshots(t, url, 0)
			good := f.do(dumpJob("good", "env; echo the end"), wire.OutcomeSucceeded, "")
			snapshots(t, url, 1)
			f.submit(restoreJob("restore", url, ""))
			restored := f.result("restore")
			text := strings.Join(lines(t, filepath.Join(restored.Restore.Target, "shop.sql")), "\n")
			if !strings.Contains(text, "RESTIC_MANAGER_JOB_ID=good") || !strings.HasSuffix(text, "the end") || strings.Contains(text, "correct horse") || good.Backup.BytesProcessed == 0 {
				t.Errorf("the dump is %q", text)
			}
		})
	}
}

func TestRealDumpIsStoppedWithItsWholeGroup(t *testing.T) {
	f := newReal(t, allowAll)
	url, dir := f.repository(), t.TempDir()
	fifo := filepath.Join(dir, "pid")
	j := backupJob("job-1", url)
	j.Backup.Includes, j.Backup.FileName = nil, "x"
	j.Backup.Command = []string{"/bin/sh", "-c", "sh -c 'echo $$ >" + fifo + ".new; mv " + fifo + ".new " + fifo + "; exec sleep 600' | cat"}
	f.submit(j)
	settled(t, func() bool { _, err := os.Stat(fifo); return err == nil })
	if err := f.Cancel("job-1"); err != nil {
		t.Fatal(err)
	}
	if r := f.result("job-1"); r.Outcome != wire.OutcomeCancelled {
		t.Errorf("%+v", r)
	}
	pid := lines(t, fifo)[0]
	settled(t, func() bool {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
	snapshots(t, url, 0)
}
