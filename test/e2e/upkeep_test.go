package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/scenario"
	"github.com/restic-manager/restic-manager/test/stack"
)

// appendOnly moves a Host to the append-only way to its repository, and gives it admin credentials that go the other way. It returns the admin password.
func (w *world) appendOnly(password *string) hostOption {
	return func(host *v1alpha1.Host, secret *corev1.Secret) {
		w.Helper()
		user := secret.StringData["RESTIC_REST_USERNAME"]
		w.must(w.AppendOnly.SetUser(user, secret.StringData["RESTIC_REST_PASSWORD"]))
		admin, err := scenario.NewPassword()
		w.must(err)
		w.must(w.Rest.SetUser(user, admin))
		host.Spec.Repository.URL = w.AppendOnly.RepositoryURL(user)
		host.Spec.Repository.AdminCredentialsSecretRef = &v1alpha1.LocalReference{Name: host.Name + "-admin"}
		w.create(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: host.Name + "-admin", Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
			StringData: map[string]string{
				"RESTIC_PASSWORD": secret.StringData["RESTIC_PASSWORD"], "RESTIC_REST_USERNAME": user, "RESTIC_REST_PASSWORD": admin,
				v1alpha1.AdminRepositoryKey: w.Rest.RepositoryURL(user),
			},
		})
		*password = admin
	}
}

// job creates a HostJob of any kind.
func (w *world) job(name string, spec v1alpha1.HostJobSpec) *v1alpha1.HostJob {
	w.Helper()
	j := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
	w.create(j)
	return j
}

// maintenance creates a RepoMaintenance.
func (w *world) maintenance(name string, spec v1alpha1.RepoMaintenanceSpec) *v1alpha1.RepoMaintenance {
	w.Helper()
	m := &v1alpha1.RepoMaintenance{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
	w.create(m)
	return m
}

// madeBy lists the HostJobs that maintenance made.
func (w *world) madeBy(ctx context.Context) ([]v1alpha1.HostJob, error) {
	var jobs v1alpha1.HostJobList
	err := w.List(ctx, &jobs, client.InNamespace(w.ns), client.HasLabels{v1alpha1.LabelMaintenance})
	return jobs.Items, err
}

// retention keeps only the newest snapshot of a group.
func (w *world) retention(group *v1alpha1.SourceGroup) {
	w.Helper()
	w.must(w.change(group, func() { group.Spec.Retention = &v1alpha1.Retention{KeepLast: 1} }))
}

// backups makes a snapshot for each name, each with another content.
func (w *world) backups(host, group, dir string, names ...string) {
	w.Helper()
	for _, name := range names {
		w.must(os.WriteFile(filepath.Join(dir, "changing"), []byte(strings.Repeat(name, 1000)), 0o644))
		w.backup(name, host, group)
		w.phase(name, v1alpha1.JobSucceeded)
	}
}

// operation waits until the last run of an operation is as wanted.
func (w *world) operation(host, what string, pick func(*v1alpha1.MaintenanceStatus) *v1alpha1.OperationStatus, ok func(*v1alpha1.OperationStatus) bool) *v1alpha1.OperationStatus {
	w.Helper()
	var found *v1alpha1.OperationStatus
	env.Eventually(w.T, 3*time.Minute, what, func(ctx context.Context) error {
		h, err := get(ctx, w, host, &v1alpha1.Host{})
		if err != nil {
			return err
		}
		if h.Status.Maintenance == nil {
			return errors.New("status.maintenance is empty")
		}
		if found = pick(h.Status.Maintenance); found == nil || !ok(found) {
			return fmt.Errorf("it is %+v", found)
		}
		return nil
	})
	return found
}

func forgetOf(m *v1alpha1.MaintenanceStatus) *v1alpha1.OperationStatus { return m.Forget }
func pruneOf(m *v1alpha1.MaintenanceStatus) *v1alpha1.OperationStatus  { return m.Prune }
func checkOf(m *v1alpha1.MaintenanceStatus) *v1alpha1.OperationStatus  { return m.Check }
func verifyOf(m *v1alpha1.MaintenanceStatus) *v1alpha1.OperationStatus { return m.Verify }

func succeeded(o *v1alpha1.OperationStatus) bool { return o.Result == v1alpha1.ResultSucceeded }

// machineHolds tells whether any file of a machine holds a text.
func (w *world) machineHolds(a *stack.Agent, text string) bool {
	w.Helper()
	found := false
	w.must(filepath.WalkDir(a.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return ignoreGone(err)
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte(text)) {
			w.Logf("%s holds it", path)
			found = true
		}
		return ignoreGone(err)
	}))
	return found
}

// ignoreGone: an agent works on while its folder is searched.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// everyMinute is due at each full minute.
const everyMinute = "* * * * *"

