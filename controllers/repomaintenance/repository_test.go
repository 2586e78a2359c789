package repomaintenance

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
)

func TestEachOperationRunsOnceInOrder(t *testing.T) {
	f := newFixture(t)
	f.group("etc")
	f.host("web-1", withAdmin)
	f.create(everything("all"))
	for _, o := range maintenance.Operations {
		f.planned("web-1", o)
	}
	f.wantCreated(0)
	f.toTheHour()
	slot := f.clock.Now()

	forget := f.open(maintenance.Forget, "web-1")
	want := v1alpha1.HostJobSpec{HostRef: v1alpha1.LocalReference{Name: "web-1"}, Kind: v1alpha1.HostJobForget, StartingDeadlineSeconds: 900, ActiveDeadlineSeconds: 86400}
	if diff := cmp.Diff(want, forget.Spec); diff != "" {
		t.Errorf("forget (-want +got):\n%s", diff)
	}
	labels := map[string]string{v1alpha1.LabelMaintenance: "all", v1alpha1.LabelOperation: "forget", v1alpha1.LabelHost: "web-1"}
	if diff := cmp.Diff(labels, forget.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if name := fmt.Sprintf("web-1-forget-%d", slot.Unix()/60); forget.Name != name {
		t.Errorf("named %s, expected %s", forget.Name, name)
	}
	f.record("web-1", maintenance.Forget, "its start is recorded", func(s *v1alpha1.OperationStatus) bool {
		return s.HostJob == forget.Name && s.LastScheduleTime.Equal(slotTime(slot)) && s.NextScheduleTime.After(slot) && s.Result == ""
	})
	f.succeed(forget)

	prune := f.open(maintenance.Prune, "web-1")
	if diff := cmp.Diff(&v1alpha1.PruneOptions{MaxUnused: "5%"}, prune.Spec.Prune); diff != "" {
		t.Errorf("prune (-want +got):\n%s", diff)
	}
	f.record("web-1", maintenance.Forget, "its success is recorded", func(s *v1alpha1.OperationStatus) bool {
		return s.Result == v1alpha1.ResultSucceeded && s.Message == "done" && s.LastSuccessTime != nil && s.ConsecutiveFailures == 0
	})
	f.finish(prune, v1alpha1.JobFailed, &v1alpha1.JobResultStatus{Reason: "Unreachable", Message: "no route to host"})

	check := f.open(maintenance.Check, "web-1")
	if diff := cmp.Diff(&v1alpha1.CheckJob{ReadDataSubset: "1/3"}, check.Spec.Check); diff != "" {
		t.Errorf("check (-want +got):\n%s", diff)
	}
	f.record("web-1", maintenance.Prune, "its failure is recorded", func(s *v1alpha1.OperationStatus) bool {
		return s.Result == v1alpha1.ResultFailed && s.Reason == "Unreachable" && s.Message == "no route to host" && s.ConsecutiveFailures == 1 && s.LastSuccessTime == nil
	})
	f.succeed(check)

	verify := f.open(maintenance.Verify, "web-1")
	if diff := cmp.Diff(&v1alpha1.VerifyJob{Sample: 5}, verify.Spec.Verify); diff != "" {
		t.Errorf("verify (-want +got):\n%s", diff)
	}
	f.succeed(verify)
	f.record("web-1", maintenance.Verify, "its success is recorded", func(s *v1alpha1.OperationStatus) bool { return s.Result == v1alpha1.ResultSucceeded })
	f.wantCreated(4)

	// The next hour: the rotation goes on, and the jobs of the last one are replaced.
	f.toTheHour()
	for _, o := range []maintenance.Operation{maintenance.Forget, maintenance.Prune} {
		f.succeed(f.open(o, "web-1"))
	}
	check = f.open(maintenance.Check, "web-1")
	if check.Spec.Check.ReadDataSubset != "2/3" {
		t.Errorf("the second check reads %s", check.Spec.Check.ReadDataSubset)
	}
	f.gone(forget.Name)
	f.gone(prune.Name) // a failed one goes with the next success
	f.record("web-1", maintenance.Prune, "the failures are over", func(s *v1alpha1.OperationStatus) bool { return s.ConsecutiveFailures == 0 })
}

func TestARestartInTheMiddleRunsNothingTwice(t *testing.T) {
	f := newFixture(t)
	f.group("etc")
	f.host("web-1", withAdmin)
	f.create(everything("all", func(s *v1alpha1.RepoMaintenanceSpec) { s.Verify, s.Check = nil, nil }))
	f.planned("web-1", maintenance.Prune)
	f.toTheHour()
	forget := f.open(maintenance.Forget, "web-1")
	f.meanwhile(0, func() {
		// As if it had been killed before it wrote that it made the job.
		f.status("web-1", func(s *v1alpha1.HostStatus) {
			s.Maintenance.Forget.LastScheduleTime, s.Maintenance.Forget.HostJob, s.Maintenance.Forget.NextScheduleTime = nil, "", slotTime(f.clock.Now())
		})
	})
	f.record("web-1", maintenance.Forget, "the job is found again", func(s *v1alpha1.OperationStatus) bool { return s.HostJob == forget.Name })
	f.wantCreated(1)

	f.meanwhile(0, func() { f.succeed(forget) })
	f.record("web-1", maintenance.Forget, "its result is found", func(s *v1alpha1.OperationStatus) bool { return s.Result == v1alpha1.ResultSucceeded })
	prune := f.open(maintenance.Prune, "web-1")
	f.meanwhile(20*time.Minute, func() { f.succeed(prune) })
	f.record("web-1", maintenance.Prune, "its result is found", func(s *v1alpha1.OperationStatus) bool { return s.Result == v1alpha1.ResultSucceeded })
	f.wantCreated(2)
}

func TestAFinishedJobIsDeletedOnlyAfterItsResultIsWritten(t *testing.T) {
	f := newFixture(t)
	f.group("etc")
	f.host("web-1")
	f.create(everything("all", onlyForget))
	f.planned("web-1", maintenance.Forget)
	f.toTheHour()
	forget := f.open(maintenance.Forget, "web-1")
	f.meanwhile(59*time.Minute, func() { f.succeed(forget) }) // within its hour, and the next one is not due
	f.record("web-1", maintenance.Forget, "the result is written", func(s *v1alpha1.OperationStatus) bool { return s.Result == v1alpha1.ResultSucceeded })
	f.read(forget.Name, forget)
	f.meanwhile(2*time.Minute, func() { f.connect("web-1", false) }) // nothing is due on it, and the job is old enough an hour after its end
	f.gone(forget.Name)
	f.record("web-1", maintenance.Forget, "the record stays", func(s *v1alpha1.OperationStatus) bool {
		return s.Result == v1alpha1.ResultSucceeded && s.HostJob == forget.Name
	})
	f.wantCreated(1)
}

func TestFailuresAreKeptUntilASuccessAndAreBounded(t *testing.T) {
	f := newFixture(t)
	f.group("etc")
	f.host("web-1")
	f.create(everything("all", onlyForget))
	f.planned("web-1", maintenance.Forget)
	var names []string
	for n := int32(1); n <= 5; n++ {
		f.toTheHour()
		forget := f.open(maintenance.Forget, "web-1")
		names = append(names, forget.Name)
		f.finish(forget, v1alpha1.JobFailed, &v1alpha1.JobResultStatus{Reason: "Locked", Message: "locked"})
		f.record("web-1", maintenance.Forget, fmt.Sprintf("%d failures are counted", n), func(s *v1alpha1.OperationStatus) bool { return s.ConsecutiveFailures == n })
	}
	f.gone(names[0])
	f.gone(names[1])
	f.pass(30 * time.Minute)
	jobs, err := f.jobs(t.Context())
	if err != nil || len(jobs) != 3 {
		t.Errorf("%s are kept (%v), expected the last three", described(jobs), err)
	}
	f.toTheHour()
	f.succeed(f.open(maintenance.Forget, "web-1"))
	for _, name := range names {
		f.gone(name)
	}
}

func TestAnOfflineHostIsSkippedAndRunsOnceWhenItIsBack(t *testing.T) {
	f := newFixture(t)
	f.group("etc")
	f.host("web-1")
	f.create(everything("all", onlyForget))
	f.planned("web-1", maintenance.Forget)
	f.meanwhile(3*time.Hour, func() { f.connect("web-1", false) }) // a look that began before would take it for connected still
	f.host("web-2")                                                // the controller has looked at web-1 when it has planned for this one
	f.planned("web-2", maintenance.Forget)
	f.wantCreated(0)
	f.connect("web-1", true)
	forget := f.open(maintenance.Forget, "web-1")
	if slot := forget.Annotations[v1alpha1.AnnotationScheduleTime]; slot != f.clock.Now().Truncate(time.Hour).UTC().Format(time.RFC3339) {
		t.Errorf("it runs for %s, expected the newest of the three", slot)
	}
	f.succeed(forget)
	f.record("web-1", maintenance.Forget, "it is done", func(s *v1alpha1.OperationStatus) bool { return s.Result == v1alpha1.ResultSucceeded })
	f.wantCreated(1)
}

func TestAJobThatExpiredIsMadeAgainWhenTheMachineIsBack(t *testing.T) {
	f := newFixture(t)
	f.group("etc")
	f.host("web-1")
	f.create(everything("all", onlyForget, func(s *v1alpha1.RepoMaintenanceSpec) { s.Forget.Cron = "@daily" }))
	f.plannedFor("web-1", maintenance.Forget, f.clock.Now().Truncate(24*time.Hour).Add(24*time.Hour))
	f.pass(24 * time.Hour)
	first := f.open(maintenance.Forget, "web-1")
	f.connect("web-1", false)
	f.clock.SetTime(f.clock.Now().Add(16 * time.Minute))
	f.finish(first, v1alpha1.JobExpired, nil)
	f.clock.SetTime(f.clock.Now().Add(10 * time.Minute))
	f.connect("web-1", true)
	second := f.open(maintenance.Forget, "web-1")
	if second.Name != first.Name || second.UID == first.UID {
		t.Errorf("%s with UID %s, expected another job of the same name %s", second.Name, second.UID, first.Name)
	}
	f.succeed(second)
	f.record("web-1", maintenance.Forget, "it is done", func(s *v1alpha1.OperationStatus) bool { return s.Result == v1alpha1.ResultSucceeded })
	f.wantCreated(2)
}

func TestASharedRepositoryIsMaintainedOnce(t *testing.T) {
	f := newFixture(t)
	f.group("etc")
	shared := withURL("rest:https://backup.example.com/shared")
	f.host("web-2", shared)
	f.host("web-1", withURL("rest:https://backup.example.com/shared/"), withAdmin)
	f.create(everything("all", func(s *v1alpha1.RepoMaintenanceSpec) { s.Check = nil }))
	for _, host := range []string{"web-1", "web-2"} {
		f.planned(host, maintenance.Forget)
		f.planned(host, maintenance.Verify)
	}
	f.toTheHour()
	forget := f.open(maintenance.Forget, "web-1") // it has the admin credentials
	if forget.Spec.HostRef.Name != "web-1" || forget.Spec.TargetRef != nil {
		t.Errorf("forget is %+v, expected that web-1 does it for its own repository", forget.Spec)
	}
	f.succeed(forget)
	f.succeed(f.open(maintenance.Prune, "web-1"))
	for host, executor := range map[string]string{"web-1": "", "web-2": "web-1"} {
		for _, o := range []maintenance.Operation{maintenance.Forget, maintenance.Prune} {
			f.record(host, o, "the result is written for both", func(s *v1alpha1.OperationStatus) bool {
				return s.Result == v1alpha1.ResultSucceeded && s.Executor == executor
			})
		}
	}
	f.succeed(f.open(maintenance.Verify, "web-1"))
	f.succeed(f.open(maintenance.Verify, "web-2"))
	for _, host := range []string{"web-1", "web-2"} {
		f.record(host, maintenance.Verify, "each has its own drill", func(s *v1alpha1.OperationStatus) bool {
			return s.Result == v1alpha1.ResultSucceeded && s.Executor == ""
		})
	}
	f.wantCreated(4)
}

func TestAnExecutorDoesItForAll(t *testing.T) {
	f := newFixture(t)
	f.group("etc")
	f.host("nas", func(h *v1alpha1.Host) { h.Labels = nil })
	f.host("web-1", withAdmin)
	f.connect("nas", false)
	f.create(everything("all", func(s *v1alpha1.RepoMaintenanceSpec) {
		s.ExecutorRef, s.Verify = &v1alpha1.LocalReference{Name: "nas"}, nil
	}))
	f.planned("web-1", maintenance.Prune)
	f.toTheHour()
	f.host("web-2")
	f.planned("web-2", maintenance.Forget)
	f.wantCreated(0)
	f.connect("nas", true)
	forget := f.open(maintenance.Forget, "web-1")
	if forget.Spec.HostRef.Name != "nas" || forget.Spec.TargetRef == nil {
		t.Errorf("forget is %+v, expected that nas does it for web-1", forget.Spec)
	}
	f.succeed(forget)
	f.record("web-1", maintenance.Forget, "its executor is told", func(s *v1alpha1.OperationStatus) bool {
		return s.Result == v1alpha1.ResultSucceeded && s.Executor == "nas"
	})
}

func TestAJobOfPeopleBlocksAndIsRecorded(t *testing.T) {
	f := newFixture(t)
	f.group("etc")
	f.host("web-1")
	f.create(everything("all", onlyForget))
	f.planned("web-1", maintenance.Forget)
	check := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Name: "by-hand"}, Spec: v1alpha1.HostJobSpec{HostRef: v1alpha1.LocalReference{Name: "web-1"}, Kind: v1alpha1.HostJobCheck}}
	f.meanwhile(f.toGo(), func() { f.create(check) }) // the controller is to know of the job when the hour comes
	f.host("web-2")
	f.planned("web-2", maintenance.Forget)
	f.open(maintenance.Check, "web-1")
	f.finish(check, v1alpha1.JobFailed, &v1alpha1.JobResultStatus{Reason: "RepositoryDamaged", Message: "2 packs are damaged"})
	f.record("web-1", maintenance.Check, "its result is recorded", func(s *v1alpha1.OperationStatus) bool {
		return s.Result == v1alpha1.ResultFailed && s.Reason == "RepositoryDamaged" && s.HostJob == "by-hand" && s.LastScheduleTime == nil
	})
	f.open(maintenance.Forget, "web-1")
	f.read("by-hand", check) // what people made, they delete
}

