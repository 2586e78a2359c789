package restic

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// These play a restic that misbehaves in ways that the real one does rarely.

var scriptBackup = BackupOptions{Repository: fixtureRepository, Tag: "t", Paths: []string{"/x"}}

func TestExitCodeZeroWithoutASummaryIsAFailure(t *testing.T) {
	_, err := playScript(t, "exit 0").Backup(context.Background(), scriptBackup, nil)
	if KindOf(err) != KindFailed || !strings.Contains(err.Error(), "without a summary") {
		t.Error(err)
	}
	_, err = playScript(t, "exit 0").Restore(context.Background(), RestoreOptions{Repository: fixtureRepository, Snapshot: "01234567", Target: "/r"}, nil)
	if KindOf(err) != KindFailed {
		t.Error(err)
	}
}

func TestAnUnknownExitCodeIsAFailureThatKeepsTheOutput(t *testing.T) {
	_, err := playScript(t, "echo 'unusual: secret' >&2; exit 42").Backup(context.Background(), scriptBackup, nil)
	var e *Error
	if !errors.As(err, &e) || e.Kind != KindFailed || e.ExitCode != 42 || len(e.Output) != 1 || e.Output[0] != "unusual: ***" || e.Message != "unusual: ***" {
		t.Errorf("%+v", err)
	}
}

func TestAForeignSignalIsToldApartFromACancel(t *testing.T) {
	_, err := playScript(t, "kill -KILL $$").Backup(context.Background(), scriptBackup, nil)
	if KindOf(err) != KindKilled {
		t.Error(err)
	}
}

func TestManyFailuresAreCountedAndAFewNamed(t *testing.T) {
	body := `i=0
while [ $i -lt 5000 ]; do
  echo '{"message_type":"error","error":{"message":"denied"},"during":"archival","item":"/x/'$i'"}' >&2
  i=$((i+1))
done
echo '{"message_type":"summary","snapshot_id":"0123456789","total_files_processed":1}'
exit 3`
	result, err := playScript(t, body).Backup(context.Background(), scriptBackup, nil)
	if err != nil || result.Unreadable.Count != 5000 || len(result.Unreadable.First) != MaxNamed || !result.CompletedWithErrors || !strings.Contains(result.Message, "and 4997 more") {
		t.Errorf("%d counted, %d named, %q, %v", result.Unreadable.Count, len(result.Unreadable.First), result.Message, err)
	}
}

func TestARunawayLineDoesNotBlockTheChild(t *testing.T) {
	seen := &recorder{}
	body := `head -c 5000000 /dev/zero | tr '\0' x
echo
echo '{"message_type":"summary","snapshot_id":"0123456789"}'`
	result, err := playScript(t, body).Backup(context.Background(), scriptBackup, seen)
	if err != nil || result.SnapshotID == "" {
		t.Fatal(result, err)
	}
	if got := len(seen.lines[0].Text); got != MaxLine+len(cutMark) {
		t.Errorf("the long line came with %d bytes", got)
	}
}

func TestRecoveryIsTold(t *testing.T) {
	seen := &recorder{}
	body := `echo 'Save(<data/0123>) returned error, retrying after 1.5s: Post "https://u:pw@h/x": dial: connection refused' >&2
echo 'Save(<data/0123>) operation successful after 1 retries' >&2
echo '{"message_type":"summary","snapshot_id":"0123456789"}'`
	if _, err := playScript(t, body).Backup(context.Background(), scriptBackup, seen); err != nil {
		t.Fatal(err)
	}
	if len(seen.retries) != 2 || seen.retries[0].Next != 1500*time.Millisecond || strings.Contains(seen.retries[0].Reason, "pw") || !seen.retries[1].Recovered {
		t.Errorf("%+v", seen.retries)
	}
}

