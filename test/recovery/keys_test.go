package recovery

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/signing"
	"github.com/restic-manager/restic-manager/test/stack"
)

// One machine is awake, the other sleeps through all of it, and a person loses patience.
func TestAMachineThatSleptThroughARotationCatchesUp(t *testing.T) {
	w := newWorld(t, "rotation")
	w.machine("awake")
	sleeper := w.machine("sleeper")
	_, before, err := w.keys(t.Context())
	w.must(err)
	old := before.Entries()[0].KeyID
	w.must(sleeper.Stop())

	w.annotate(v1alpha1.AnnotationRotateSigningKey, "2027-03-01")
	w.rotation("the sleeper alone is waited for", func(r signing.Record) bool {
		return r.Phase == signing.PhaseAnnounced && r.Waiting == 1 && fmt.Sprint(r.WaitingFor) == "["+w.ns+"/sleeper]"
	})
	w.backup("announced", "awake") // signed by both
	w.annotate(v1alpha1.AnnotationRetireSigningKey, old)
	w.rotation("the old key is retired", func(r signing.Record) bool { return r.Phase == signing.PhaseRetired && r.Waiting == 1 })
	w.applied("awake")
	w.backup("retired", "awake")

	w.must(sleeper.Start(t.Context()))
	w.applied("sleeper")
	w.rotation("nobody is waited for", func(r signing.Record) bool { return r.Phase == signing.PhaseRetired && r.Waiting == 0 })
	w.backup("caught-up", "sleeper")

	w.annotate(v1alpha1.AnnotationRemoveSigningKey, old)
	w.rotation("the old key is gone", func(r signing.Record) bool { return r.Phase == signing.PhaseDone })
	_, after, err := w.keys(t.Context())
	w.must(err)
	if len(after.Entries()) != 1 || after.Entries()[0].KeyID == old {
		t.Errorf("keys are %+v", after.Entries())
	}
	for _, host := range []string{"awake", "sleeper"} {
		w.backup("after-"+host, host)
	}
	// A machine that is enrolled now knows the new key alone.
	w.machine("late")
	w.backup("late", "late")
}

func TestMachinesRefuseAnotherKeyUntilTheyAreEnrolledAgain(t *testing.T) {
	w := newWorld(t, "lost")
	a := w.machine("web-1")
	w.backup("before", "web-1")
	secret, _, err := w.keys(t.Context())
	w.must(err)

	// The cluster's key is gone, while nobody runs who could write it again.
	w.stopController()
	w.must(w.Delete(t.Context(), secret))
	if err := w.Controller.Start(t.Context()); err == nil {
		t.Fatal("the controllers made another key, although machines trust the lost one")
	}
	if log := readFile(t, w.LogFile("controller")); !strings.Contains(log, "restore the Secret from a backup") || !strings.Contains(log, "make-new") {
		t.Errorf("the log does not say what to do: %s", tail(log))
	}
	_, err = w.CP.Kubectl(t.Context(), "-n", stack.Namespace, "create", "secret", "generic", signing.SecretName, "--from-literal="+signing.EntryMakeNew+"=yes")
	w.must(err)
	w.startController()

	w.eventually("the machine refuses", func(ctx context.Context) error {
		set, err := w.set(ctx, "web-1")
		if err != nil {
			return err
		}
		if r := set.Status.Refusal; r == nil || r.Reason != string(wire.RefusalBadSignature) {
			return fmt.Errorf("refusal is %+v", r)
		}
		return nil
	})
	w.condition("web-1", v1alpha1.ConditionScheduleSetApplied, metav1.ConditionFalse, "BadSignature", "no key that this machine trusts")
	if log := readFile(t, w.LogFile("agent-"+w.ns+"-web-1")); !strings.Contains(log, "no key that this machine trusts") {
		t.Errorf("the machine's own log does not say so: %s", tail(log))
	}

	// Recovery: a new token, the line on the machine with --force.
	_, err = w.CP.Kubectl(t.Context(), "-n", w.ns, "annotate", "host", "web-1", "--overwrite", v1alpha1.AnnotationMintToken+"="+time.Now().UTC().Format("20060102T150405Z"))
	w.must(err)
	var line string
	w.eventually("there is a token", func(ctx context.Context) error {
		token := &corev1.Secret{}
		if err := w.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: v1alpha1.EnrollmentSecretName("web-1")}, token); err != nil {
			return err
		}
		line = string(token.Data["command"])
		return nil
	})
	w.must(a.Stop())
	a.Flags = []string{"--force"}
	w.must(w.RunEnroll(t.Context(), a, line))
	w.must(a.Start(t.Context()))
	w.applied("web-1")
	w.backup("after", "web-1")
	if n := w.snapshots(a); n != 2 {
		t.Errorf("the repository has %d snapshots, want one of before and one of after", n)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func tail(log string) string { return log[max(0, len(log)-2000):] }
