package e2e

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// Who may write ScheduleSets but has no signing key, for instance by a mistake in RBAC, gets nothing past an agent.
func TestAForgedScheduleSetIsRefusedAndTheOneInForceStays(t *testing.T) {
	w := newWorld(t, "forged")
	for _, host := range []string{"one", "two"} {
		w.host(host)
		w.group("data-"+host, host, w.files(host, "a"))
	}
	agent := w.agent("one")
	w.agent("two")
	schedule := w.schedule("nightly", "0 3 * * *", "data-one", "data-two")
	w.settled("one")
	w.settled("two")
	w.applied(schedule)
	older := w.scheduleSet(t.Context(), "one").DeepCopy()
	w.must(w.change(schedule, func() { schedule.Spec.Cron = "0 4 * * *" }))
	w.applied(schedule)
	w.stopController()

	inForce := w.scheduleSet(t.Context(), "one").DeepCopy()
	tests := []struct {
		name   string
		reason wire.RefusalReason
		forge  func(spec *v1alpha1.ScheduleSetSpec)
	}{
		{"tampered", wire.RefusalBadSignature, func(spec *v1alpha1.ScheduleSetSpec) {
			spec.Bundle = replaceOnce(t, spec.Bundle, "0 4 * * *", "* * * * *")
		}},
		{"unsigned", wire.RefusalBadSignature, func(spec *v1alpha1.ScheduleSetSpec) { spec.Signatures = []v1alpha1.Signature{} }},
		{"older", wire.RefusalOlderSerial, func(spec *v1alpha1.ScheduleSetSpec) {
			older.Spec.DeepCopyInto(spec)
		}},
		{"another-hosts", wire.RefusalWrongHost, func(spec *v1alpha1.ScheduleSetSpec) {
			other := w.scheduleSet(t.Context(), "two").Spec
			spec.Bundle, spec.Signatures, spec.Credentials = other.Bundle, other.Signatures, other.Credentials
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w.T = t
			w.publish("one", func(spec *v1alpha1.ScheduleSetSpec) {
				inForce.Spec.DeepCopyInto(spec)
				spec.Revision = "forged-" + test.name
				test.forge(spec)
			})
			w.refused(inForce, test.reason)
		})
	}
	w.T = t

	// The controllers come back and put their set in place of the forgery.
	w.startController()
	w.must(w.change(schedule, func() { schedule.Spec.Cron = "0 5 * * *" }))
	w.applied(schedule)
	inForce = w.scheduleSet(t.Context(), "one").DeepCopy()

	// A good set that the machine has not seen yet, with credentials that a stranger sealed.
	w.must(agent.Stop())
	w.must(w.change(schedule, func() { schedule.Spec.Cron = "0 6 * * *" }))
	w.eventually("a new set to be published", func(ctx context.Context) error {
		if w.scheduleSet(ctx, "one").Spec.Revision == inForce.Spec.Revision {
			return errors.New("the revision is the old one")
		}
		return nil
	})
	w.stopController()
	w.publish("one", func(spec *v1alpha1.ScheduleSetSpec) { spec.Credentials[0].Sealed = w.sealedByAStranger(spec) })
	w.must(agent.Start(t.Context()))
	w.refused(inForce, wire.RefusalBadCredential)
	w.startController()
	w.applied(schedule)
	w.backup("after", "one", "data-one")
	w.phase("after", v1alpha1.JobSucceeded)
}

// refused waits until the machine has refused the published set for a reason, and keeps the one in force.
func (w *world) refused(inForce *v1alpha1.ScheduleSet, reason wire.RefusalReason) {
	w.Helper()
	w.eventually("the refusal "+string(reason), func(ctx context.Context) error {
		set := w.scheduleSet(ctx, "one")
		if r := set.Status.Refusal; r == nil || r.Revision != set.Spec.Revision || r.Reason != string(reason) || r.Message == "" {
			return fmt.Errorf("refusal is %+v, want %s", r, reason)
		}
		if set.Status.AppliedRevision != inForce.Spec.Revision {
			return fmt.Errorf("applied is %s, want %s: the one in force stays", set.Status.AppliedRevision, inForce.Spec.Revision)
		}
		return nil
	})
	w.event(v1alpha1.EventSetRefused, string(reason))
}

