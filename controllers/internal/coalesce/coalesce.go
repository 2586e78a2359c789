// Package coalesce makes one look of many events: an object that sums up over many others is reconciled soon when it has been quiet, and then
// at most once per spacing, however many events come.
//
// # Use
//
//	var looks coalesce.Coalescer
//	builder.Watches(&v1alpha1.Host{}, looks.Handler(clock, spacing, func(before, after client.Object) []ctrl.Request { … }))
//	wait := looks.Settle(req.NamespacedName, &before, &after, newGeneration)    // in Reconcile; when it is 0:
//	looks.Ran(req.NamespacedName, clock.Now(), &after)    // with what it sums up over, and how many of these are waited for
//	again, written, err := coalesce.Write(ctx, client, base, object)
//
// # Internals
//
// The first event after a pause is enqueued at once where the object is about one other, so that a person who watches one Host sees it now. The more others there
// are, the longer it waits, up to a quarter of the spacing: what passes (a set that is published to one of a thousand Hosts, and applied a moment later) then is one
// look that finds nothing to write, not two writes. Events that follow are enqueued for the end of the spacing, where the work queue holds each object once. Ran is
// told of every reconciliation that may write, whatever led to it. Where acks are waited for, the one after which nobody may be behind does not wait for the end of the spacing,
// but for a quarter of it: that is what whoever changed something waits for. An object that is gone is forgotten by Forget. In the same way Settle keeps back, for a moment, the news that a
// change is not applied yet.
//
// # Locks
//
// A mutex guards the table of times; it is held for no longer than a look at it.
package coalesce

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Spacing is the least time between two looks at an object: Each for each object that it sums up over, since as many events may follow one change; Max
// at most, or perMember for each of them where they are very many.
type Spacing struct {
	Each, Max time.Duration
	// Last says that the event after which none may be behind waits for a quarter of it.
	Last bool
}

// Spacings of summaries.
var (
	// Results of backups come in bursts that last minutes when there are many machines, and nobody decides by the second.
	Results = Spacing{Each: 100 * time.Millisecond, Max: 5 * time.Second}
	// Acks tell a person who has just changed something how far it is: at once, when it is about one machine.
	Acks = Spacing{Each: 20 * time.Millisecond, Max: 2 * time.Second, Last: true}
)

// perMember bounds what looks cost: one takes some 25 µs for each object that it sums up over, and many groups may be over the same ones.
const perMember = 2 * time.Millisecond

func (s Spacing) of(members int) time.Duration {
	most := max(s.Max, perMember*time.Duration(members))
	if members > int(most/s.Each) {
		return most
	}
	return s.Each * time.Duration(members)
}

// Coalescer knows when each object was reconciled last. The zero value knows nothing yet. Safe for concurrent use.
type Coalescer struct {
	// Now is the time for Settle, default time.Now: it must go on as RequeueAfter does, whatever clock decides about what is in the API.
	Now func() time.Time

	mu   sync.Mutex
	last map[types.NamespacedName]look
	// behind is since when each of those that Settle was told of is so.
	behind map[types.NamespacedName]time.Time
}

type look struct {
	at      time.Time
	members int
	// behind is how many were waited for, less the events since.
	behind int
}

// Ran notes that an object was looked at now, and what it saw.
func (c *Coalescer) Ran(name types.NamespacedName, now time.Time, seen *v1alpha1.FleetSummary) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = map[types.NamespacedName]look{}
	}
	c.last[name] = look{now, int(seen.HostsMatched), int(seen.HostsMatched - seen.HostsApplied)}
}

// Forget drops what is known of an object that is gone.
func (c *Coalescer) Forget(name types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.last, name)
	delete(c.behind, name)
}

// After is how long to wait with the next look at an object, about which there is one more event; 0 for not at all.
func (c *Coalescer) After(name types.NamespacedName, spacing Spacing, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, ok := c.last[name]
	if !ok {
		return 0
	}
	wait, first := spacing.of(last.members), spacing.of(last.members-1)/4
	// Half of these events may be of sets that were only published: then half as many are behind at that look, and so on.
	if spacing.Last && last.behind > 0 {
		last.behind--
		c.last[name] = last
		if last.behind == 0 {
			return min(max(last.at.Add(first).Sub(now), 0), wait)
		}
	}
	// A clock that was set back makes nobody wait longer.
	return min(max(last.at.Add(wait).Sub(now), first, 0), wait)
}

// Itself is for Handler: an object whose status was written.
func Itself(before, after client.Object) []ctrl.Request {
	if before == nil || after == nil {
		return nil
	}
	return []ctrl.Request{{NamespacedName: client.ObjectKeyFromObject(after)}}
}

// Handler returns a handler that enqueues what concerned names for each event. Of an object that came there is no before, of one that went no after.
func (c *Coalescer) Handler(clk clock.PassiveClock, spacing Spacing, concerned func(before, after client.Object) []ctrl.Request) handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[ctrl.Request]
	add := func(q queue, before, after client.Object) {
		for _, request := range concerned(before, after) {
			q.AddAfter(request, c.After(request.NamespacedName, spacing, clk.Now()))
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { add(q, nil, e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) { add(q, e.ObjectOld, e.ObjectNew) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { add(q, e.Object, nil) },
	}
}

// Mapped is Handler for what is found out by a look at the cache: of is asked about the object before and after the event.
func (c *Coalescer) Mapped(clk clock.PassiveClock, spacing Spacing, of handler.MapFunc) handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[ctrl.Request]
	add := func(ctx context.Context, q queue, objects ...client.Object) {
		for _, object := range objects {
			for _, request := range of(ctx, object) {
				q.AddAfter(request, c.After(request.NamespacedName, spacing, clk.Now()))
			}
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { add(ctx, q, e.Object) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { add(ctx, q, e.ObjectOld, e.ObjectNew) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { add(ctx, q, e.Object) },
	}
}
