// Package tidings carries what all objects of a kind follow from (the signing keys, the pins of the gateway) to their reconcilers: no object is looked at before
// it is known, and all are once it has changed.
//
// # Use
//
//	var keys tidings.News                               // the zero value knows nothing yet
//	keys.Tell()                                      // it is known now, or has changed
//	builder.WatchesRawSource(keys.Source(func(ctx context.Context) []ctrl.Request { … }))
//
// # Internals
//
// The source of a controller is not synced before the first Tell, and a controller starts no worker before its sources are. So a process that has just begun
// to lead signs nothing with keys that it read long ago. Each Tell after the first enqueues every request, behind what people wait for.
//
// # Locks
//
// A mutex guards the subscribers; it is never held while something is enqueued.
package tidings

import (
	"context"
	"sync"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// News of one thing. Safe for concurrent use; not to be copied.
type News struct {
	mu          sync.Mutex
	known       chan struct{}
	told        bool
	subscribers []chan struct{}
}

// Tell says that the thing is known, or has changed.
func (n *News) Tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.told {
		n.told = true
		close(n.knownLocked())
		return
	}
	for _, s := range n.subscribers {
		select {
		case s <- struct{}{}:
		default: // it has not looked since the last one
		}
	}
}

// Known is closed once the thing is known.
func (n *News) Known() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.knownLocked()
}

func (n *News) knownLocked() chan struct{} {
	if n.known == nil {
		n.known = make(chan struct{})
	}
	return n.known
}

func (n *News) subscribe() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := make(chan struct{}, 1)
	n.subscribers = append(n.subscribers, s)
	return s
}

// Source is for a controller; all lists what depends on the thing.
func (n *News) Source(all func(context.Context) []ctrl.Request) source.SyncingSource {
	return &from{news: n, all: all}
}

type from struct {
	news *News
	all  func(context.Context) []ctrl.Request
}

// Start implements source.Source.
func (f *from) Start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[ctrl.Request]) error {
	changed := f.news.subscribe()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				enqueue(queue, f.all(ctx))
			}
		}
	}()
	return nil
}

func enqueue(queue workqueue.TypedRateLimitingInterface[ctrl.Request], requests []ctrl.Request) {
	if q, ok := queue.(priorityqueue.PriorityQueue[ctrl.Request]); ok {
		q.AddWithOpts(priorityqueue.AddOpts{Priority: new(handler.LowPriority)}, requests...)
		return
	}
	for _, request := range requests {
		queue.Add(request)
	}
}

// WaitForSync implements source.SyncingSource.
func (f *from) WaitForSync(ctx context.Context) error {
	select {
	case <-f.news.Known():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Every lists the objects of some kinds, each name once.
func Every(c client.Reader, lists ...client.ObjectList) func(context.Context) []ctrl.Request {
	return func(ctx context.Context) []ctrl.Request {
		seen := map[ctrl.Request]bool{}
		var requests []ctrl.Request
		for _, like := range lists {
			list, ok := like.DeepCopyObject().(client.ObjectList)
			if !ok {
				continue
			}
			if err := c.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
				log.FromContext(ctx).Error(err, "listing what a change of keys concerns; each object follows when it changes next", "kind", list.GetObjectKind().GroupVersionKind().Kind)
				continue
			}
			for _, name := range namesIn(list) {
				if request := (ctrl.Request{NamespacedName: name}); !seen[request] {
					seen[request] = true
					requests = append(requests, request)
				}
			}
		}
		return requests
	}
}