func TestAForgedReplayedOrExpiredCommandIsRefused(t *testing.T) {
	w := newWorld(t, "commands")
	w.host("one")
	w.group("data", "one", w.files("one", "a"))
	agent := w.agent("one")
	w.settled("one")
	w.backup("first", "one", "data")
	first := w.phase("first", v1alpha1.JobSucceeded)

	// A command that waits while the machine is away and the controllers do not watch the time.
	w.must(agent.Stop())
	late := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Name: "late"}, Spec: v1alpha1.HostJobSpec{
		HostRef: v1alpha1.LocalReference{Name: "one"}, Kind: v1alpha1.HostJobBackup, Backup: &v1alpha1.BackupJob{SourceGroup: "data"},
		StartingDeadlineSeconds: 10,
	}}
	w.create(late)
	w.eventually("the command of late", func(ctx context.Context) error {
		if err := w.Get(ctx, keyOf(w.ns, "late"), late); err != nil {
			return err
		}
		if late.Status.Command == nil {
			return fmt.Errorf("status is %+v", late.Status)
		}
		return nil
	})
	w.stopController()
	deadline := late.CreationTimestamp.Add(11 * time.Second)
	w.eventually("the starting deadline to pass", func(context.Context) error {
		if time.Now().Before(deadline) {
			return fmt.Errorf("%v to go", time.Until(deadline).Round(time.Second))
		}
		return nil
	})
	w.must(agent.Start(t.Context()))
	job := w.phase("late", v1alpha1.JobFailed)
	if job.Status.Result.Reason != string(wire.ReasonExpired) && job.Status.Result.Reason != string(wire.ReasonRefused) {
		t.Errorf("result is %+v, want Expired", job.Status.Result)
	}
	w.commandRefused(wire.RefusalExpired)

	// The first command once more, under the name of another job: its signature is good, its time is not over.
	w.plant("replayed", first.Status.Command)
	w.phase("replayed", v1alpha1.JobFailed)
	w.commandRefused(wire.RefusalInvalid)

	tampered := first.Status.Command.DeepCopy()
	tampered.Document = replaceOnce(t, tampered.Document, `"kind":"Backup"`, `"kind":"Init","x":1`)
	w.plant("tampered", tampered)
	w.phase("tampered", v1alpha1.JobFailed)
	w.commandRefused(wire.RefusalBadSignature)

	// The very same command again: the job has ended, so it is put back to Pending, as a lying gateway would.
	w.must(w.Get(t.Context(), keyOf(w.ns, "first"), first))
	snapshots := first.Status.Result.Backup.SnapshotID
	w.changeStatus(first, func() {
		first.Status.Phase = v1alpha1.JobPending
		first.Status.Result, first.Status.CompletionTime = nil, nil
	})
	again := w.phase("first", v1alpha1.JobSucceeded)
	if got := again.Status.Result.Backup.SnapshotID; got != snapshots {
		t.Errorf("the replay gave snapshot %s, want the result of the one run again: %s", got, snapshots)
	}
	w.startController()
}

// plant makes a HostJob that carries somebody's command. The controllers do not run.
func (w *world) plant(name string, command *v1alpha1.SignedDocument) {
	w.Helper()
	job := w.backup(name, "one", "data")
	w.changeStatus(job, func() { job.Status.Phase, job.Status.Command = v1alpha1.JobPending, command })
}

func (w *world) commandRefused(reason wire.RefusalReason) {
	w.Helper()
	w.eventually("refused command "+string(reason), func(ctx context.Context) error {
		if r := w.scheduleSet(ctx, "one").Status.CommandRefusal; r == nil || r.Reason != string(reason) || r.Message == "" {
			return fmt.Errorf("commandRefusal is %+v", r)
		}
		return nil
	})
	w.event(v1alpha1.EventCommandRefused, string(reason))
}

// publish writes a ScheduleSet's spec as admin.
func (w *world) publish(host string, edit func(*v1alpha1.ScheduleSetSpec)) {
	w.Helper()
	set := w.scheduleSet(w.Context(), host)
	w.must(w.change(set, func() { edit(&set.Spec) }))
}

// sealedByAStranger seals a credential to the machine, as anybody can who knows its public key.
func (w *world) sealedByAStranger(spec *v1alpha1.ScheduleSetSpec) string {
	w.Helper()
	decode := func(s string) []byte {
		raw, err := base64.StdEncoding.DecodeString(s)
		w.must(err)
		return raw
	}
	identity := wire.Identity{SigningKey: decode(spec.Host.Identity.SigningKey), SealingKey: decode(spec.Host.Identity.SealingKey)}
	sealed, err := seal.SealCredential(wire.HostRef{Namespace: w.ns, Name: spec.Host.Name}, identity, wire.CredentialRepository,
		wire.Credential{Environment: map[string]string{"RESTIC_PASSWORD": "the stranger's"}})
	w.must(err)
	return base64.StdEncoding.EncodeToString(sealed.Sealed)
}
