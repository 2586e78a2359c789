package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

var start = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

func newKeeper(t *testing.T, namespace string) (*Keeper, *clocktesting.FakeClock) {
	t.Helper()
	c, err := client.New(env.Shared(t).RESTConfig(), client.Options{Scheme: scheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	clock := clocktesting.NewFakeClock(start)
	return &Keeper{Client: c, Live: c, Namespace: namespace, Instance: "i1", Clock: clock,
		Logger: slog.New(slog.DiscardHandler)}, clock
}

func get(ctx context.Context, k *Keeper) (*coordinationv1.Lease, error) {
	var l coordinationv1.Lease
	return &l, k.Live.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: "restic-manager-gateway-i1"}, &l)
}

func renewedAt(k *Keeper, want time.Time) func(context.Context) error {
	return func(ctx context.Context) error {
		l, err := get(ctx, k)
		if err != nil {
			return err
		}
		if !l.Spec.RenewTime.Time.Equal(want) {
			return fmt.Errorf("renewed at %v, want %v", l.Spec.RenewTime, want)
		}
		return nil
	}
}

func TestALeaseIsCreatedRenewedAndDeleted(t *testing.T) {
	namespace := env.Shared(t).NewNamespace(t, "lease")
	k, clock := newKeeper(t, namespace)
	var told atomic.Value
	told.Store("first")
	k.Annotations = func() map[string]string { return map[string]string{"example.com/told": told.Load().(string)} }
	if err := k.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := get(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	if l.Labels[v1alpha1.GatewayLeaseLabel] != "gateway" || *l.Spec.LeaseDurationSeconds != 30 || *l.Spec.HolderIdentity != "i1" ||
		len(l.OwnerReferences) != 0 || l.Annotations["example.com/told"] != "first" {
		t.Errorf("lease is %+v", l)
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	tick := func() {
		t.Helper()
		env.Eventually(t, time.Minute, "the keeper waits for its next renewal", func(context.Context) error {
			if !clock.HasWaiters() {
				return errors.New("not yet")
			}
			return nil
		})
		clock.Step(Renew)
	}
	told.Store("second")
	tick()
	env.Eventually(t, time.Minute, "the lease is renewed", renewedAt(k, start.Add(Renew)))
	if l, err = get(t.Context(), k); err != nil || l.Annotations["example.com/told"] != "second" {
		t.Errorf("annotations are %v, %v", l.Annotations, err)
	}
	if err := k.Client.Delete(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	tick()
	env.Eventually(t, time.Minute, "the lease is made again", renewedAt(k, start.Add(2*Renew)))
	cancel()
	<-done
	if _, err := get(t.Context(), k); !apierrors.IsNotFound(err) {
		t.Errorf("after the end: %v", err)
	}
}

func TestALeaseOfAnotherIsNotTaken(t *testing.T) {
	namespace := env.Shared(t).NewNamespace(t, "lease")
	k, _ := newKeeper(t, namespace)
	if err := k.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := *k
	again.held = nil
	if err := again.Acquire(t.Context()); err != nil {
		t.Errorf("a process that restarts with the same id: %v", err)
	}
	l, err := get(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	other := "somebody"
	l.Spec.HolderIdentity = &other
	if err := k.Client.Update(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	again.held = nil
	if err := again.Acquire(t.Context()); err == nil {
		t.Error("another's lease was taken")
	}
}

func TestThePodOwnsTheLease(t *testing.T) {
	k, _ := newKeeper(t, env.Shared(t).NewNamespace(t, "lease"))
	k.PodName, k.PodUID = "gw-0", "0b5f0f4e-0000-4000-8000-000000000000"
	if err := k.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	// As the API server answered; the garbage collector then removes it, since there is no such Pod.
	owners := k.held.OwnerReferences
	if len(owners) != 1 || owners[0].Kind != "Pod" || owners[0].Name != "gw-0" || string(owners[0].UID) != k.PodUID {
		t.Errorf("owners are %+v", owners)
	}
	env.Eventually(t, 60*time.Second, "the Lease of a Pod that is gone is collected", func(ctx context.Context) error {
		if _, err := get(ctx, k); !apierrors.IsNotFound(err) {
			return fmt.Errorf("still there: %v", err)
		}
		return nil
	})
}
