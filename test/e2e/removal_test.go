package e2e

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

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

// gone waits until an object of the test's namespace is not there any more.
func (w *world) gone(what string, object client.Object, name string) {
	w.Helper()
	w.eventually(what+" to be gone", func(ctx context.Context) error {
		_, err := get(ctx, w, name, object)
		if err == nil {
			return errors.New("it is there")
		}
		if !apierrors.IsNotFound(err) {
			return err
		}
		return nil
	})
}

// says waits until an agent's log holds a text.
func (w *world) says(a *stack.Agent, text string) {
	w.Helper()
	w.eventually(fmt.Sprintf("%s to say %q", a.Name, text), func(context.Context) error {
		raw, err := os.ReadFile(w.LogFile(a.Name))
		if err == nil && !strings.Contains(string(raw), text) {
			err = errors.New("not yet")
		}
		return err
	})
}

// idle waits until each job that an agent began has ended.
func (w *world) idle(a *stack.Agent) {
	w.Helper()
	w.eventually(a.Name+" to run nothing", func(context.Context) error {
		raw, err := os.ReadFile(w.LogFile(a.Name))
		if began, ended := strings.Count(string(raw), "queued=false"), strings.Count(string(raw), `msg="job ended"`); err == nil && began > ended {
			err = fmt.Errorf("%d jobs began, %d ended", began, ended)
		}
		return err
	})
}

// agentStatus is what a person on the machine sees.
func (w *world) agentStatus(a *stack.Agent) string {
	w.Helper()
	out, err := exec.CommandContext(w.Context(), filepath.Join(w.BinDir, "restic-manager-agent"), "status", "--config="+a.Config).CombinedOutput()
	if err != nil {
		w.Fatalf("status: %v: %s", err, out)
	}
	return string(out)
}

const (
	saysRemoved = "was removed in the cluster: no backups run here any more"
	saysAsking  = "in case the Host comes back"
)

func TestARemovedMachineIsToldAndStopsAndItsSnapshotsStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "removed")
	host := w.host("one")
	dir := w.files("one", "a")
	w.group("data", "one", dir)
	schedule := w.schedule("minutely", everyMinute, "data")
	a, err := w.Enroll(t.Context(), stack.Machine{Namespace: w.ns, Host: "one"})
	w.must(err)
	// The controllers know nothing of replicas: the tombstone finds the one that holds the machine.
	line := w.privateLine(a)
	line.Point(w.Replicas[1].Address)
	w.start(a)
	w.settled("one")
	w.on("one", w.Replicas[1])
	w.applied(schedule)
	w.backups("one", "data", dir, "first")
	password := w.repositoryPassword("one")
	w.must(w.Delete(t.Context(), w.mustHost("one")))

	w.says(a, saysRemoved)
	w.gone("the ScheduleSet", &v1alpha1.ScheduleSet{}, "one")
	w.says(a, saysAsking)
	w.idle(a) // a backup that began just before ends by itself
	snapshots := w.restic(host, password, "snapshots", "--json")
	if status := w.agentStatus(a); !strings.Contains(status, "Removed:") || !strings.Contains(status, "credentials of its repository were deleted here") {
		t.Errorf("the status says\n%s", status)
	}
	if _, err := os.Stat(filepath.Join(a.StateDir, "secrets.enc")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the credentials still lie on the machine: %v", err)
	}
	if w.machineHolds(a, password) {
		t.Error("the repository's password still lies on the machine")
	}
	w.gone("the HostJob", &v1alpha1.HostJob{}, "first")
	w.gone("the default RepoMaintenance", &v1alpha1.RepoMaintenance{}, v1alpha1.DefaultMaintenanceName("one"))
	if _, err := get(t.Context(), w, "one-repo", &corev1.Secret{}); err != nil {
		t.Errorf("the Secret with the credentials: %v", err)
	}

	t.Log("waiting until a full minute has passed at which a backup was due")
	slot := time.Now().Truncate(time.Minute).Add(time.Minute)
	env.Eventually(t, 2*time.Minute, "a minute to pass", func(context.Context) error {
		if left := time.Until(slot.Add(5 * time.Second)); left > 0 {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
	if a.PID() == 0 {
		t.Error("the agent ended: its service manager would start it again and again")
	}
	if now := w.restic(host, password, "snapshots", "--json"); now != snapshots {
		t.Errorf("the snapshots changed after the Host was removed: %s, before %s", now, snapshots)
	}
}

func TestAMachineThatWasOffWhenItsHostWasRemovedIsToldWhenItIsBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "removed-off")
	w.host("one")
	dir := w.files("one", "a")
	w.group("data", "one", dir)
	w.schedule("minutely", everyMinute, "data")
	a := w.agent("one")
	w.settled("one")
	w.must(a.Stop())
	w.must(w.Delete(t.Context(), w.mustHost("one")))
	w.eventually("a tombstone", func(ctx context.Context) error {
		set, err := get(ctx, w, "one", &v1alpha1.ScheduleSet{})
		if err == nil && !set.Spec.Tombstone {
			err = errors.New("the set is as it was")
		}
		return err
	})
	w.must(a.Start(t.Context()))
	w.says(a, saysRemoved)
	w.gone("the tombstone", &v1alpha1.ScheduleSet{}, "one")
}

