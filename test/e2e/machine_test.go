package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
	"github.com/restic-manager/restic-manager/test/tree"
)

// noise adds a file that does not compress.
func (w *world) noise(dir string, size int) {
	w.Helper()
	content := make([]byte, size)
	random, err := os.Open("/dev/urandom")
	w.must(err)
	defer random.Close()
	_, err = random.Read(content)
	w.must(err)
	w.must(os.WriteFile(filepath.Join(dir, "noise"), content, 0o644))
}

func TestHooksAndCommandsThatTheMachineDoesNotAllowAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "consent")
	w.host("one")
	dir := w.files("one", "a")
	hooked := w.group("hooked", "one", dir)
	w.must(w.change(hooked, func() {
		hooked.Spec.Hooks = &v1alpha1.Hooks{PreBackup: []v1alpha1.Hook{{Command: []string{"/bin/true"}}}}
	}))
	w.create(&v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Name: "dump"}, Spec: v1alpha1.SourceGroupSpec{
		Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "one"}}, Command: []string{"/bin/echo", "dump"}, FileName: "dump",
	}})
	w.group("plain", "one", dir)
	w.agent("one") // allows nothing
	w.settled("one")
	w.hostCondition("one", v1alpha1.ConditionAllowedByMachine, metav1.ConditionFalse, "hooked", "dump", "agent.yaml")
	for _, group := range []string{"hooked", "dump"} {
		w.backup(group, "one", group)
		if job := w.phase(group, v1alpha1.JobFailed); job.Status.Result.Reason != v1alpha1.ReasonNotAllowedByMachine {
			t.Errorf("the result of %s is %+v", group, job.Status.Result)
		}
	}
	w.backup("plain", "one", "plain")
	w.phase("plain", v1alpha1.JobSucceeded)
}

func TestHooksRunAroundABackupAndTellWhatHappened(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "hooks")
	w.host("one")
	dir := w.files("one", "a")
	said := filepath.Join(dir, "..", "said")
	say := func(what string) v1alpha1.Hook {
		return v1alpha1.Hook{Command: []string{"/bin/sh", "-c", "echo " + what + " $RESTIC_MANAGER_OUTCOME $RESTIC_MANAGER_REASON >>" + said}}
	}
	host := w.mustHost("one")
	w.must(w.change(host, func() {
		host.Spec.Hooks = &v1alpha1.Hooks{PreBackup: []v1alpha1.Hook{say("host-pre")}, PostBackup: []v1alpha1.Hook{say("host-post")}}
	}))
	good := w.group("good", "one", dir)
	w.must(w.change(good, func() {
		good.Spec.Hooks = &v1alpha1.Hooks{PreBackup: []v1alpha1.Hook{say("pre")}, PostBackup: []v1alpha1.Hook{say("post")}, OnFailure: []v1alpha1.Hook{say("failure")}}
	}))
	bad := w.group("bad", "one", dir)
	w.must(w.change(bad, func() {
		bad.Spec.Hooks = &v1alpha1.Hooks{
			PreBackup: []v1alpha1.Hook{{Command: []string{"/bin/sh", "-c", "echo cannot freeze; exit 7"}}},
			OnFailure: []v1alpha1.Hook{say("failure")}, PostBackup: []v1alpha1.Hook{say("post")},
		}
	}))
	w.agent("one", "--allow-hooks=allow")
	w.settled("one")
	w.hostCondition("one", v1alpha1.ConditionAllowedByMachine, metav1.ConditionTrue)

	w.backup("good", "one", "good")
	w.phase("good", v1alpha1.JobSucceeded)
	expect := func(want string) {
		t.Helper()
		raw, err := os.ReadFile(said)
		w.must(err)
		if got := string(raw); got != want {
			t.Errorf("the hooks said\n%swant\n%s", got, want)
		}
		w.must(os.Remove(said))
	}
	expect("host-pre\npre\npost Succeeded\nhost-post Succeeded\n")

	w.backup("bad", "one", "bad")
	job := w.phase("bad", v1alpha1.JobFailed)
	if job.Status.Result.Reason != "HookFailed" || !strings.Contains(job.Status.LogTail, "cannot freeze") {
		t.Errorf("the result is %+v, the log %s", job.Status.Result, job.Status.LogTail)
	}
	expect("host-pre\nfailure Failed HookFailed\npost Failed HookFailed\nhost-post Failed HookFailed\n")
}

