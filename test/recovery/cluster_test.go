package recovery

import (
	"context"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/signing"
	"github.com/restic-manager/restic-manager/test/stack"
)

// stopGateway has agents find nobody, as when the cluster is gone.
func (w *world) stopGateway() {
	w.Helper()
	w.must(w.Replicas[0].Stop())
	w.Cleanup(w.startGateway)
}

func (w *world) startGateway() {
	if w.Replicas[0].PID() == 0 {
		w.must(w.Replicas[0].Start(context.Background()))
	}
}

// export prints what docs/guides/disaster-recovery.md says to keep, with the same commands.
func (w *world) export() (objects, credentials, keys string) {
	w.Helper()
	get := func(args ...string) string {
		out, err := w.CP.Kubectl(w.Context(), append([]string{"get", "-o", "yaml"}, args...)...)
		w.must(err)
		return out
	}
	return get("-n", w.ns, "hosts.backup.restic-manager.io,sourcegroups,schedules,repomaintenances", "-l", "!"+v1alpha1.LabelDefault),
		get("-n", w.ns, "secrets", "-l", v1alpha1.LabelCredentials+"=true"),
		get("-n", stack.Namespace, "secret", signing.SecretName)
}

// wipe takes everything away that a new cluster would not have.
func (w *world) wipe() {
	w.Helper()
	for _, o := range []client.Object{
		&v1alpha1.HostJob{}, &v1alpha1.Schedule{}, &v1alpha1.SourceGroup{}, &v1alpha1.RepoMaintenance{}, &v1alpha1.Host{}, &v1alpha1.ScheduleSet{}, &corev1.Secret{},
	} {
		w.must(w.DeleteAllOf(w.Context(), o, client.InNamespace(w.ns)))
	}
	w.must(w.Delete(w.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: stack.Namespace, Name: signing.SecretName}}))
	w.eventually("the Host is gone", func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: "web-1"}, &v1alpha1.Host{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
}

func (w *world) bring(yaml string) {
	w.Helper()
	_, err := w.CP.KubectlInput(w.Context(), w.CP.AdminKubeconfig, yaml, "create", "-f", "-")
	w.must(err)
}

func TestMachinesGoOnWithAClusterThatWasRebuilt(t *testing.T) {
	w := newWorld(t, "rebuilt")
	a := w.machine("web-1")
	schedule := &v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "daily"}}
	schedule.Spec.Cron, schedule.Spec.SourceGroups = "@daily", []string{"web-1"}
	w.must(w.Create(t.Context(), schedule))
	w.applied("web-1")
	w.backup("before", "web-1")
	host := &v1alpha1.Host{}
	w.must(w.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "web-1"}, host))
	identity := *host.Spec.Identity
	objects, credentials, keys := w.export()

	w.stopController()
	w.stopGateway()
	w.wipe()
	w.bring(keys)
	w.bring(credentials)
	w.bring(objects)
	w.startGateway()
	w.startController()

	w.applied("web-1")
	w.must(w.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "web-1"}, host))
	if *host.Spec.Identity != identity {
		t.Error("the machine was enrolled again")
	}
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: v1alpha1.EnrollmentSecretName("web-1")}, &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("a token was made for a machine that is enrolled: %v", err)
	}
	if n := w.snapshots(a); n != 1 {
		t.Errorf("there are %d snapshots, want the one of before: nothing runs twice", n)
	}
	w.backup("after", "web-1")
	if n := w.snapshots(a); n != 2 {
		t.Errorf("there are %d snapshots, want 2", n)
	}
}

// What a machine did while the cluster was away is told when it is back, and once.
func TestResultsOfMeanwhileAreNotLost(t *testing.T) {
	w := newWorld(t, "meanwhile")
	a := w.machine("web-1")
	schedule := &v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "often"}}
	schedule.Spec.Cron, schedule.Spec.SourceGroups = "* * * * *", []string{"web-1"}
	w.must(w.Create(t.Context(), schedule))
	w.eventually("the Schedule is published", func(ctx context.Context) error {
		set, err := w.set(ctx, "web-1")
		if err == nil && len(set.Spec.Schedules) == 0 {
			err = errors.New("not yet")
		}
		return err
	})
	w.applied("web-1")
	objects, credentials, keys := w.export()
	w.stopController()
	w.stopGateway()
	before := w.snapshots(a)
	w.eventually("the machine backs up by itself", func(context.Context) error {
		if w.snapshots(a) == before {
			return errors.New("not yet")
		}
		return nil
	})
	w.wipe()
	w.bring(keys)
	w.bring(credentials)
	w.bring(objects)
	w.startGateway()
	w.startController()
	w.applied("web-1")
	w.eventually("the result is told", func(ctx context.Context) error {
		host := &v1alpha1.Host{}
		if err := w.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: "web-1"}, host); err != nil {
			return err
		}
		if len(host.Status.SourceGroups) == 0 || host.Status.SourceGroups[0].LastSuccessTime == nil {
			return fmt.Errorf("results are %+v", host.Status.SourceGroups)
		}
		return nil
	})
}

// etcd is restored from a backup: the set is older than what the machine has, and so is the result.
func TestAClusterThatWasSetBackStrandsNoMachine(t *testing.T) {
	w := newWorld(t, "set-back")
	a := w.machine("web-1")
	older, err := w.set(t.Context(), "web-1")
	w.must(err)
	suspend := func(yes bool) {
		_, err := w.CP.Kubectl(t.Context(), "-n", w.ns, "patch", "hosts.backup.restic-manager.io", "web-1", "--type=merge", "-p", fmt.Sprintf(`{"spec":{"suspend":%t}}`, yes))
		w.must(err)
	}
	suspend(true)
	w.eventually("the change is published", func(ctx context.Context) error {
		set, err := w.set(ctx, "web-1")
		if err == nil && set.Spec.Revision == older.Spec.Revision {
			err = errors.New("not yet")
		}
		return err
	})
	w.applied("web-1")

	w.stopController()
	w.stopGateway()
	suspend(false)
	set, err := w.set(t.Context(), "web-1")
	w.must(err)
	// A merge patch conflicts with nobody: what a killed process had sent may be stored after its end.
	base := set.DeepCopy()
	set.Spec = older.Spec
	w.must(w.Patch(t.Context(), set, client.MergeFrom(base)))
	base = set.DeepCopy()
	set.Status = older.Status
	w.must(w.Status().Patch(t.Context(), set, client.MergeFrom(base)))
	w.startGateway()
	w.startController()

	w.eventually("the older set is signed anew, and the machine takes it", func(ctx context.Context) error {
		now, err := w.set(ctx, "web-1")
		if err != nil {
			return err
		}
		if now.Spec.Revision != older.Spec.Revision || now.Spec.Serial == older.Spec.Serial || now.Status.AppliedRevision != now.Spec.Revision || now.Status.Refusal != nil {
			return fmt.Errorf("serial %d of %s, applied %s, refusal %+v", now.Spec.Serial, now.Spec.Revision, now.Status.AppliedRevision, now.Status.Refusal)
		}
		return nil
	})
	w.backup("after", "web-1")
	if n := w.snapshots(a); n != 1 {
		t.Errorf("there are %d snapshots", n)
	}
}
