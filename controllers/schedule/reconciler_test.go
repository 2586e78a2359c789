package schedule

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	testingclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting/selectingtest"
	"github.com/restic-manager/restic-manager/test/env"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

func newScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return scheme
}

// newClient reads the API server itself.
func newClient(t *testing.T, cp *env.ControlPlane) client.Client {
	t.Helper()
	c, err := client.New(cp.RESTConfig(), client.Options{Scheme: newScheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func startManager(t *testing.T, cp *env.ControlPlane) {
	t.Helper()
	mgr, err := ctrl.NewManager(cp.RESTConfig(), ctrl.Options{
		Scheme: newScheme(t), Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := selecting.AddIndexes(t.Context(), mgr.GetFieldIndexer()); err != nil {
		t.Fatal(err)
	}
	if err := (&Reconciler{Client: mgr.GetClient(), Clock: clock.RealClock{}}).SetupWithManager(mgr); err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := mgr.Start(t.Context()); err != nil && t.Context().Err() == nil {
			t.Errorf("the manager ended: %v", err)
		}
	}()
}

func create(t *testing.T, c client.Client, namespace string, o client.Object) {
	t.Helper()
	o.SetNamespace(namespace)
	if err := c.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func newHost(name string) *v1alpha1.Host {
	h := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"role": "web"}}}
	h.Spec.Repository.URL = "rest:https://backup.example.com/" + name
	h.Spec.Repository.CredentialsSecretRef = &v1alpha1.LocalReference{Name: name + "-repo"}
	return h
}

func TestStatusFollowsGroupsHostsAndAcks(t *testing.T) {
	cp := env.Shared(t)
	startManager(t, cp)
	c, namespace := newClient(t, cp), cp.NewNamespace(t, "schedule")
	s := schedule("etc")
	s.ObjectMeta = metav1.ObjectMeta{Name: "nightly"}
	create(t, c, namespace, s)
	expect := func(what string, matched, applied int32, conditions string) {
		t.Helper()
		env.Eventually(t, 30*time.Second, what, func(ctx context.Context) error {
			if err := c.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
				return err
			}
			got := fmt.Sprintf("%d/%d", s.Status.HostsApplied, s.Status.HostsMatched)
			for _, condition := range s.Status.Conditions {
				if condition.Type == v1alpha1.ConditionBackupsCurrent {
					continue // package fleet has tests of it
				}
				got += fmt.Sprintf(" %s=%s:%s", condition.Type, condition.Status, condition.Reason)
			}
			want := fmt.Sprintf("%d/%d %s", applied, matched, conditions)
			if got != want || s.Status.ObservedGeneration != s.Generation {
				return fmt.Errorf("%s at generation %d, expected %s", got, s.Status.ObservedGeneration, want)
			}
			return nil
		})
	}
	expect("it waits for its group", 0, 0, "Ready=False:SourceGroupNotFound SourceGroupsFound=False:SourceGroupNotFound Applied=False:NoHostMatches")
	g := group("etc", "web")
	create(t, c, namespace, &g)
	expect("it is ready with its group", 0, 0, "Ready=True:NoHostMatches SourceGroupsFound=False:NoSharedHost Applied=False:NoHostMatches")
	h := newHost("web-1")
	create(t, c, namespace, h)
	expect("a host is counted", 1, 0, "Ready=True:Accepted SourceGroupsFound=True:AllFound Applied=False:NotAppliedYet")

	key := "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	set := &v1alpha1.ScheduleSet{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}}
	set.Spec = v1alpha1.ScheduleSetSpec{
		Host:     v1alpha1.ScheduleSetHost{Name: "web-1", UID: string(h.UID), Identity: v1alpha1.HostIdentity{SigningKey: key, SealingKey: key}},
		Revision: "r1", Serial: 1, Bundle: "{}", Signatures: []v1alpha1.Signature{},
		Schedules: []v1alpha1.ScheduleSetSchedule{{Name: "nightly", Generation: s.Generation, SourceGroups: []string{"etc"}}},
	}
	create(t, c, namespace, set)
	base := set.DeepCopy()
	set.Status.AppliedRevision = "r1"
	if err := c.Status().Patch(t.Context(), set, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
	expect("an ack is counted", 1, 1, "Ready=True:Accepted SourceGroupsFound=True:AllFound Applied=True:AppliedByAll")

	// As if it had been computed from a stale copy.
	wrong := s.DeepCopy()
	wrong.Status.HostsApplied, wrong.Status.Conditions = 0, nil
	if err := c.Status().Patch(t.Context(), wrong, client.MergeFrom(s.DeepCopy())); err != nil {
		t.Fatal(err)
	}
	expect("a wrong status is mended", 1, 1, "Ready=True:Accepted SourceGroupsFound=True:AllFound Applied=True:AppliedByAll")

	s.Spec.Suspend = true
	if err := c.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	expect("a suspended schedule is not applied before its ack", 1, 0, "Ready=True:Suspended SourceGroupsFound=True:AllFound Applied=False:NotAppliedYet")
	if s.Status.NextFireTime != nil {
		t.Errorf("nextFireTime is %v, expected none while suspended", s.Status.NextFireTime)
	}
	if err := c.Delete(t.Context(), &g); err != nil {
		t.Fatal(err)
	}
	expect("a group that goes is missed", 0, 0, "Ready=False:SourceGroupNotFound SourceGroupsFound=False:SourceGroupNotFound Applied=False:NoHostMatches")
}

func TestAFireCostsOneWrite(t *testing.T) {
	cp := env.Shared(t)
	c, namespace := newClient(t, cp), cp.NewNamespace(t, "fires")
	g := group("etc", "web")
	create(t, c, namespace, &g)
	create(t, c, namespace, newHost("web-1"))
	s := schedule("etc")
	s.ObjectMeta = metav1.ObjectMeta{Name: "nightly"}
	create(t, c, namespace, s)

	clk := testingclock.NewFakePassiveClock(noon)
	r := &Reconciler{Client: selectingtest.Client(t, c), Clock: clk}
	r.looks.Now = clk.Now
	reconcile := func() time.Duration {
		t.Helper()
		result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(s)})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
			t.Fatal(err)
		}
		return result.RequeueAfter
	}
	version := s.ResourceVersion
	if settling := reconcile(); settling <= 0 || settling > time.Second || s.ResourceVersion != version {
		t.Fatalf("that no machine has it yet is told at once, or looked at again after %s", settling)
	}
	clk.SetTime(noon.Add(time.Second))
	if got, want := reconcile(), 14*time.Hour+29*time.Minute+59*time.Second; got != want {
		t.Fatalf("looks again after %s, expected %s", got, want)
	}
	version = s.ResourceVersion
	clk.SetTime(noon.Add(time.Hour))
	reconcile()
	if s.ResourceVersion != version {
		t.Error("it was written between two fires")
	}
	fire := noon.Add(14*time.Hour + 30*time.Minute)
	clk.SetTime(fire)
	if got := reconcile(); got != 24*time.Hour {
		t.Errorf("looks again after %s, expected a day", got)
	}
	if !s.Status.LastFireTime.Equal(new(metav1.NewTime(fire))) || !s.Status.NextFireTime.Equal(new(metav1.NewTime(fire.AddDate(0, 0, 1)))) {
		t.Errorf("last %v, next %v, expected %s and a day later", s.Status.LastFireTime, s.Status.NextFireTime, fire)
	}
	version = s.ResourceVersion
	reconcile()
	if s.ResourceVersion != version {
		t.Error("one fire was written twice")
	}
}