func TestALockThatAKilledMachineLeftDoesNotStopMaintenance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "stale-lock")
	w.slowBackup(2048)
	group, err := get(t.Context(), w, "data", &v1alpha1.SourceGroup{})
	w.must(err)
	w.retention(group)
	agent := w.agent("one")
	w.settled("one")
	w.running("killed")
	w.must(agent.Kill())
	w.must(agent.Start(t.Context()))
	w.phase("killed", v1alpha1.JobFailed)
	w.job("forget", v1alpha1.HostJobSpec{HostRef: v1alpha1.LocalReference{Name: "one"}, Kind: v1alpha1.HostJobForget})
	if job := w.phase("forget", v1alpha1.JobSucceeded); job.Status.Result.LocksRemoved == 0 {
		t.Errorf("the result is %+v, want a lock removed", job.Status.Result)
	}
	w.event(v1alpha1.EventStaleLocksRemoved)
}

func TestALiveLockIsWaitedForVisibly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "live-lock")
	host := w.host("one")
	dir := w.files("one", "a")
	w.noise(dir, 8<<20)
	w.retention(w.group("data", "one", dir))
	w.agentWith("one", "--retry-lock=1s", "--retry-backoff=2s,2s,2s,2s,2s,2s,2s,2s,2s,2s")
	w.settled("one")
	w.backups("one", "data", dir, "first")

	// Somebody else backs up, from another machine by the look of its lock.
	other := w.resticCommand(host, w.repositoryPassword("one"), "--limit-upload=1", "backup", "--host=elsewhere", "/usr/share")
	w.must(other.Start())
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	w.eventually("the other's lock", func(context.Context) error {
		locks, err := filepath.Glob(filepath.Join(w.Rest.Data, "one."+w.ns, "locks", "*"))
		if err == nil && len(locks) == 0 {
			err = errors.New("none yet")
		}
		return err
	})
	w.job("forget", v1alpha1.HostJobSpec{HostRef: v1alpha1.LocalReference{Name: "one"}, Kind: v1alpha1.HostJobForget})
	w.eventually("the lock to be told", func(ctx context.Context) error {
		h, err := get(ctx, w, "one", &v1alpha1.Host{})
		if err != nil {
			return err
		}
		if h.Status.Repository == nil || !h.Status.Repository.LockPresent {
			return fmt.Errorf("status.repository is %+v", h.Status.Repository)
		}
		return nil
	})
	w.event(v1alpha1.EventRepositoryLocked)
	w.must(other.Process.Signal(syscall.SIGINT))
	if job := w.phase("forget", v1alpha1.JobSucceeded); job.Status.Result.Attempts < 2 {
		t.Errorf("the result is %+v, want more than one attempt", job.Status.Result)
	}
	w.eventually("no lock to be told", func(ctx context.Context) error {
		h, err := get(ctx, w, "one", &v1alpha1.Host{})
		if err == nil && h.Status.Repository.LockPresent {
			err = errors.New("lockPresent is true")
		}
		return err
	})
}

// agentWith enrols a machine whose agent is started with more flags.
func (w *world) agentWith(host string, flags ...string) *stack.Agent {
	w.Helper()
	a, err := w.Enroll(w.Context(), stack.Machine{Namespace: w.ns, Host: host})
	w.must(err)
	a.Args = append(a.Args, flags...)
	w.start(a)
	return a
}

