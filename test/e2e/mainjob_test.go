package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/scenario"
)

func TestTheMainJobWorksAndNoSecretIsSeenAnywhere(t *testing.T) {
	t.Parallel()
	s, c := theStack(t)
	run, err := scenario.New(s, scenario.Options{Files: 1000, Print: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := run.Stop(); err != nil {
			t.Error(err)
		}
		for _, name := range []string{scenario.Namespace, scenario.FleetNamespace} {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
			if err := client.IgnoreNotFound(c.Delete(context.Background(), ns)); err != nil {
				t.Error(err)
			}
		}
	})
	watch := watchArguments(t)
	if err := run.All(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", run.Summary())

	secrets := run.Passwords
	secrets["enrolment token"] = tokenOf(t, run.EnrollLine)
	for name, value := range agentKeys(t, run.Agent) {
		secrets[name] = value
	}
	for name, value := range controllerKeys(t, s, c) {
		secrets[name] = value
	}
	watch.stopAndSearch(secrets)
	searchLogs(t, s, secrets)
	searchObjects(t, s, secrets)
	searchState(t, run.Agent, secrets)
}

func TestAnAgentFollowsEveryChangeOfASchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "follow")
	w.host("one")
	w.group("data", "one", w.files("one", "a"))
	schedule := w.schedule("often", "0 3 * * *", "data")
	w.agent("one")
	w.settled("one")
	w.applied(schedule)

	changes := []struct {
		name string
		do   func() error
		want []v1alpha1.ScheduleSetSchedule
	}{
		{"changed", func() error { return w.change(schedule, func() { schedule.Spec.Cron = "0 4 * * *" }) },
			[]v1alpha1.ScheduleSetSchedule{{Name: "often", Generation: 2, SourceGroups: []string{"data"}}}},
		{"suspended", func() error { return w.change(schedule, func() { schedule.Spec.Suspend = true }) },
			[]v1alpha1.ScheduleSetSchedule{{Name: "often", Generation: 3, Suspended: true, SourceGroups: []string{"data"}}}},
		{"deleted", func() error { return w.Delete(w.Context(), schedule) }, nil},
	}
	for _, change := range changes {
		before := w.scheduleSet(t.Context(), "one").Status.AppliedRevision
		w.must(change.do())
		began := time.Now()
		w.eventually("the agent to apply a Schedule that was "+change.name, func(ctx context.Context) error {
			set, err := get(ctx, w, "one", &v1alpha1.ScheduleSet{})
			if err != nil {
				return err
			}
			if set.Status.AppliedRevision == before || set.Status.AppliedRevision != set.Spec.Revision {
				return fmt.Errorf("published %.8s, applied %.8s, before %.8s", set.Spec.Revision, set.Status.AppliedRevision, before)
			}
			want := slices.Clone(change.want)
			for i := range want {
				want[i].Serial = set.Spec.Serial // it is in force as it is since this set
			}
			if fmt.Sprint(set.Spec.Schedules) != fmt.Sprint(want) {
				return fmt.Errorf("schedules are %+v, want %+v", set.Spec.Schedules, want)
			}
			return nil
		})
		t.Logf("a Schedule that was %s was applied after %v", change.name, time.Since(began).Round(time.Millisecond))
	}
}

// applied waits until every host of a Schedule has acked it in its present generation.
func (w *world) applied(schedule *v1alpha1.Schedule) {
	w.Helper()
	w.eventually("every host to apply Schedule "+schedule.Name, func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(schedule), schedule); err != nil {
			return err
		}
		s := schedule.Status
		if s.ObservedGeneration != schedule.Generation || s.HostsMatched == 0 || s.HostsApplied != s.HostsMatched ||
			!meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionApplied) {
			return fmt.Errorf("generation is %d, status %+v", schedule.Generation, s)
		}
		return nil
	})
}