func TestADefaultIsMadeKeptAndTakenAway(t *testing.T) {
	f := newFixture(t)
	host := f.host("web-1")
	m := &v1alpha1.RepoMaintenance{}
	made := func(what string) {
		t.Helper()
		f.eventually(what, func(ctx context.Context) error {
			m = &v1alpha1.RepoMaintenance{}
			return f.client.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: "web-1-default"}, m)
		})
	}
	gone := func(what string) {
		t.Helper()
		f.eventually(what, func(ctx context.Context) error {
			err := f.client.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: "web-1-default"}, m)
			if client.IgnoreNotFound(err) == nil && err != nil {
				return nil
			}
			return fmt.Errorf("it is there: %v", err)
		})
	}
	made("a Host that none selects gets a default")
	if !metav1.IsControlledBy(m, host) || m.Labels[v1alpha1.LabelDefault] != "true" {
		t.Errorf("owners %v and labels %v, expected the Host and the mark", m.OwnerReferences, m.Labels)
	}
	spec := v1alpha1.RepoMaintenanceSpec{
		Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "web-1"}}, TimeZone: "UTC", Jitter: &metav1.Duration{Duration: 2 * time.Hour},
		Forget: &v1alpha1.Cadence{Cron: "0 5 * * *"},
		Prune:  &v1alpha1.PruneCadence{Cadence: v1alpha1.Cadence{Cron: "0 6 * * 0"}, PruneOptions: v1alpha1.PruneOptions{MaxUnused: "5%"}},
		Check:  &v1alpha1.CheckCadence{Cadence: v1alpha1.Cadence{Cron: "0 7 1 * *"}, ReadDataRotation: 12},
		Verify: &v1alpha1.VerifyCadence{Cadence: v1alpha1.Cadence{Cron: "0 8 * * 0"}, Sample: 10}, SuccessTTLSeconds: new(int32(3600)),
	}
	if diff := cmp.Diff(spec, m.Spec); diff != "" {
		t.Errorf("the default (-want +got):\n%s", diff)
	}
	now := f.clock.Now()
	f.record("web-1", maintenance.Forget, "it is planned", func(s *v1alpha1.OperationStatus) bool {
		return s.NextScheduleTime != nil && s.NextScheduleTime.After(now)
	})

	edit(f, m, func() { m.Spec.Forget.Cron = "0 4 * * *" })
	f.poke()
	f.condition("web-1-default", "the edit is seen", v1alpha1.ConditionReady, "True Accepted")
	if made("an edited default stays"); m.Spec.Forget.Cron != "0 4 * * *" {
		t.Errorf("the edit was overwritten: %s", m.Spec.Forget.Cron)
	}

	own := everything("own", onlyForget, func(s *v1alpha1.RepoMaintenanceSpec) { s.Forget.Cron = "never" })
	f.create(own)
	gone("people's own takes its place, even an invalid one")
	f.condition("own", "and says so", v1alpha1.ConditionReady, "False Invalid")
	if err := f.client.Delete(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	made("the default comes back when none selects the Host any more")
	edit(f, m, func() { m.Spec.ExecutorRef = &v1alpha1.LocalReference{Name: "vault"} })
	beside := everything("beside", onlyForget)
	f.create(beside)
	f.condition("beside", "one in which somebody named an executor is theirs, and counts before one that names none", v1alpha1.ConditionReady, "True Overridden")
	if made("it stays, so that the machine does not get the admin credentials"); m.Spec.ExecutorRef == nil {
		t.Error("it was made anew")
	}
	if err := f.client.Delete(t.Context(), beside); err != nil {
		t.Fatal(err)
	}
	edit(f, m, func() { m.Spec.ExecutorRef = nil; delete(m.Labels, v1alpha1.LabelDefault) })
	f.create(everything("younger", onlyForget)) // by name, if it was made in the same second
	f.condition("younger", "one without the mark is people's, and the older one counts", v1alpha1.ConditionReady, "True Overridden")
	made("it stays")
}
