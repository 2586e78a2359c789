package host

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func TestWhichChangesOfAHostAreLookedAt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*v1alpha1.Host)
		want   bool
	}{
		{"nothing", func(*v1alpha1.Host) {}, false},
		{"its spec", func(h *v1alpha1.Host) { h.Generation++ }, true},
		{"a label", func(h *v1alpha1.Host) { h.Labels = map[string]string{"role": "web"} }, true},
		{"a request to enrol", func(h *v1alpha1.Host) { h.Status.EnrollmentRequest = &v1alpha1.EnrollmentRequest{} }, true},
		{"the state of its repository", func(h *v1alpha1.Host) { h.Status.Repository = &v1alpha1.RepositoryStatus{} }, true},
		{"a condition, which may have been computed from a stale copy", func(h *v1alpha1.Host) {
			h.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionConnected, Status: metav1.ConditionTrue}}
		}, true},
		{"the result of a job", func(h *v1alpha1.Host) {
			h.Status.SourceGroups = []v1alpha1.SourceGroupResult{{Name: "etc"}}
			h.Status.LastReport = &v1alpha1.ReportPosition{Seq: 2}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Generation: 1}}
			after := before.DeepCopy()
			tt.change(after)
			if got := hostChanged.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != tt.want {
				t.Errorf("looked at: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestWhichChangesOfASetAreLookedAt(t *testing.T) {
	session := func(gateway string, counter int64) func(*v1alpha1.ScheduleSet) {
		return func(s *v1alpha1.ScheduleSet) {
			s.Status.Connection = &v1alpha1.Connection{Gateway: gateway, Session: counter}
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*v1alpha1.ScheduleSet)
		want   bool
	}{
		{"its spec, which nobody else may write", func(s *v1alpha1.ScheduleSet) { s.Generation++ }, true},
		{"an ack", func(s *v1alpha1.ScheduleSet) { s.Status.AppliedRevision = "r1" }, true},
		{"an offer", func(s *v1alpha1.ScheduleSet) { s.Status.OfferedRevision = "r1" }, false},
		{"a session on another replica", session("g2", 2), true},
		{"a reconnect to the same replica", session("g1", 2), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := &v1alpha1.ScheduleSet{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Generation: 1}}
			session("g1", 1)(before)
			after := before.DeepCopy()
			tt.change(after)
			if got := setChanged.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != tt.want {
				t.Errorf("looked at: %v, want %v", got, tt.want)
			}
		})
	}
	// One that was written from a stale copy of the Host is looked at again.
	if !setChanged.Create(event.CreateEvent{Object: &v1alpha1.ScheduleSet{}}) {
		t.Error("a new set is not looked at")
	}
}
