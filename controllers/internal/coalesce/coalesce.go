// Package coalesce makes one look of many events: an object that sums up over many others is reconciled soon when it has been quiet, and then
// at most once per spacing, however many events come.
//
// # Use
//
//	var looks coalesce.Coalescer
//	builder.Watches(&v1alpha1.Host{}, looks.Handler(clock, spacing, func(before, after client.Object) []ctrl.Request { … }))
//	builder.Watches(&v1alpha1.ScheduleSet{}, looks.Sets(clock, status.Groups))
//	looks.Began(req.NamespacedName, clock.Now())    // in Reconcile, before anything is read that it sums up over
//	soon := looks.Ran(req.NamespacedName, clock.Now(), members, waiting)    // with how many it sums up over, and which of these are waited for
//	wait := looks.Settle(req.NamespacedName, &before, &after, newGeneration)    // when it is 0:
//	again, written, err := coalesce.Write(ctx, client, base, object)
//
// # Internals
//
// The first event after a pause is enqueued at once where the object is about one other, so that a person who watches one Host sees it now. The more others there
// are, the longer it waits, up to a quarter of the spacing: what passes (a set that is published to one of a thousand Hosts, and applied a moment later) then is one
// look that finds nothing to write, not two writes. Events that follow are enqueued for the end of the spacing, where the work queue holds each object once. A look counts
// from when it began: what comes while it reads may be missed by it, and waits for the next one. Where Hosts are waited for, the event after which nobody is behind
// is looked at at once: that is what whoever changed something waits for. Who is behind is known by name, not by number, since the event of what a look saw may come
// after the look. An object that is gone is forgotten by Forget. In the same way Settle keeps back, for a moment, the news that a change is not applied yet.
//
// # Locks
//
// A mutex guards the table of times; it is held for no longer than a look at it.
package coalesce

import (
	"cmp"
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
	"github.com/restic-manager/restic-manager/controllers/status"
)

// Spacing is the least time between two looks at an object: Each for each object that it sums up over, since as many events may follow one change; Max
// at most, or perMember for each of them where they are very many.
type Spacing struct {
	Each, Max time.Duration
}

// Spacings of summaries.
var (
	// Results of backups come in bursts that last minutes when there are many machines, and nobody decides by the second.
	Results = Spacing{Each: 100 * time.Millisecond, Max: 5 * time.Second}
	// Acks tell a person who has just changed something how far it is: at once, when it is about one machine.
	Acks = Spacing{Each: 20 * time.Millisecond, Max: 2 * time.Second}
)

// perMember bounds what looks cost: one takes some 5 µs for each object that it sums up over, before its write, and many groups may be over the same ones.
const perMember = 2 * time.Millisecond

func (s Spacing) of(members int) time.Duration {
	most := max(s.Max, perMember*time.Duration(members))
	if members > int(most/s.Each) {
		return most
	}
	return s.Each * time.Duration(members)
}

// lastParts is the part of the spacing that the event after which nobody is behind waits for, after the last look: it may be taken for that in error, as with an
// ack of what has been changed again since.
const lastParts = 20

func (s Spacing) last(members int) time.Duration { return s.of(members-1) / lastParts }

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
	// at is when it began, before when the one before it did.
	at, before time.Time
	members    int
	// behind are the Hosts that it saw waiting, as they are by now; none once there was a moment when nobody was.
	behind map[string]bool
	// meanwhile is what became of Hosts since it began, true for what is behind; nil when it has ended.
	meanwhile map[string]bool
}

// Began notes that an object is looked at from now on.
func (c *Coalescer) Began(name types.NamespacedName, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = map[types.NamespacedName]look{}
	}
	last := c.last[name]
	last.at, last.before, last.meanwhile = now, last.at, map[string]bool{}
	c.last[name] = last
}