func TestSecretsStayOutOfArgumentsAndLeftovers(t *testing.T) {
	dir := t.TempDir()
	runner := playScript(t, fmt.Sprintf(`tr '\0' '\n' </proc/$$/cmdline >%[1]q/argv; env >%[1]q/env; ls -la "$TMPDIR" >%[1]q/ls
echo '{"message_type":"summary","snapshot_id":"0123456789"}'`, dir))
	repository := Repository{URL: "rest:https://h/x", CABundle: []byte("PEM"), Environment: map[string]string{"RESTIC_PASSWORD": "s3cr3t", "RESTIC_REST_PASSWORD": "p4ss"}}
	if _, err := runner.Backup(context.Background(), BackupOptions{Repository: repository, Tag: "t", Paths: []string{"/x"}}, nil); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	argv := read("argv")
	for _, secret := range []string{"s3cr3t", "p4ss", "rest:https"} {
		if strings.Contains(argv, secret) {
			t.Errorf("%q is in the arguments:\n%s", secret, argv)
		}
	}
	if !strings.Contains(argv, "--cacert=") || !strings.Contains(read("env"), "RESTIC_PASSWORD=s3cr3t\n") {
		t.Errorf("the run got no CA bundle or no password:\n%s", argv)
	}
	if listing := read("ls"); !strings.Contains(listing, "-rw-------") || !strings.Contains(listing, "ca.pem") {
		t.Errorf("the CA bundle is not private:\n%s", listing)
	}
	if left, err := os.ReadDir(runner.TempDir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := os.MkdirAll(filepath.Join(runner.TempDir, "run-old", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := runner.RemoveLeftovers(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(runner.TempDir); len(left) != 0 {
		t.Errorf("RemoveLeftovers left %v", left)
	}
}

func TestAChildThatIgnoresSIGINTIsKilledAndThenUnlocked(t *testing.T) {
	dir := t.TempDir()
	runner := playScript(t, fmt.Sprintf(`case "$*" in *unlock*) touch %q/unlocked; exit 0;; esac
trap '' INT
echo '{"message_type":"status","percent_done":0.5}'
while :; do sleep 1; done`, dir))
	runner.Grace = 50 * time.Millisecond
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("not wanted any more")
	_, err := runner.Backup(ctx, scriptBackup, &recorder{onStatus: func(Progress) { cancel(cause) }})
	if !errors.Is(err, ErrCancelled) || !errors.Is(err, cause) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "unlocked")); err != nil {
		t.Error("unlock did not run after the kill:", err)
	}
}

func TestADeadlineIsNotACancel(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := playScript(t, "exec sleep 600").Backup(ctx, scriptBackup, nil)
	if !errors.Is(err, ErrDeadline) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestASilentServerIsUnreachable(t *testing.T) {
	runner := playScript(t, "exec sleep 600")
	runner.UnreachableAfter = 50 * time.Millisecond
	if _, err := runner.Probe(context.Background(), fixtureRepository, nil); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "no answer") {
		t.Error(err)
	}
}

func TestAProgramThatOutlivesResticIsEndedWithItsGroup(t *testing.T) {
	// A leftover of restic's group would hold the pipes, and the run with them.
	body := `sleep 600 &
echo '{"message_type":"summary","snapshot_id":"0123456789"}'`
	began := time.Now()
	if _, err := playScript(t, body).Backup(context.Background(), scriptBackup, nil); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the run waited %s for a program that restic left behind", took)
	}
}

func TestACancelledContextStartsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := t.TempDir()
	_, err := playScript(t, fmt.Sprintf("touch %q/started", dir)).Backup(ctx, scriptBackup, nil)
	if !errors.Is(err, ErrCancelled) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "started")); err == nil {
		t.Error("restic was started")
	}
}

func TestABinaryThatVanishedIsToldBeforeAnythingElse(t *testing.T) {
	runner := playScript(t, "")
	runner.Binary.Path = "/nonexistent/restic"
	if _, err := runner.Backup(context.Background(), scriptBackup, nil); KindOf(err) != KindNotStarted || !strings.Contains(err.Error(), "/nonexistent/restic") {
		t.Error(err)
	}
}
