package gitops

import (
	"context"
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
)

// oneOfEach is what people write; with a Host beside, each of them is accepted.
func oneOfEach() []client.Object {
	return []client.Object{newHost("web-1"), newGroup("etc"), newSchedule("nightly"), newMaintenance("check"), newJob("unlock")}
}

func TestWhatNobodyLookedAtYetIsInProgress(t *testing.T) {
	cp := installed(t)
	s := &space{t: t, cp: cp, admin: adminClient(t, cp), namespace: cp.NewNamespace(t, "gitops")}
	for _, object := range oneOfEach() {
		s.create(object)
		u, err := s.object(t.Context(), kindOf(t, object), object.GetName())
		if err != nil {
			t.Fatal(err)
		}
		t.Run(u.GetKind(), func(t *testing.T) { expectVerdict(t, u, status.InProgressStatus) })
	}
}

func TestAChangeThatNobodyLookedAtYetIsInProgress(t *testing.T) {
	o := startOperator(t)
	s := o.space(t)
	s.create(newHost("web-1", enrolled(t)), newGroup("etc"), newSchedule("nightly"), newMaintenance("check"), newJob("unlock"))
	for object, ready := range map[client.Object]string{
		newHost("web-1"): "True Published", newGroup("etc"): "True Accepted", newSchedule("nightly"): "True Accepted", newMaintenance("check"): "True Accepted",
	} {
		expectVerdict(t, s.until(kindOf(t, object)+" is accepted", object, told{"Ready": ready}), status.CurrentStatus)
	}
	s.phase("unlock", v1alpha1.JobSucceeded)
	expectVerdict(t, s.until("the job is done", newJob("unlock"), told{"Complete": "True Succeeded"}), status.CurrentStatus)

	o.stop()
	change(s, "web-1", &v1alpha1.Host{}, suspended)
	change(s, "etc", &v1alpha1.SourceGroup{}, func(g *v1alpha1.SourceGroup) { g.Spec.Includes = []string{"/srv"} })
	change(s, "nightly", &v1alpha1.Schedule{}, func(s *v1alpha1.Schedule) { s.Spec.Cron = "0 3 * * *" })
	change(s, "check", &v1alpha1.RepoMaintenance{}, func(m *v1alpha1.RepoMaintenance) { m.Spec.Suspend = true })
	change(s, "unlock", &v1alpha1.HostJob{}, func(j *v1alpha1.HostJob) { j.Spec.Cancel = true })
	for _, object := range oneOfEach() {
		t.Run(kindOf(t, object), func(t *testing.T) {
			u, err := s.object(t.Context(), kindOf(t, object), object.GetName())
			if err != nil {
				t.Fatal(err)
			}
			expectVerdict(t, u, status.InProgressStatus)
		})
	}
}

// The operator has no finalizers, but others may, and so has a deletion in the foreground.
func TestWhatIsBeingDeletedIsTerminating(t *testing.T) {
	o := startOperator(t)
	s := o.space(t)
	const finalizer = "example.com/kept"
	objects := oneOfEach()
	for _, object := range objects {
		object.SetFinalizers([]string{finalizer})
		s.create(object)
	}
	for _, object := range objects {
		t.Run(kindOf(t, object), func(t *testing.T) {
			if err := s.admin.Delete(t.Context(), object); err != nil {
				t.Fatal(err)
			}
			u, err := s.object(t.Context(), kindOf(t, object), object.GetName())
			if err != nil {
				t.Fatal(err)
			}
			expectVerdict(t, u, status.TerminatingStatus)
			base, ok := u.DeepCopyObject().(client.Object)
			if !ok {
				t.Fatal("not an object")
			}
			u.SetFinalizers(nil)
			if err := s.admin.Patch(t.Context(), u, client.MergeFrom(base)); err != nil {
				t.Fatal(err)
			}
			env.Eventually(t, patience, "it goes", func(ctx context.Context) error {
				_, err := s.object(ctx, kindOf(t, object), object.GetName())
				if err == nil {
					return errors.New("it is still there")
				}
				return client.IgnoreNotFound(err)
			})
		})
	}
}

// A ScheduleSet is the controllers' own: it is as it must be once it is there, whatever the machine makes of it, and the Host tells that.
func TestScheduleSets(t *testing.T) {
	s := startOperator(t).space(t)
	s.create(newHost("web-1", enrolled(t)))
	host := newHost("web-1")
	expect := func(what string, conditions told) {
		t.Helper()
		s.until(what, host, conditions)
		u, err := s.object(t.Context(), "ScheduleSet", "web-1")
		if err != nil {
			t.Fatal(err)
		}
		expectVerdict(t, u, status.CurrentStatus)
	}
	expect("it is published", told{"ScheduleSetApplied": "False Pending"})
	report(s, "web-1", &v1alpha1.ScheduleSet{}, func(set *v1alpha1.ScheduleSet) {
		set.Status.Refusal = &v1alpha1.Refusal{Revision: set.Spec.Revision, Reason: "OlderSerial", Time: metav1.NewTime(s.clock.Now())}
	})
	expect("it is refused", told{"ScheduleSetApplied": "False RefusedByAgent"})
	s.connect("web-1")
	expect("it is applied", told{"ScheduleSetApplied": "True Applied"})
	s.disconnect("web-1")
	expect("its machine is gone", told{"Connected": "False Disconnected"})
}
