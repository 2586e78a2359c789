package host

import (
	"context"
	"errors"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// replicas drives a Gateways by hand: without a cache, and with a clock that stands still.
type replicas struct {
	*Gateways
	t     *testing.T
	clock *clocktesting.FakeClock
	live  client.Client
	down  bool // the API server
	told  []string
}

func newReplicas(t *testing.T) *replicas {
	r := &replicas{t: t, clock: clocktesting.NewFakeClock(noon)}
	r.live = interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
			if r.down {
				return errors.New("connection refused")
			}
			return c.Get(ctx, key, object, opts...)
		},
	})
	r.Gateways = NewGateways(nil, r.live, "system", r.clock)
	r.changes = make(chan event.GenericEvent, 100)
	return r
}

// lease is g1's, renewed at a time by the replica's own clock, which is far from ours.
func (r *replicas) lease(renewed int) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: v1alpha1.GatewayLeasePrefix + "g1", Labels: map[string]string{v1alpha1.GatewayLeaseLabel: v1alpha1.GatewayLeaseComponent}},
		Spec: coordinationv1.LeaseSpec{
			LeaseDurationSeconds: ptr.To[int32](20), RenewTime: &metav1.MicroTime{Time: noon.Add(-240 * time.Hour).Add(time.Duration(renewed) * time.Second)},
		},
	}
}

func (r *replicas) renew(n int) { r.observe(r.t.Context(), r.lease(n)) }

// store is what a live look finds.
func (r *replicas) store(n int) {
	r.t.Helper()
	lease := r.lease(n)
	err := r.live.Create(r.t.Context(), lease)
	if err != nil {
		err = r.live.Patch(r.t.Context(), r.lease(n), client.Merge)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// step lets time pass and does what Start's timer does.
func (r *replicas) step(d time.Duration) {
	r.clock.Step(d)
	for _, id := range r.overdue() {
		r.look(r.t.Context(), id)
	}
}

func (r *replicas) want(state State) {
	r.t.Helper()
	if got := r.Life("g1").State; got != state {
		r.t.Errorf("g1 is in state %v, want %v", got, state)
	}
}

func (r *replicas) wantTold(n int) {
	r.t.Helper()
	for len(r.changes) > 0 {
		r.told = append(r.told, (<-r.changes).Object.GetName())
	}
	if len(r.told) != n {
		r.t.Errorf("hosts were enqueued %d times, want %d: %v", len(r.told), n, r.told)
	}
}

func TestAReplicaLivesByItsRenewals(t *testing.T) {
	r := newReplicas(t)
	r.store(1)
	r.renew(1)
	r.want(Unproven)
	r.wantTold(0)
	r.step(10 * time.Second)
	r.renew(2)
	r.want(Alive)
	r.wantTold(1)
	for n := 3; n < 6; n++ {
		r.step(15 * time.Second)
		r.renew(n)
	}
	r.want(Alive)
	r.wantTold(1)
}

func TestAReplicaThatStopsRenewingIsLostAfterOneDuration(t *testing.T) {
	r := newReplicas(t)
	r.store(2)
	r.renew(1)
	r.renew(2)
	r.step(19 * time.Second)
	r.want(Alive)
	r.step(time.Second)
	r.want(Lost)
	if got := r.Life("g1").LostAt; !got.Equal(noon.Add(20 * time.Second)) {
		t.Errorf("lost at %s", got)
	}
	r.wantTold(2)
	r.renew(3)
	r.want(Alive)
	r.wantTold(3)
}

func TestADeletedLeaseIsALostReplicaAtOnce(t *testing.T) {
	r := newReplicas(t)
	r.renew(1)
	r.renew(2)
	r.onDelete(t.Context(), r.lease(2))
	r.want(Lost)
	r.wantTold(2)
	r.onDelete(t.Context(), r.lease(2))
	r.wantTold(2)
}

func TestARestartOfTheControllersIsPatient(t *testing.T) {
	r := newReplicas(t)
	r.store(1)
	r.renew(1) // as the cache fills: last renewed long ago, as it seems
	r.want(Unproven)
	r.step(19 * time.Second)
	r.want(Unproven)
	r.step(time.Second)
	r.want(Lost)
}

func TestAReplicaThatHasNoLeaseIsWaitedForAndLost(t *testing.T) {
	r := newReplicas(t)
	r.want(Unproven) // named by a session
	r.step(14 * time.Second)
	r.want(Unproven)
	r.step(time.Second)
	r.want(Lost)
	r.wantTold(1)
}

func TestAnOutageOfTheAPIServerIsNotALossOfReplicas(t *testing.T) {
	r := newReplicas(t)
	r.store(2)
	r.renew(1)
	r.renew(2)
	r.down = true
	for range 5 {
		r.step(20 * time.Second)
		r.want(Alive)
	}
	r.down = false
	r.step(15 * time.Second) // it has not come to renew yet
	r.want(Alive)
	r.store(3)
	r.renew(3)
	r.step(15 * time.Second)
	r.want(Alive)
	r.wantTold(1)
}

func TestARenewalThatTheWatchMissedCounts(t *testing.T) {
	r := newReplicas(t)
	r.renew(1)
	r.renew(2)
	r.store(3)
	r.step(20 * time.Second)
	r.want(Alive)
	r.step(19 * time.Second)
	r.want(Alive)
}

func TestAReplicaThatIsLostForLongIsForgottenUnlessAConnectionNamesIt(t *testing.T) {
	r := newReplicas(t)
	named, failure := true, error(nil)
	r.named = func(_ context.Context, id string) (bool, error) { return named && id == "g1", failure }
	r.renew(1)
	r.renew(2)
	forget := func(want bool, when string) {
		t.Helper()
		r.forget(t.Context())
		if _, known := r.known["g1"]; known == want {
			t.Errorf("%s: known is %v", when, known)
		}
	}
	r.clock.Step(2 * forgetAfter)
	forget(false, "alive")
	r.onDelete(t.Context(), r.lease(2))
	forget(false, "lost a moment ago")
	r.clock.Step(forgetAfter)
	forget(false, "lost for long, and named")
	named, failure = false, errors.New("no cache")
	forget(false, "lost for long, and nobody knows who names it")
	failure = nil
	forget(true, "lost for long, and named by nothing")
	r.want(Unproven) // asked for again: waited for anew
}

func TestOtherLeasesAreLeftAlone(t *testing.T) {
	r := newReplicas(t)
	leader := r.lease(1)
	leader.Name = "restic-manager-controller"
	r.observe(t.Context(), leader)
	unlabelled := r.lease(1)
	unlabelled.Labels = nil
	r.observe(t.Context(), unlabelled)
	elsewhere := r.lease(1)
	elsewhere.Namespace = "shop"
	r.onLease(t.Context(), elsewhere)
	if len(r.known) != 0 {
		t.Errorf("known: %v", r.known)
	}
}
