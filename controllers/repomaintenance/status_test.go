package repomaintenance

import (
	"context"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
)

// condition waits until a condition is "Status Reason", or "" for absent.
func (f *fixture) condition(name, what, kind, want string) {
	f.t.Helper()
	f.eventually(what, func(ctx context.Context) error {
		m := &v1alpha1.RepoMaintenance{}
		if err := f.client.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: name}, m); err != nil {
			return err
		}
		got := ""
		if c := meta.FindStatusCondition(m.Status.Conditions, kind); c != nil {
			got = string(c.Status) + " " + c.Reason
		}
		if got != want || m.Status.ObservedGeneration != m.Generation {
			return fmt.Errorf("%s is %q in generation %d of %d: %+v", kind, got, m.Status.ObservedGeneration, m.Generation, m.Status)
		}
		return nil
	})
}

func (f *fixture) counts(name, want string) {
	f.t.Helper()
	f.eventually("the counts are "+want, func(ctx context.Context) error {
		m := &v1alpha1.RepoMaintenance{}
		if err := f.client.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: name}, m); err != nil {
			return err
		}
		got := fmt.Sprintf("%d hosts, %d repositories, %d failing, %d running", m.Status.HostsMatched, m.Status.Repositories, m.Status.Failing, m.Status.Running)
		if got != want {
			return fmt.Errorf("they are %s", got)
		}
		return nil
	})
}

func TestStatusFollowsHostsJobsAndOthers(t *testing.T) {
	f := newFixture(t)
	f.group("etc")
	f.create(everything("all", func(s *v1alpha1.RepoMaintenanceSpec) {
		s.Check, s.Verify, s.ExecutorRef = nil, nil, &v1alpha1.LocalReference{Name: "nas"}
	}))
	f.condition("all", "a missing executor is told", v1alpha1.ConditionReady, "False ExecutorNotFound")
	f.host("nas", func(h *v1alpha1.Host) { h.Labels = nil })
	f.condition("all", "it is found when it comes", v1alpha1.ConditionReady, "True NoHostMatches")
	f.host("web-1", withURL("rest:https://backup.example.com/shared"))
	f.host("web-2", withURL("rest:https://backup.example.com/shared"))
	f.host("web-3")
	f.counts("all", "3 hosts, 2 repositories, 0 failing, 0 running")
	f.condition("all", "it is in force", v1alpha1.ConditionReady, "True Accepted")
	f.condition("all", "missing admin credentials are told", v1alpha1.ConditionAdminCredentialsBound, "False NoAdminCredentials")
	f.condition("all", "nothing ran", v1alpha1.ConditionHealthy, "Unknown NothingRunYet")
	f.connect("nas", false)
	f.condition("all", "an executor that is away is told", v1alpha1.ConditionHealthy, "False ExecutorNotConnected")
	f.connect("nas", true)

	for _, name := range []string{"web-1", "web-2", "web-3"} {
		f.planned(name, maintenance.Forget)
		h := &v1alpha1.Host{}
		f.read(name, h)
		edit(f, h, func() { withAdmin(h) })
	}
	f.condition("all", "bound ones too", v1alpha1.ConditionAdminCredentialsBound, "True AllBound")
	f.planned("web-1", maintenance.Prune)
	f.toTheHour()
	f.counts("all", "3 hosts, 2 repositories, 0 failing, 2 running")
	jobs, err := f.jobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range jobs {
		if jobs[i].TargetName() == "web-1" {
			f.finish(&jobs[i], v1alpha1.JobFailed, &v1alpha1.JobResultStatus{Reason: "Locked", Message: "another process holds the lock"})
		} else {
			f.succeed(&jobs[i])
		}
	}
	f.condition("all", "a failure is told", v1alpha1.ConditionHealthy, "False OperationsFailing")
	f.counts("all", "3 hosts, 2 repositories, 1 failing, 2 running") // both prune now
	m := &v1alpha1.RepoMaintenance{}
	f.read("all", m)
	want := "the last run failed on 1 of 2 repositories: web-1: forget: another process holds the lock"
	if got := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionHealthy).Message; got != want {
		t.Errorf("the message is %q, expected %q", got, want)
	}
	wrong := m.DeepCopy()
	wrong.Status.HostsMatched = 0 // as if it had been computed from a stale copy
	if err := f.client.Status().Patch(t.Context(), wrong, client.MergeFrom(m.DeepCopy())); err != nil {
		t.Fatal(err)
	}
	f.counts("all", "3 hosts, 2 repositories, 1 failing, 2 running")

	f.create(everything("later", func(s *v1alpha1.RepoMaintenanceSpec) {
		s.HostSelector = nil
		s.HostRef = &v1alpha1.LocalReference{Name: "web-3"}
	}))
	f.condition("later", "a later one that adds nothing is told", v1alpha1.ConditionReady, "False Overridden")
	if err := f.client.Delete(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	f.condition("later", "it comes into force when the other goes", v1alpha1.ConditionReady, "True Accepted")
}
