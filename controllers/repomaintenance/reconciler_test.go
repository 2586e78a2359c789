package repomaintenance

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

func TestStatusFollowsHosts(t *testing.T) {
	cp := env.Shared(t)
	namespace := cp.NewNamespace(t, "maintenance")
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
	m := &v1alpha1.RepoMaintenance{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: namespace}}
	m.Spec.HostRef = &v1alpha1.LocalReference{Name: "web-1"}
	m.Spec.Forget = &v1alpha1.Cadence{Cron: "@daily"}
	if err := c.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	expect := func(what string, matched int32) {
		t.Helper()
		env.Eventually(t, 30*time.Second, what, func(ctx context.Context) error {
			if err := c.Get(ctx, client.ObjectKeyFromObject(m), m); err != nil {
				return err
			}
			ready := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady)
			if ready == nil || ready.Reason != v1alpha1.ReasonNotYetSupported || m.Status.HostsMatched != matched {
				return fmt.Errorf("status %+v, expected NotYetSupported and %d hosts", m.Status, matched)
			}
			return nil
		})
	}
	expect("it is said not to be acted on", 0)
	host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: namespace}}
	host.Spec.Repository.URL = "rest:https://backup.example.com/web-1"
	host.Spec.Repository.CredentialsSecretRef.Name = "web-1-repo"
	if err := c.Create(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	expect("its Host is counted", 1)
	wrong := m.DeepCopy()
	wrong.Status.HostsMatched = 0 // as if it had been computed from a stale copy
	if err := c.Status().Patch(t.Context(), wrong, client.MergeFrom(m.DeepCopy())); err != nil {
		t.Fatal(err)
	}
	expect("a wrong status is mended", 1)
	if err := c.Delete(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	expect("its Host is gone", 0)
}
