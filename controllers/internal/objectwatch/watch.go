package objectwatch

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// retryPause is between tries to watch what cannot be watched.
	retryPause = 10 * time.Minute
	// eventPause is the least time between two rounds, however many changes there are.
	eventPause = 2 * time.Second
)

// Watcher looks at objects live.
type Watcher struct {
	Client client.WithWatch
	Clock  clock.WithTicker
}

// Seen is an object as it was at some resourceVersion, to be watched from there.
type Seen struct {
	list    client.ObjectList
	options []client.ListOption
	// Version is that resourceVersion. Empty: the object could not be listed, so neither can it be watched.
	Version string
}

// Watchable tells whether Wait notices a change.
func (s Seen) Watchable() bool { return s.Version != "" }

// Look lists the one object with a name: only a list tells from where to watch, also for an object that does not exist.
func (w Watcher) Look(ctx context.Context, list client.ObjectList, name string, options ...client.ListOption) (Seen, error) {
	s := Seen{list: list, options: append(options, client.MatchingFields{metav1.ObjectNameField: name})}
	if err := w.Client.List(ctx, list, s.options...); err != nil {
		return s, err
	}
	s.Version = list.GetResourceVersion()
	return s, nil
}

// Wait returns at a time, or when one of the objects changed.
func (w Watcher) Wait(ctx context.Context, until time.Time, objects []Seen) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()

	changed := make(chan struct{}, len(objects))
	for _, object := range objects {
		if object.Watchable() {
			watching.Go(func() {
				w.changes(ctx, object)
				changed <- struct{}{}
			})
		}
	}
	timer := w.Clock.NewTimer(until.Sub(w.Clock.Now()))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C():
	case <-changed:
		// Many changes are one.
		pause := time.NewTimer(eventPause)
		defer pause.Stop()
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
	}
}

// changes blocks until an object has changed, the watch on it has ended, or, where it cannot be watched, for retryPause.
func (w Watcher) changes(ctx context.Context, object Seen) {
	options := append(object.options[:len(object.options):len(object.options)], &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: object.Version}})
	watcher, err := w.Client.Watch(ctx, object.list, options...)
	if err != nil {
		timer := w.Clock.NewTimer(retryPause)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C():
		}
		return
	}
	defer watcher.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event, open := <-watcher.ResultChan():
			if !open || event.Type != watch.Bookmark {
				return
			}
		}
	}
}