// Ran notes that the look that began is at its end, over how many it summed up, and which Hosts it saw waiting. When none of them is waiting any more, it returns how
// soon to look again; 0 is not at all.
func (c *Coalescer) Ran(name types.NamespacedName, now time.Time, members int, waiting []string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, ok := c.last[name]
	if !ok {
		return 0 // it was forgotten
	}
	behind := make(map[string]bool, len(waiting))
	for _, host := range waiting {
		behind[host] = true
	}
	if len(waiting) > 0 {
		for host, is := range last.meanwhile {
			note(behind, host, is)
		}
	}
	last.members, last.behind, last.meanwhile = members, behind, nil
	c.last[name] = last
	if len(waiting) == 0 || len(behind) > 0 {
		return 0
	}
	return max(remaining(last.at, Acks.last(members), now), time.Millisecond)
}

func note(behind map[string]bool, host string, is bool) {
	if is {
		behind[host] = true
	} else {
		delete(behind, host)
	}
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
	return c.after(name, spacing, now)
}

func (c *Coalescer) after(name types.NamespacedName, spacing Spacing, now time.Time) time.Duration {
	last, ok := c.last[name]
	if !ok {
		return 0
	}
	wait, first := spacing.of(last.members), spacing.of(last.members-1)/4
	return min(max(remaining(last.at, wait, now), first), wait)
}

// AfterProgress is After for the news whether an object is in force on a Host.
func (c *Coalescer) AfterProgress(name types.NamespacedName, host string, behind bool, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last := c.last[name]; last.meanwhile != nil {
		last.meanwhile[host] = behind // Ran says what follows from it
	} else if len(last.behind) > 0 { // where nobody was, that one is for a moment is not worth a look of its own
		if note(last.behind, host, behind); len(last.behind) == 0 {
			return remaining(last.at, Acks.last(last.members), now)
		}
	}
	return c.after(name, Acks, now)
}

// remaining is what is left of a wait. A clock that was set back makes nobody wait longer.
func remaining(since time.Time, wait time.Duration, now time.Time) time.Duration {
	return max(min(since.Add(wait).Sub(now), wait), 0)
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
	return each(func(_ context.Context, q requests, before, after client.Object) {
		for _, request := range concerned(before, after) {
			q.AddAfter(request, c.After(request.NamespacedName, spacing, clk.Now()))
		}
	})
}

type requests = workqueue.TypedRateLimitingInterface[ctrl.Request]

// each returns a handler that adds what follows from an object before and after each event; nil where there is none.
func each(add func(ctx context.Context, q requests, before, after client.Object)) handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q requests) { add(ctx, q, nil, e.Object) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q requests) { add(ctx, q, e.ObjectOld, e.ObjectNew) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q requests) { add(ctx, q, e.Object, nil) },
	}
}

// Sets returns a handler that watches ScheduleSets for the objects that are in them.
func (c *Coalescer) Sets(clk clock.PassiveClock, parts status.Parts) handler.EventHandler {
	return each(func(_ context.Context, q requests, before, after client.Object) {
		was, _ := before.(*v1alpha1.ScheduleSet)
		is, _ := after.(*v1alpha1.ScheduleSet)
		set := cmp.Or(is, was)
		if set == nil {
			return
		}
		for _, part := range status.Progressed(was, is, parts) {
			name := types.NamespacedName{Namespace: set.Namespace, Name: part.Name}
			q.AddAfter(ctrl.Request{NamespacedName: name}, c.AfterProgress(name, set.Name, part.Behind, clk.Now()))
		}
	})
}

// Mapped is Handler for what is found out by a look at the cache: of is asked about the object before and after the event.
func (c *Coalescer) Mapped(clk clock.PassiveClock, spacing Spacing, of handler.MapFunc) handler.EventHandler {
	return each(func(ctx context.Context, q requests, before, after client.Object) {
		for _, object := range []client.Object{before, after} {
			if object == nil {
				continue
			}
			for _, request := range of(ctx, object) {
				q.AddAfter(request, c.After(request.NamespacedName, spacing, clk.Now()))
			}
		}
	})
}
