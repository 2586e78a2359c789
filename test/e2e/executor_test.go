package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func TestAnExecutorDeletesSoThatTheMachineNeverCan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "executor")
	var admin string
	w.host("web", w.appendOnly(&admin))
	w.host("trusted")
	dir := w.files("web", "a")
	w.retention(w.group("data", "web", dir))
	machine, trusted := w.agent("web"), w.agent("trusted")
	w.settled("web")
	w.settled("trusted")
	w.backups("web", "data", dir, "first", "second")
	w.maintenance("by-the-executor", v1alpha1.RepoMaintenanceSpec{
		Selector:    v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "web"}},
		ExecutorRef: &v1alpha1.LocalReference{Name: "trusted"},
		Forget:      &v1alpha1.Cadence{Cron: everyMinute},
		Prune:       &v1alpha1.PruneCadence{Cadence: v1alpha1.Cadence{Cron: everyMinute}, PruneOptions: v1alpha1.PruneOptions{MaxUnused: "0"}},
		Check:       &v1alpha1.CheckCadence{Cadence: v1alpha1.Cadence{Cron: everyMinute}},
	})
	t.Log("waiting for the next full minute")
	for _, pick := range []func(*v1alpha1.MaintenanceStatus) *v1alpha1.OperationStatus{forgetOf, pruneOf, checkOf} {
		if o := w.operation("web", "an operation to succeed", pick, succeeded); o.Executor != "trusted" {
			t.Errorf("the operation was done by %q, want trusted: %+v", o.Executor, o)
		}
	}
	host := w.mustHost("web")
	for _, c := range host.Status.Conditions {
		if c.Type == v1alpha1.ConditionAdminCredentialsExposed && c.Status == metav1.ConditionTrue {
			t.Errorf("AdminCredentialsExposed is True although an executor is named: %s", c.Message)
		}
	}
	if out := w.restic(host, w.repositoryPassword("web"), "snapshots", "--json"); strings.Count(out, `"short_id"`) != 1 {
		t.Errorf("one snapshot is kept; there are: %s", out)
	}
	if w.machineHolds(machine, admin) || w.machineHolds(trusted, admin) {
		t.Error("the admin password lies on a machine")
	}
	if s := w.mustHost("trusted").Status.Repository; s == nil || !strings.Contains(s.URL, "trusted") {
		t.Errorf("the executor's own repository is %+v: the jobs on another one must not touch it", s)
	}

	// Whoever may create HostJobs must not get the credentials to a machine of his own.
	w.host("stranger")
	w.agent("stranger")
	w.settled("stranger")
	for name, spec := range map[string]v1alpha1.HostJobSpec{
		"to-a-stranger": {HostRef: v1alpha1.LocalReference{Name: "stranger"}, TargetRef: &v1alpha1.LocalReference{Name: "web"}, Kind: v1alpha1.HostJobForget},
		"to-itself":     {HostRef: v1alpha1.LocalReference{Name: "web"}, Kind: v1alpha1.HostJobPrune},
	} {
		w.job(name, spec)
		job := w.phase(name, v1alpha1.JobFailed)
		w.condition(job, func() []metav1.Condition { return job.Status.Conditions }, v1alpha1.ConditionFailed, metav1.ConditionTrue, "trusted")
		if len(job.Status.Credentials) != 0 || job.Status.Command != nil {
			t.Errorf("HostJob %s was given credentials or a command: %+v", name, job.Status)
		}
	}
}

func TestASharedRepositoryIsMaintainedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shared")
	var admin string
	first := w.host("one", w.appendOnly(&admin))
	secret, err := get(t.Context(), w, "one-repo", &corev1Secret{})
	w.must(err)
	w.host("two", func(h *v1alpha1.Host, s *corev1Secret) {
		h.Spec.Repository.URL = first.Spec.Repository.URL
		h.Spec.Repository.AdminCredentialsSecretRef = first.Spec.Repository.AdminCredentialsSecretRef
		for key, value := range secret.Data {
			s.StringData[key] = string(value)
		}
	})
	oneDir, twoDir := w.files("one", "a"), w.files("two", "b")
	w.retention(w.group("data", "one", oneDir))
	w.group("other", "two", twoDir) // no retention: nothing of it is ever forgotten
	w.agent("one")
	w.settled("one")
	w.agent("two")
	w.settled("two")
	w.backups("one", "data", oneDir, "one-first", "one-second")
	w.backups("two", "other", twoDir, "two-first", "two-second")
	w.maintenance("both", v1alpha1.RepoMaintenanceSpec{
		Selector: v1alpha1.Selector{HostSelector: &metav1.LabelSelector{}},
		Forget:   &v1alpha1.Cadence{Cron: everyMinute},
		Prune:    &v1alpha1.PruneCadence{Cadence: v1alpha1.Cadence{Cron: everyMinute}},
	})
	t.Log("waiting for the next full minute")
	for _, host := range []string{"one", "two"} {
		w.operation(host, "prune to succeed", pruneOf, succeeded)
		w.operation(host, "forget to succeed", forgetOf, succeeded)
	}
	slots := map[string]int{}
	jobs, err := w.madeBy(t.Context())
	w.must(err)
	for _, j := range jobs {
		slots[string(j.Spec.Kind)+" "+j.Annotations[v1alpha1.AnnotationScheduleTime]]++
	}
	for slot, n := range slots {
		if n != 1 {
			t.Errorf("%d HostJobs for %s, want 1 for both hosts", n, slot)
		}
	}
	password := string(secret.Data["RESTIC_PASSWORD"])
	for tag, want := range map[string]int{"data": 1, "other": 2} {
		if out := w.restic(first, password, "snapshots", "--json", "--tag", tag); strings.Count(out, `"short_id"`) != want {
			t.Errorf("%d snapshots with tag %s are wanted; there are: %s", want, tag, out)
		}
	}
}

func TestExclusiveJobsOfOneRepositoryWaitForEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "exclusive")
	var admin string
	w.host("one", w.appendOnly(&admin), func(h *v1alpha1.Host, _ *corev1Secret) {
		h.Spec.Bandwidth = &v1alpha1.Bandwidth{DownloadKBps: 256} // reading all the data takes a while
	})
	dir := w.files("one", "a")
	w.noise(dir, 4<<20)
	w.retention(w.group("data", "one", dir))
	w.agent("one")
	w.settled("one")
	w.backups("one", "data", dir, "first")
	ref := v1alpha1.LocalReference{Name: "one"}
	w.job("check", v1alpha1.HostJobSpec{HostRef: ref, Kind: v1alpha1.HostJobCheck, Check: &v1alpha1.CheckJob{ReadDataSubset: "100%"}})
	w.phase("check", v1alpha1.JobRunning)
	w.job("prune", v1alpha1.HostJobSpec{HostRef: ref, Kind: v1alpha1.HostJobPrune})
	prune := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "prune"}}
	w.condition(prune, func() []metav1.Condition { return prune.Status.Conditions }, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonWaitingForRepository, "check")
	w.eventually("check, then prune", func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(prune), prune); err != nil {
			return err
		}
		check, err := get(ctx, w, "check", &v1alpha1.HostJob{})
		if err != nil {
			return err
		}
		if !check.Status.Phase.Finished() {
			if prune.Status.DispatchTime != nil {
				return errors.New("prune was sent while check runs")
			}
			return fmt.Errorf("check is %s", check.Status.Phase)
		}
		if prune.Status.Phase != v1alpha1.JobSucceeded {
			return fmt.Errorf("prune is %s", prune.Status.Phase)
		}
		return nil
	})
}