// sameFromGit creates a Host again as it stands in Git, with its machine's identity.
func (w *world) sameFromGit(former *v1alpha1.Host) *v1alpha1.Host {
	w.Helper()
	host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: former.Name, Labels: former.Labels}, Spec: former.Spec}
	w.create(host)
	return host
}

func TestAHostThatComesBackFromGitGoesOnWithItsMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "removed-back")
	w.host("one")
	dir := w.files("one", "a")
	w.group("data", "one", dir)
	a := w.agent("one")
	w.settled("one")
	back := func(name string) {
		t.Helper()
		host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "one"}}
		env.Eventually(t, 3*time.Minute, "the machine to be back", func(ctx context.Context) error {
			if err := w.Get(ctx, client.ObjectKeyFromObject(host), host); err != nil {
				return err
			}
			set, err := get(ctx, w, "one", &v1alpha1.ScheduleSet{})
			if err != nil {
				return err
			}
			if set.Status.AppliedRevision != set.Spec.Revision || host.Status.Agent == nil {
				return fmt.Errorf("set %+v, agent %+v", set.Status, host.Status.Agent)
			}
			return nil
		})
		w.settled("one")
		w.backups("one", "data", dir, name)
	}

	t.Log("at once, as a tool does that replaces an object")
	former := w.mustHost("one")
	before := w.scheduleSet(t.Context(), "one")
	w.must(w.Delete(t.Context(), former))
	w.sameFromGit(former)
	back("at-once")
	after := w.scheduleSet(t.Context(), "one")
	if after.Spec.Serial <= before.Spec.Serial || after.Spec.Host.UID == string(former.UID) {
		t.Errorf("the set has serial %d after %d, and is for %s", after.Spec.Serial, before.Spec.Serial, after.Spec.Host.UID)
	}

	t.Log("and after its machine was told")
	former = w.mustHost("one")
	w.must(w.Delete(t.Context(), former))
	w.says(a, saysRemoved)
	w.gone("the tombstone", &v1alpha1.ScheduleSet{}, "one")
	w.sameFromGit(former)
	back("later")
	w.says(a, "the Host of this machine is back")
	if status := w.agentStatus(a); strings.Contains(status, "Removed:") {
		t.Errorf("the status says\n%s", status)
	}
}

func TestARunningBackupOutlivesItsHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "removed-busy")
	w.slowBackup(1024) // half a minute, in which another one is queued and the Host removed
	a := w.agent("one")
	w.settled("one")
	w.running("running")
	w.backup("waiting", "one", "data")
	w.phase("waiting", v1alpha1.JobDispatched)
	w.eventually("the second job to wait on the machine", func(ctx context.Context) error {
		job, err := get(ctx, w, "waiting", &v1alpha1.HostJob{})
		if err == nil && !job.Status.Queued {
			err = errors.New("not yet")
		}
		return err
	})
	host, password := w.mustHost("one"), w.repositoryPassword("one")
	w.must(w.Delete(t.Context(), host))
	w.says(a, saysRemoved)
	w.says(a, "kind=Backup outcome=Cancelled")
	w.says(a, "kind=Backup outcome=Succeeded")
	w.gone("the tombstone", &v1alpha1.ScheduleSet{}, "one")
	if out := w.restic(host, password, "snapshots", "--json"); strings.Count(out, `"short_id"`) != 1 {
		t.Errorf("the repository holds %s, want the one snapshot of the backup that ran", out)
	}
}

