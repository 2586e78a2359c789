package host

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// State of a gateway replica.
type State int

const (
	// Unproven: nothing has been seen of it yet, and it has not been waited for long enough to call it lost.
	Unproven State = iota
	// Alive: it renewed its Lease lately.
	Alive
	// Lost: its Lease was deleted, or not renewed for its whole duration.
	Lost
)

// Life is what is known of a replica.
type Life struct {
	State State
	// LostAt is when it was found lost, by the controller's own clock.
	LostAt time.Time
}

const (
	defaultLeaseDuration = 15 * time.Second
	maxLeaseDuration     = 5 * time.Minute
	// forgetAfter is how long a replica is lost before it is forgotten, when no machine's newest session names it; also how often that is looked at.
	forgetAfter = time.Hour
)

// Gateways knows which gateway replicas live, by the Leases that they renew: judged by the time since a renewal was seen here, never by the times in
// them, since clocks differ. A replica is given one whole duration from when it is first heard of, and again after every failed look, so that neither a restart
// of the controllers nor an outage of the API server makes replicas look lost. Every start of a gateway is another replica: those that are lost for
// long are forgotten, unless a connection on record names them.
type Gateways struct {
	cache     cache.Cache
	live      client.Reader
	namespace string
	clock     clock.WithTicker
	changes   chan event.GenericEvent
	wake      chan struct{}
	// named tells whether a connection on record names a replica.
	named func(ctx context.Context, id string) (bool, error)

	mu    sync.Mutex
	known map[string]*replica // by instance id
}

type replica struct {
	Life
	renewed  metav1.MicroTime // as last seen in its Lease
	seen     time.Time        // when that was
	duration time.Duration
}

// NewGateways returns a Gateways that is to be added to the manager. c watches the Leases with GatewayLeaseLabel in namespace.
func NewGateways(c cache.Cache, live client.Reader, namespace string, clk clock.WithTicker) *Gateways {
	g := &Gateways{
		cache: c, live: live, namespace: namespace, clock: clk,
		changes: make(chan event.GenericEvent),
		wake:    make(chan struct{}, 1),
		known:   map[string]*replica{},
	}
	g.named = g.namedInCache
	return g
}

func (g *Gateways) namedInCache(ctx context.Context, id string) (bool, error) {
	sets := &v1alpha1.ScheduleSetList{}
	err := g.cache.List(ctx, sets, client.MatchingFields{indexGateway: id}, client.Limit(1), client.UnsafeDisableDeepCopy)
	return len(sets.Items) > 0, err
}

// Life returns what is known of a replica, and watches for it from now on.
func (g *Gateways) Life(id string) Life {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, found := g.known[id]
	if !found {
		r = &replica{seen: g.clock.Now(), duration: defaultLeaseDuration}
		g.known[id] = r
		g.poke()
	}
	return r.Life
}

// Start implements manager.Runnable.
func (g *Gateways) Start(ctx context.Context) error {
	informer, err := g.cache.GetInformer(ctx, &coordinationv1.Lease{})
	if err != nil {
		return fmt.Errorf("watching the gateways' Leases: %w", err)
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { g.onLease(ctx, object) },
		UpdateFunc: func(_, object any) { g.onLease(ctx, object) },
		DeleteFunc: func(object any) { g.onDelete(ctx, object) },
	})
	if err != nil {
		return fmt.Errorf("watching the gateways' Leases: %w", err)
	}
	defer func() { _ = informer.RemoveEventHandler(registration) }()
	forgetting := g.clock.NewTicker(forgetAfter)
	defer forgetting.Stop()
	for {
		timer := g.clock.NewTimer(g.untilNext())
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-g.wake:
			timer.Stop()
		case <-forgetting.C():
			timer.Stop()
			g.forget(ctx)
		case <-timer.C():
			for _, id := range g.overdue() {
				g.look(ctx, id)
			}
		}
	}
}

// instanceOf returns the id in a Lease's name; empty for a Lease of somebody else.
func instanceOf(lease client.Object) string {
	if lease.GetLabels()[v1alpha1.GatewayLeaseLabel] != v1alpha1.GatewayLeaseComponent {
		return ""
	}
	id, ours := strings.CutPrefix(lease.GetName(), v1alpha1.GatewayLeasePrefix)
	if !ours {
		return ""
	}
	return id
}

func (g *Gateways) onLease(ctx context.Context, object any) {
	if lease, ok := object.(*coordinationv1.Lease); ok && lease.Namespace == g.namespace {
		g.observe(ctx, lease)
	}
}

func (g *Gateways) onDelete(ctx context.Context, object any) {
	if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	if lease, ok := object.(*coordinationv1.Lease); ok && lease.Namespace == g.namespace {
		if id := instanceOf(lease); id != "" {
			g.lose(ctx, id)
		}
	}
}

