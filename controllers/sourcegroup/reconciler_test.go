package sourcegroup

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/test/env"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

// startManager runs the reconciler until the test ends and returns a client that reads the API server itself.
func startManager(t *testing.T, cp *env.ControlPlane) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(cp.RESTConfig(), ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: new(true)},
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
	c, err := client.New(cp.RESTConfig(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStatusFollowsHostsAndAcks(t *testing.T) {
	cp := env.Shared(t)
	c, namespace := startManager(t, cp), cp.NewNamespace(t, "sourcegroup")
	create := func(o client.Object) {
		t.Helper()
		o.SetNamespace(namespace)
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	g := group()
	g.ObjectMeta = metav1.ObjectMeta{Name: "etc"}
	create(g)
	retention := v1alpha1.ReasonNoRetention
	expect := func(what string, matched, applied int32, ready, isApplied string) {
		t.Helper()
		env.Eventually(t, 30*time.Second, what, func(ctx context.Context) error {
			if err := c.Get(ctx, client.ObjectKeyFromObject(g), g); err != nil {
				return err
			}
			got := fmt.Sprintf("%d/%d", g.Status.HostsApplied, g.Status.HostsMatched)
			for _, condition := range g.Status.Conditions {
				if condition.Type == v1alpha1.ConditionBackupsCurrent {
					continue // package fleet has tests of it
				}
				got += " " + condition.Type + ":" + condition.Reason
			}
			want := fmt.Sprintf("%d/%d Ready:%s Applied:%s RetentionEnforced:%s", applied, matched, ready, isApplied, retention)
			if got != want || g.Status.ObservedGeneration != g.Generation {
				return fmt.Errorf("%s at generation %d, expected %s", got, g.Status.ObservedGeneration, want)
			}
			return nil
		})
	}
	expect("it is accepted without a host", 0, 0, "NoHostMatches", "NoHostMatches")

	web := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}}
	web.Spec.Repository.URL = "rest:https://backup.example.com/web-1"
	web.Spec.Repository.CredentialsSecretRef = &v1alpha1.LocalReference{Name: "web-1-repo"}
	create(web)
	web.Labels = map[string]string{"role": "web"}
	if err := c.Update(t.Context(), web); err != nil {
		t.Fatal(err)
	}
	expect("a host that gets the label is counted", 1, 0, "Accepted", "NotAppliedYet")

	key := "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	s := &v1alpha1.ScheduleSet{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}}
	s.Spec = v1alpha1.ScheduleSetSpec{
		Host:     v1alpha1.ScheduleSetHost{Name: "web-1", UID: string(web.UID), Identity: v1alpha1.HostIdentity{SigningKey: key, SealingKey: key}},
		Revision: "r1", Serial: 1, Bundle: "{}", Signatures: []v1alpha1.Signature{},
		Groups: []v1alpha1.ScheduleSetGroup{{Name: "etc", Generation: g.Generation}},
	}
	create(s)
	ack := func(revision string) {
		t.Helper()
		base := s.DeepCopy()
		s.Status.AppliedRevision = revision
		if err := c.Status().Patch(t.Context(), s, client.MergeFrom(base)); err != nil {
			t.Fatal(err)
		}
	}
	ack("r1")
	expect("an ack is counted", 1, 1, "Accepted", "AppliedByAll")

	// As if it had been computed from a stale copy.
	wrong := g.DeepCopy()
	wrong.Status.HostsApplied, wrong.Status.Conditions = 0, nil
	if err := c.Status().Patch(t.Context(), wrong, client.MergeFrom(g.DeepCopy())); err != nil {
		t.Fatal(err)
	}
	expect("a wrong status is mended", 1, 1, "Accepted", "AppliedByAll")

	g.Spec.Includes = []string{"/etc", "/home"}
	if err := c.Update(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	expect("a changed group is not applied any more", 1, 0, "Accepted", "NotAppliedYet")
	s.Spec.Revision, s.Spec.Serial, s.Spec.Groups[0].Generation = "r2", 2, g.Generation
	if err := c.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	ack("r2")
	expect("until the new set is acked", 1, 1, "Accepted", "AppliedByAll")

	g.Spec.Retention = &v1alpha1.Retention{KeepDaily: 7}
	if err := c.Update(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	retention = v1alpha1.ReasonNoForget
	expect("a retention that nothing enforces", 1, 0, "Accepted", "NotAppliedYet")
	m := forgetting("web", "web-1", "")
	create(&m)
	retention = v1alpha1.ReasonEnforced
	expect("a RepoMaintenance enforces it", 1, 0, "Accepted", "NotAppliedYet")
	other := group()
	other.ObjectMeta, other.Spec.Tag = metav1.ObjectMeta{Name: "other"}, "etc"
	create(other)
	retention = v1alpha1.ReasonTagShared
	expect("but not while another group has its tag", 1, 0, "Accepted", "NotAppliedYet")
	shared := other.DeepCopy() // its status is written meanwhile
	other.Spec.Tag = ""
	if err := c.Patch(t.Context(), other, client.MergeFrom(shared)); err != nil {
		t.Fatal(err)
	}
	retention = v1alpha1.ReasonEnforced
	expect("until that one has its own", 1, 0, "Accepted", "NotAppliedYet")
	web.Spec.Suspend = true
	if err := c.Update(t.Context(), web); err != nil {
		t.Fatal(err)
	}
	retention = v1alpha1.ReasonNoForget
	expect("but not on a suspended Host", 1, 0, "Accepted", "NotAppliedYet")
	web.Spec.Suspend = false
	if err := c.Update(t.Context(), web); err != nil {
		t.Fatal(err)
	}
	retention = v1alpha1.ReasonEnforced
	expect("until it goes on", 1, 0, "Accepted", "NotAppliedYet")
	if err := c.Delete(t.Context(), &m); err != nil {
		t.Fatal(err)
	}
	retention = v1alpha1.ReasonNoForget
	expect("a deleted RepoMaintenance enforces nothing", 1, 0, "Accepted", "NotAppliedYet")

	if err := c.Delete(t.Context(), web); err != nil {
		t.Fatal(err)
	}
	retention = v1alpha1.ReasonNoHostMatches
	expect("a deleted host is not counted", 0, 0, "NoHostMatches", "NoHostMatches")
}