func TestAMintedPasswordSurvivesTheLossOfTheCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "minted")
	ca, err := os.ReadFile(w.CA.CertFile)
	w.must(err)
	name := "minted-" + w.ns // the rest-server lets each user into the folder of that name
	w.create(&v1alpha1.Host{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.HostSpec{Repository: v1alpha1.Repository{URL: w.Rest.RepositoryURL(name), CABundle: string(ca)}},
	})
	w.hostCondition(name, v1alpha1.ConditionCredentialsExported, metav1.ConditionFalse, v1alpha1.ReasonExportNotConfirmed)
	var secret corev1.Secret
	w.must(w.Get(t.Context(), keyOf(w.ns, v1alpha1.MintedSecretName(name)), &secret))
	if len(secret.OwnerReferences) != 0 {
		t.Errorf("the Secret has owners %+v: it would go with them", secret.OwnerReferences)
	}
	w.must(w.Rest.SetUser(name, string(secret.Data["RESTIC_REST_PASSWORD"])))
	source := filepath.Join(w.Dir, "machines", w.ns, name, "data")
	_, err = tree.Make(source, 50, 7)
	w.must(err)
	w.group("data", name, source)
	agent := w.agent(name)
	w.settled(name)
	w.backup("backup", name, "data")
	w.phase("backup", v1alpha1.JobSucceeded)

	w.must(w.change(&secret, func() {
		secret.Annotations = map[string]string{v1alpha1.AnnotationExported: "true"}
	}))
	w.hostCondition(name, v1alpha1.ConditionCredentialsExported, metav1.ConditionTrue)

	// A Secret that is gone is not made anew: another password would not open the repository.
	w.must(w.Delete(t.Context(), &secret))
	w.hostCondition(name, v1alpha1.ConditionCredentialsExported, metav1.ConditionFalse, v1alpha1.ReasonMintedSecretMissing, "export-credentials")

	// The cluster is lost, and the gateway with it.
	w.must(w.Delete(t.Context(), &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}}))
	w.must(agent.Stop())
	restored := filepath.Join(w.Dir, "machines", w.ns, "restored")
	binary, err := env.Binary("", env.Restic)
	w.must(err)
	script := `set -e
lines="$("$1" export-credentials --config="$2")"
eval "$lines"
"$3" --no-cache --cacert "$4" restore latest --target "$5"
`
	shell := exec.CommandContext(t.Context(), "/bin/sh", "-s", filepath.Join(w.BinDir, "restic-manager-agent"), agent.Config, binary, w.CA.CertFile, restored)
	shell.Stdin = strings.NewReader(script)
	shell.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir()}
	if out, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("restoring with what the machine gives back: %v\n%s", err, out)
	}
	diffs, err := tree.Compare(source, filepath.Join(restored, source), 20)
	w.must(err)
	if len(diffs) > 0 {
		t.Errorf("the restored tree differs:\n%s", strings.Join(diffs, "\n"))
	}
}