// errorsSince lists what a program logged as an error after a place in its log.
func (w *world) errorsSince(name string, from int) []string {
	w.Helper()
	raw, err := os.ReadFile(w.LogFile(name))
	w.must(err)
	var found []string
	for line := range strings.Lines(string(raw[from:])) {
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "level=ERROR") || strings.HasPrefix(line, "E") {
			found = append(found, line)
		}
	}
	return found
}

func TestANamespaceIsDeletedWithAllThatIsInIt(t *testing.T) {
	w := newWorld(t, "whole")
	w.slowBackup(1024) // half a minute, in which another one is queued and the Host removed
	minted := "minted-" + w.ns
	ca, err := os.ReadFile(w.CA.CertFile)
	w.must(err)
	w.create(&v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: minted}, Spec: v1alpha1.HostSpec{Repository: v1alpha1.Repository{URL: w.Rest.RepositoryURL(minted), CABundle: string(ca)}}})
	w.hostCondition(minted, v1alpha1.ConditionCredentialsExported, metav1.ConditionFalse)
	var secret corev1.Secret
	w.must(w.Get(t.Context(), keyOf(w.ns, v1alpha1.MintedSecretName(minted)), &secret))
	w.must(w.Rest.SetUser(minted, string(secret.Data["RESTIC_REST_PASSWORD"])))
	w.host("waits") // for a machine that never comes
	w.schedule("yearly", "0 3 1 1 *", "data")
	w.maintenance("upkeep", v1alpha1.RepoMaintenanceSpec{Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "one"}},
		Check: &v1alpha1.CheckCadence{Cadence: v1alpha1.Cadence{Cron: "0 4 1 1 *"}}})
	agents := []*stack.Agent{w.agent("one"), w.agent(minted)}
	w.settled("one")
	w.settled(minted)
	w.running("running")
	w.backup("waiting", "one", "data")
	w.backup("never", "waits", "data")

	from := map[string]int{}
	for _, name := range []string{"controller", "replica-0", "replica-1"} {
		raw, err := os.ReadFile(w.LogFile(name))
		w.must(err)
		from[name] = len(raw)
	}
	began := time.Now()
	w.must(w.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.ns}}))
	env.Eventually(t, patience, "the namespace to be gone", func(ctx context.Context) error {
		var namespace corev1.Namespace
		err := w.Get(ctx, client.ObjectKey{Name: w.ns}, &namespace)
		if err == nil {
			return fmt.Errorf("conditions are %+v", namespace.Status.Conditions)
		}
		if !apierrors.IsNotFound(err) {
			return err
		}
		return nil
	})
	t.Logf("the namespace was gone after %v", time.Since(began).Round(time.Millisecond))
	// What is in a namespace goes some seconds after the namespace was deleted. A machine that is connected is told in that time; on a busy day it may only hear
	// that nobody knows it any more.
	for _, a := range agents {
		w.eventually(a.Name+" to hear of it", func(context.Context) error {
			raw, err := os.ReadFile(w.LogFile(a.Name))
			switch {
			case err != nil:
				return err
			case strings.Contains(string(raw), saysRemoved):
				t.Logf("%s was told by its tombstone", a.Name)
			case strings.Contains(string(raw), "does not know this machine's Host"):
				t.Logf("%s was not told in time", a.Name)
			default:
				return errors.New("not yet")
			}
			return nil
		})
	}
	// Nobody confirmed a copy of the password that was made, and its Secret is gone: what the machine has is the last one.
	out, err := exec.CommandContext(t.Context(), filepath.Join(w.BinDir, "restic-manager-agent"), "export-credentials", "--config="+agents[1].Config).CombinedOutput()
	if err != nil || !strings.Contains(string(out), string(secret.Data["RESTIC_PASSWORD"])) {
		t.Errorf("the password that was made is lost with the namespace: %v", err)
	}
	for name, n := range from {
		for _, line := range w.errorsSince(name, n) {
			t.Errorf("%s logged an error: %s", name, line)
		}
	}
}
