package host

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
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
		{"the state of its repository", func(h *v1alpha1.Host) { h.Status.Repository = &v1alpha1.RepositoryStatus{State: "Failed"} }, true},
		{"a condition, which may have been computed from a stale copy", func(h *v1alpha1.Host) {
			h.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionConnected, Status: metav1.ConditionTrue}}
		}, true},
		{"the result of a check", func(h *v1alpha1.Host) {
			h.Status.Maintenance = &v1alpha1.MaintenanceStatus{Check: &v1alpha1.OperationStatus{Result: v1alpha1.ResultFailed}}
		}, true},
		{"when a check is due", func(h *v1alpha1.Host) {
			h.Status.Maintenance = &v1alpha1.MaintenanceStatus{Check: &v1alpha1.OperationStatus{Result: v1alpha1.ResultSucceeded, NextScheduleTime: &metav1.Time{}}}
		}, false},
		{"the result of a forget", func(h *v1alpha1.Host) {
			h.Status.Maintenance = &v1alpha1.MaintenanceStatus{
				Check: &v1alpha1.OperationStatus{Result: v1alpha1.ResultSucceeded}, Forget: &v1alpha1.OperationStatus{Result: v1alpha1.ResultFailed},
			}
		}, false},
		{"the size of its repository", func(h *v1alpha1.Host) { h.Status.Repository.Stats = &v1alpha1.RepositoryStats{Snapshots: 8} }, false},
		{"how a backup ended", func(h *v1alpha1.Host) { h.Status.SourceGroups[0].Result = v1alpha1.ResultFailed }, true},
		{"what else it said", func(h *v1alpha1.Host) {
			h.Status.SourceGroups[0].Message, h.Status.SourceGroups[0].Backup = "3 files", &v1alpha1.BackupSummary{FilesNew: 3}
			h.Status.LastReport = &v1alpha1.ReportPosition{Seq: 2}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Generation: 1}}
			before.Status.Repository = &v1alpha1.RepositoryStatus{State: "Ready"}
			before.Status.Maintenance = &v1alpha1.MaintenanceStatus{Check: &v1alpha1.OperationStatus{Result: v1alpha1.ResultSucceeded}}
			before.Status.SourceGroups = []v1alpha1.SourceGroupResult{{Name: "etc", Result: v1alpha1.ResultSucceeded}}
			after := before.DeepCopy()
			tt.change(after)
			if got := hostChanged.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != tt.want {
				t.Errorf("looked at: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestWhichChangesOfASecretAreLookedAt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*corev1.Secret)
		want   bool
	}{
		{"nothing", func(*corev1.Secret) {}, false},
		{"its data", func(s *corev1.Secret) { s.Data = map[string][]byte{"RESTIC_PASSWORD": nil} }, true},
		{"a confirmed export", func(s *corev1.Secret) { s.Annotations = map[string]string{v1alpha1.AnnotationExported: "true"} }, true},
		{"another annotation", func(s *corev1.Secret) { s.Annotations = map[string]string{"other": "true"} }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := &corev1.Secret{}
			after := before.DeepCopy()
			tt.change(after)
			if got := secretChanged.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != tt.want {
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
		{"what its owner does not allow", func(s *v1alpha1.ScheduleSet) { s.Status.NotAllowed = []v1alpha1.NotAllowed{{What: "hooks"}} }, true},
		{"what the agent says of itself", func(s *v1alpha1.ScheduleSet) { s.Status.Agent = &v1alpha1.AgentStatus{Version: "v1"} }, true},
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

func TestWhichHostsASecretAndARepoMaintenanceConcern(t *testing.T) {
	h := newHarness(t)
	with := func(name, url string, change func(*v1alpha1.Repository)) *v1alpha1.Host {
		host := newHost(name)
		host.Spec.Repository, host.Labels = v1alpha1.Repository{URL: url}, map[string]string{"only": name}
		change(&host.Spec.Repository)
		return host
	}
	ordinary := func(r *v1alpha1.Repository) { r.CredentialsSecretRef = &v1alpha1.LocalReference{Name: "ordinary"} }
	admin := func(r *v1alpha1.Repository) { r.AdminCredentialsSecretRef = &v1alpha1.LocalReference{Name: "admin"} }
	h.create(with("db-1", "rest:https://backup.example.com/shared", admin), with("db-2", "rest:https://backup.example.com/shared/", admin), with("db-3", "rest:https://backup.example.com/alone", admin), with("web-1", "rest:https://backup.example.com/shared", ordinary))
	names := func(requests []ctrl.Request) []string {
		var names []string
		for _, r := range requests {
			names = append(names, r.Name)
		}
		return names
	}
	for secret, want := range map[string][]string{
		"ordinary": {"web-1"}, "admin": {"db-1", "db-2", "db-3"}, "db-2-repo": {"db-2"}, "web-1-repo": nil,
	} {
		object := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: secret}}
		if diff := cmp.Diff(want, names(h.hostsOfSecret(t.Context(), object))); diff != "" {
			t.Errorf("Secret %s (-want +got):\n%s", secret, diff)
		}
	}
	// Those with admin credentials, on the same repository as one that it selects.
	m := newMaintenance("one", "")
	m.Namespace = h.namespace
	for name, selector := range map[string]v1alpha1.Selector{
		"by name":  {HostRef: &v1alpha1.LocalReference{Name: "web-1"}},
		"by label": {HostSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"only": "web-1"}}},
	} {
		m.Spec.Selector = selector
		if diff := cmp.Diff([]string{"db-1", "db-2"}, slices.Sorted(slices.Values(names(h.hostsOfMaintenance(t.Context(), m))))); diff != "" {
			t.Errorf("RepoMaintenance %s (-want +got):\n%s", name, diff)
		}
	}
	m.Spec.Selector = v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "nowhere"}}
	if got := h.hostsOfMaintenance(t.Context(), m); len(got) != 0 {
		t.Errorf("one for no Host concerns %v", got)
	}
}