func TestCredentialsThatAreRotatedReachTheMachineAndTheOldOnesGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "rotation")
	host := w.host("one")
	dir := w.files("one", "a")
	w.group("data", "one", dir)
	agent := w.agent("one")
	w.settled("one")
	w.backups("one", "data", dir, "first")
	old := w.repositoryPassword("one")

	const fresh = "a-fresh-password-for-the-repository"
	file := filepath.Join(t.TempDir(), "new")
	w.must(os.WriteFile(file, []byte(fresh), 0o600))
	w.restic(host, old, "key", "add", "--new-password-file", file)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "one-repo"}}
	before := w.scheduleSet(t.Context(), "one").Status.AppliedRevision
	w.must(w.change(secret, func() { secret.StringData = map[string]string{"RESTIC_PASSWORD": fresh} }))
	w.eventually("the set with the new password to be applied", func(ctx context.Context) error {
		s := w.scheduleSet(ctx, "one")
		if s.Status.AppliedRevision == before || s.Status.AppliedRevision != s.Spec.Revision {
			return errors.New("not yet")
		}
		return nil
	})
	// The old key is removed: only the new one opens now.
	out := w.restic(host, fresh, "key", "list", "--json")
	if strings.Count(out, `"userName"`) != 2 {
		t.Fatalf("two keys are wanted: %s", out)
	}
	w.restic(host, fresh, "key", "remove", otherKey(t, out))
	w.backups("one", "data", dir, "second")
	w.eventually("the old password to be gone from the machine", func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, filepath.Join(w.BinDir, "restic-manager-agent"), "export-credentials", "--config="+agent.Config).CombinedOutput()
		switch {
		case err != nil:
			return fmt.Errorf("%w: %s", err, out)
		case !strings.Contains(string(out), fresh):
			return errors.New("the new one is not there")
		case strings.Contains(string(out), old):
			return errors.New("the old one is still there")
		}
		return nil
	})
}

// otherKey is the id of the key that was not used to list them.
func otherKey(t *testing.T, list string) string {
	t.Helper()
	var keys []struct {
		Current bool   `json:"current"`
		ID      string `json:"id"`
	}
	if err := json.Unmarshal([]byte(list), &keys); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if !k.Current {
			return k.ID
		}
	}
	t.Fatalf("no other key in %s", list)
	return ""
}

func TestDamageInTheRepositoryIsFoundAndTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "damage")
	w.host("one")
	dir := w.files("one", "a")
	w.noise(dir, 1<<20)
	w.group("data", "one", dir)
	w.agent("one")
	w.settled("one")
	w.backups("one", "data", dir, "first")
	packs, err := filepath.Glob(filepath.Join(w.Rest.Data, "one."+w.ns, "data", "*", "*"))
	w.must(err)
	for _, pack := range packs {
		raw, err := os.ReadFile(pack)
		w.must(err)
		raw[len(raw)/2] ^= 0xff
		w.must(os.Chmod(pack, 0o600))
		w.must(os.WriteFile(pack, raw, 0o600))
	}
	w.job("check", v1alpha1.HostJobSpec{
		HostRef: v1alpha1.LocalReference{Name: "one"}, Kind: v1alpha1.HostJobCheck, Check: &v1alpha1.CheckJob{ReadDataSubset: "100%"},
	})
	if job := w.phase("check", v1alpha1.JobFailed); job.Status.Result.Reason != "RepositoryDamaged" || job.Status.Result.Check == nil || job.Status.Result.Check.Errors == 0 {
		t.Errorf("the result is %+v", job.Status.Result)
	}
	w.event(v1alpha1.EventCheckFailed)
	w.hostCondition("one", v1alpha1.ConditionRepositoryHealthy, metav1.ConditionFalse, v1alpha1.ReasonCheckFailed)

	w.job("drill", v1alpha1.HostJobSpec{HostRef: v1alpha1.LocalReference{Name: "one"}, Kind: v1alpha1.HostJobVerify})
	if job := w.phase("drill", v1alpha1.JobFailed); job.Status.Result.Reason != "VerificationFailed" {
		t.Errorf("the result of the drill is %+v", job.Status.Result)
	}
	w.event(v1alpha1.EventVerifyFailed)
}

