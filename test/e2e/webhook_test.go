package e2e

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/stack"
)

// apply is what a person reads who applies a Schedule.
func (w *world) apply(name, spec string) string {
	w.Helper()
	manifest := "{apiVersion: backup.restic-manager.io/v1alpha1, kind: Schedule, metadata: {name: " + name + "}, spec: " + spec + "}"
	said, _ := w.CP.KubectlSays(w.Context(), manifest, "-n", w.ns, "apply", "-f", "-")
	return said
}

func TestTheWebhookSpeaksUpBeforeAMachineIsTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "webhook")
	w.host("one")
	w.group("data", "one", w.files("one", "a"))
	schedule := w.schedule("nightly", "0 3 * * *", "data")
	w.agent("one")
	w.settled("one")
	w.applied(schedule)
	before := w.scheduleSet(t.Context(), "one").Spec.Revision

	if said := w.apply("nightly", `{cron: "0 3 * *", sourceGroups: [data]}`); !strings.Contains(said,
		`The Schedule "nightly" is invalid: spec.cron: Invalid value: cron "0 3 * *" has 4 of five fields: minute, hour, day of month, month, day of week`) {
		t.Errorf("a bad expression: %s", said)
	}
	if said := w.apply("weekly", `{cron: "@weekly", sourceGroups: [date]}`); !strings.Contains(said, `Warning: spec.sourceGroups: there is no SourceGroup "date" in this namespace`) ||
		!strings.Contains(said, "weekly created") {
		t.Errorf("a group that does not exist: %s", said)
	}
	said, err := w.CP.KubectlSays(t.Context(), "", "-n", w.ns, "delete", "sourcegroup", "data")
	if err == nil || !strings.Contains(said, `SourceGroup "data" is named by Schedule nightly: take it out of spec.sourceGroups there, or delete the Schedule first`) {
		t.Errorf("deleting a group that is in use: %s", said)
	}
	if after := w.scheduleSet(t.Context(), "one").Spec.Revision; after != before {
		t.Error("the machine got another set")
	}

	// With its namespace all of it goes.
	if _, err := w.CP.Kubectl(t.Context(), "delete", "namespace", w.ns, "--timeout=3m"); err != nil {
		t.Error(err)
	}
}

// Not beside the others: the controllers are away for a moment.
func TestWithoutTheControllersObjectsAreTakenUnchecked(t *testing.T) {
	w := newWorld(t, "no-webhook")
	authority := w.authority()
	w.stopController()
	if said := w.apply("bad", `{cron: "0 3 * *", sourceGroups: [data]}`); !strings.Contains(said, "bad created") {
		t.Errorf("without controllers: %s", said)
	}
	w.group("data", "one", "/etc")
	w.schedule("nightly", "0 3 * * *", "data")
	w.must(w.Delete(t.Context(), &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "data"}}))

	w.startController()
	w.must(stack.AwaitWebhook(t.Context(), w.CP))
	if said := w.apply("worse", `{cron: "0 3 * *", sourceGroups: [data]}`); !strings.Contains(said, "is invalid") {
		t.Errorf("with controllers: %s", said)
	}
	w.eventually("its condition tells what nobody told at apply time", func(ctx context.Context) error {
		s, err := get(ctx, w, "bad", &v1alpha1.Schedule{})
		if err != nil {
			return err
		}
		for _, c := range s.Status.Conditions {
			if c.Type == v1alpha1.ConditionReady && c.Reason == v1alpha1.ReasonInvalid {
				return nil
			}
		}
		return errors.New("no such condition")
	})
	if !bytes.Equal(w.authority(), authority) {
		t.Error("the controllers made another authority when they came back")
	}
}

// authority is what API servers know the webhook by.
func (w *world) authority() []byte {
	w.Helper()
	var secret corev1.Secret
	w.must(w.Get(w.Context(), keyOf(stack.Namespace, "restic-manager-webhook-tls"), &secret))
	return secret.Data["ca.crt"]
}