func TestMaintenanceRunsByItselfInOrderAndOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "upkeep")
	var admin string
	w.host("one", w.appendOnly(&admin))
	dir := w.files("one", "a")
	group := w.group("data", "one", dir)
	w.retention(group)
	agent := w.agent("one")
	w.settled("one")
	w.backups("one", "data", dir, "first", "second", "third")
	maintenance := w.maintenance("all", v1alpha1.RepoMaintenanceSpec{
		Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "one"}},
		Forget:   &v1alpha1.Cadence{Cron: everyMinute},
		Prune:    &v1alpha1.PruneCadence{Cadence: v1alpha1.Cadence{Cron: everyMinute}, PruneOptions: v1alpha1.PruneOptions{MaxUnused: "0"}},
		Check:    &v1alpha1.CheckCadence{Cadence: v1alpha1.Cadence{Cron: everyMinute}, ReadDataRotation: 2},
		Verify:   &v1alpha1.VerifyCadence{Cadence: v1alpha1.Cadence{Cron: everyMinute}, Sample: 5},
	})
	w.hostCondition("one", v1alpha1.ConditionAdminCredentialsExposed, metav1.ConditionTrue)
	t.Log("waiting for the next full minute")
	var done []*v1alpha1.OperationStatus
	for _, pick := range []func(*v1alpha1.MaintenanceStatus) *v1alpha1.OperationStatus{forgetOf, pruneOf, checkOf, verifyOf} {
		done = append(done, w.operation("one", "an operation to succeed", pick, succeeded))
	}
	for i := 1; i < len(done); i++ {
		if done[i].FinishTime.Before(done[i-1].FinishTime) {
			t.Errorf("operation %d ended at %s, before the one that goes first (%s)", i, done[i].FinishTime, done[i-1].FinishTime)
		}
	}
	// Nothing runs twice for one slot: names are made of the slot. Suspended, what is there stays as it is.
	w.must(w.change(maintenance, func() { maintenance.Spec.Suspend = true }))
	w.eventually("all jobs to end", func(ctx context.Context) error {
		jobs, err := w.madeBy(ctx)
		if err != nil {
			return err
		}
		for _, j := range jobs {
			if !j.Status.Phase.Finished() {
				return fmt.Errorf("%s is %s", j.Name, j.Status.Phase)
			}
			if j.Status.Phase != v1alpha1.JobSucceeded {
				return env.Permanent(fmt.Errorf("%s is %s: %+v", j.Name, j.Status.Phase, j.Status.Result))
			}
			if len(j.Status.Credentials) != 0 {
				return fmt.Errorf("%s still holds sealed credentials", j.Name)
			}
		}
		return nil
	})
	host := w.mustHost("one")
	if out := w.restic(host, w.repositoryPassword("one"), "snapshots", "--json", "--tag", "data"); strings.Count(out, `"short_id"`) != 1 {
		t.Errorf("the retention keeps one snapshot; there are: %s", out)
	}
	w.hostCondition("one", v1alpha1.ConditionRepositoryHealthy, metav1.ConditionTrue)
	if w.machineHolds(agent, admin) {
		t.Error("the admin password lies on the machine")
	}
	w.eventually("the statistics of the repository", func(ctx context.Context) error {
		h, err := get(ctx, w, "one", &v1alpha1.Host{})
		if err != nil {
			return err
		}
		if r := h.Status.Repository; r == nil || r.Stats == nil || r.Stats.Snapshots != 1 || r.Stats.RestoreBytes == 0 || r.Stats.RawBytes == 0 {
			return fmt.Errorf("status.repository is %+v", r)
		}
		return nil
	})
}

func TestPruneWithoutAdminCredentialsIsSkippedQuietly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "no-admin")
	w.host("one")
	w.group("data", "one", w.files("one", "a"))
	w.agent("one")
	w.settled("one")
	m := w.maintenance("all", v1alpha1.RepoMaintenanceSpec{
		Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "one"}},
		Prune:    &v1alpha1.PruneCadence{Cadence: v1alpha1.Cadence{Cron: everyMinute}},
		Check:    &v1alpha1.CheckCadence{Cadence: v1alpha1.Cadence{Cron: everyMinute}},
	})
	w.condition(m, func() []metav1.Condition { return m.Status.Conditions }, v1alpha1.ConditionAdminCredentialsBound, metav1.ConditionFalse, v1alpha1.ReasonNoAdminCredentials, "one")
	w.operation("one", "check to succeed", checkOf, succeeded)
	jobs, err := w.madeBy(t.Context())
	w.must(err)
	for _, j := range jobs {
		if j.Spec.Kind == v1alpha1.HostJobPrune {
			t.Errorf("a prune was created: %s", j.Name)
		}
	}
	for _, reason := range []string{v1alpha1.EventPruneFailed} {
		found, err := w.events(t.Context(), reason)
		w.must(err)
		if len(found) != 0 {
			t.Errorf("%d Events %s tell what was skipped: %+v", len(found), reason, found)
		}
	}
	// By hand it is refused before anything is sent.
	w.job("prune", v1alpha1.HostJobSpec{HostRef: v1alpha1.LocalReference{Name: "one"}, Kind: v1alpha1.HostJobPrune})
	job := w.phase("prune", v1alpha1.JobFailed)
	if job.Status.DispatchTime != nil {
		t.Error("a prune without admin credentials was sent to the machine")
	}
	w.condition(job, func() []metav1.Condition { return job.Status.Conditions }, v1alpha1.ConditionFailed, metav1.ConditionTrue, "adminCredentialsSecretRef")
}