func TestAChangeOfBandwidthReachesTheNextRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "bandwidth")
	host := w.host("one")
	dir := w.files("one", "a")
	w.noise(dir, 4<<20)
	group := w.group("data", "one", dir)
	w.agent("one")
	w.settled("one")
	// A window that is always open beats the caps outside of windows.
	w.must(w.change(host, func() {
		host.Spec.Bandwidth = &v1alpha1.Bandwidth{UploadKBps: 999999, Windows: []v1alpha1.BandwidthWindow{{From: "00:00", To: "24:00", UploadKBps: 1717}}}
	}))
	w.eventually("the set to be applied", func(ctx context.Context) error {
		s := w.scheduleSet(ctx, "one")
		if s.Status.AppliedRevision != s.Spec.Revision || !strings.Contains(s.Spec.Bundle, "1717") {
			return errors.New("not yet")
		}
		return nil
	})
	for _, step := range []struct {
		name, want string
		change     func()
	}{
		{"the-hosts-window", "--limit-upload=1717", func() {}},
		{"the-groups-own", "--limit-upload=1818", func() { group.Spec.Bandwidth = &v1alpha1.Bandwidth{UploadKBps: 1818} }},
	} {
		w.must(w.change(group, step.change))
		w.noise(dir, 4<<20)
		w.eventually("the group to be applied", func(ctx context.Context) error {
			if err := w.Get(ctx, client.ObjectKeyFromObject(group), group); err != nil {
				return err
			}
			if group.Status.ObservedGeneration != group.Generation || group.Status.HostsApplied != 1 {
				return errors.New("not yet")
			}
			return nil
		})
		w.backup(step.name, "one", "data")
		w.eventually("restic with "+step.want, func(context.Context) error {
			if !argumentsOfSome(step.want) {
				return errors.New("no such process")
			}
			return nil
		})
		w.phase(step.name, v1alpha1.JobSucceeded)
	}
}

// argumentsOfSome tells whether some process has an argument.
func argumentsOfSome(argument string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if raw, err := os.ReadFile(file); err == nil && strings.Contains(string(raw), argument+"\x00") {
			return true
		}
	}
	return false
}

func TestMaintenanceThatFellDueWhileAMachineWasOffRunsOnceWhenItIsBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "offline")
	w.host("one")
	dir := w.files("one", "a")
	w.group("data", "one", dir)
	agent := w.agent("one")
	w.settled("one")
	w.backups("one", "data", dir, "first")
	w.must(agent.Stop())
	w.T.Log("waiting until the host counts as disconnected (90 s), and the next full minute passes")
	env.Eventually(t, 4*time.Minute, "Connected=False", func(ctx context.Context) error {
		h, err := get(ctx, w, "one", &v1alpha1.Host{})
		if err != nil {
			return err
		}
		for _, c := range h.Status.Conditions {
			if c.Type == v1alpha1.ConditionConnected && c.Status == metav1.ConditionFalse {
				return nil
			}
		}
		return errors.New("still connected")
	})
	m := w.maintenance("all", v1alpha1.RepoMaintenanceSpec{
		Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "one"}},
		Check:    &v1alpha1.CheckCadence{Cadence: v1alpha1.Cadence{Cron: everyMinute}},
	})
	slot := m.CreationTimestamp.Truncate(time.Minute).Add(time.Minute)
	env.Eventually(t, 3*time.Minute, "a slot to pass without a job", func(ctx context.Context) error {
		jobs, err := w.madeBy(ctx)
		if err != nil {
			return err
		}
		if len(jobs) != 0 {
			return env.Permanent(fmt.Errorf("a job was made for a host that is off: %s", jobs[0].Name))
		}
		if over := time.Since(slot); over < 5*time.Second {
			return fmt.Errorf("it passes in %v", -over)
		}
		return nil
	})
	w.must(agent.Start(t.Context()))
	w.operation("one", "check to succeed", checkOf, succeeded)
	jobs, err := w.madeBy(t.Context())
	w.must(err)
	slots := map[string]bool{}
	for _, j := range jobs {
		if slots[j.Annotations[v1alpha1.AnnotationScheduleTime]] {
			t.Errorf("two jobs for slot %s", j.Annotations[v1alpha1.AnnotationScheduleTime])
		}
		slots[j.Annotations[v1alpha1.AnnotationScheduleTime]] = true
	}
	if len(jobs) > 2 {
		t.Errorf("%d jobs were made: a missed slot is one run", len(jobs))
	}
}