// observe takes note of a Lease. The first sight of one proves nothing: its process may be dead for long.
func (g *Gateways) observe(ctx context.Context, lease *coordinationv1.Lease) {
	id := instanceOf(lease)
	if id == "" {
		return
	}
	g.mu.Lock()
	r, found := g.known[id]
	if !found {
		r = &replica{seen: g.clock.Now(), duration: defaultLeaseDuration}
		g.known[id] = r
	}
	var renewed metav1.MicroTime
	if lease.Spec.RenewTime != nil {
		renewed = *lease.Spec.RenewTime
	}
	first := r.renewed.IsZero()
	revived := false
	if !renewed.Equal(&r.renewed) {
		r.renewed, r.seen = renewed, g.clock.Now()
		if r.duration = defaultLeaseDuration; lease.Spec.LeaseDurationSeconds != nil {
			r.duration = min(max(time.Duration(*lease.Spec.LeaseDurationSeconds)*time.Second, time.Second), maxLeaseDuration)
		}
		if !first && r.State != Alive {
			r.Life, revived = Life{State: Alive}, true
		}
	}
	g.poke()
	g.mu.Unlock()
	if revived {
		g.tell(ctx, id)
	}
}

func (g *Gateways) lose(ctx context.Context, id string) {
	g.mu.Lock()
	r, found := g.known[id]
	if !found || r.State == Lost {
		g.mu.Unlock()
		return
	}
	r.Life = Life{State: Lost, LostAt: g.clock.Now()}
	g.mu.Unlock()
	log.FromContext(ctx).Info("a gateway replica is gone", "gateway", id)
	g.tell(ctx, id)
}

// tell enqueues the hosts of a replica.
func (g *Gateways) tell(ctx context.Context, id string) {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: v1alpha1.GatewayLeasePrefix + id}}
	select {
	case g.changes <- event.GenericEvent{Object: lease}:
	case <-ctx.Done():
	}
}

// poke makes Start compute its next deadline anew.
func (g *Gateways) poke() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// untilNext is the time until the first replica is overdue.
func (g *Gateways) untilNext() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	next := time.Hour
	now := g.clock.Now()
	for _, r := range g.known {
		if r.State != Lost {
			next = min(next, r.seen.Add(r.duration).Sub(now))
		}
	}
	return max(next, time.Millisecond)
}

func (g *Gateways) overdue() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var ids []string
	now := g.clock.Now()
	for id, r := range g.known {
		if r.State != Lost && !now.Before(r.seen.Add(r.duration)) {
			ids = append(ids, id)
		}
	}
	return ids
}

// forget drops the replicas that are lost for long and that nothing names. One that is asked for all the same is waited for anew.
func (g *Gateways) forget(ctx context.Context) {
	for _, id := range g.lostForLong() {
		named, err := g.named(ctx, id)
		if err != nil {
			log.FromContext(ctx).Info("cannot tell who names a lost gateway replica: keeping it in mind", "gateway", id, "error", err.Error())
			continue
		}
		if named {
			continue
		}
		g.mu.Lock()
		if r := g.known[id]; r != nil && r.State == Lost {
			delete(g.known, id)
		}
		g.mu.Unlock()
	}
}

func (g *Gateways) lostForLong() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var ids []string
	for id, r := range g.known {
		if r.State == Lost && g.clock.Since(r.LostAt) >= forgetAfter {
			ids = append(ids, id)
		}
	}
	return ids
}

// look reads an overdue Lease once more before it calls its replica lost: while the API server is away nobody can renew, and nothing is known.
func (g *Gateways) look(ctx context.Context, id string) {
	lease := &coordinationv1.Lease{}
	err := g.live.Get(ctx, types.NamespacedName{Namespace: g.namespace, Name: v1alpha1.GatewayLeasePrefix + id}, lease)
	switch {
	case apierrors.IsNotFound(err):
		g.lose(ctx, id)
	case err != nil:
		log.FromContext(ctx).Info("cannot tell whether the gateway replicas live: waiting on", "error", err.Error())
		g.beginAnew()
	case g.renewedSince(id, lease):
		g.observe(ctx, lease)
	default:
		g.lose(ctx, id)
	}
}

func (g *Gateways) renewedSince(id string, lease *coordinationv1.Lease) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, found := g.known[id]
	return found && lease.Spec.RenewTime != nil && !lease.Spec.RenewTime.Equal(&r.renewed)
}

// beginAnew gives every replica that is not lost one whole duration again.
func (g *Gateways) beginAnew() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock.Now()
	for _, r := range g.known {
		if r.State != Lost {
			r.seen = now
		}
	}
}
