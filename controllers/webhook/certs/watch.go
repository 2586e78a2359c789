package certs

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// seen is an object as it was at some resourceVersion, to be watched from there.
type seen struct {
	list    client.ObjectList
	options []client.ListOption
	version string // empty: it could not be listed, so neither can it be watched
}

func (s seen) watchable() bool { return s.version != "" }

// look lists the one object with a name: only a list tells from where to watch, also for an object that does not exist.
func (k *Keeper) look(ctx context.Context, list client.ObjectList, name string, options ...client.ListOption) (seen, error) {
	s := seen{list: list, options: append(options, client.MatchingFields{metav1.ObjectNameField: name})}
	if err := k.Client.List(ctx, list, s.options...); err != nil {
		return s, err
	}
	s.version = list.GetResourceVersion()
	return s, nil
}

// wait returns at a time, or when one of the objects changed.
func (k *Keeper) wait(ctx context.Context, until time.Time, objects []seen) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()

	changed := make(chan struct{}, len(objects))
	for _, object := range objects {
		if object.watchable() {
			watching.Go(func() {
				k.changes(ctx, object)
				changed <- struct{}{}
			})
		}
	}
	timer := k.Clock.NewTimer(until.Sub(k.Clock.Now()))
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
func (k *Keeper) changes(ctx context.Context, object seen) {
	options := append(object.options[:len(object.options):len(object.options)], &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: object.version}})
	watcher, err := k.Client.Watch(ctx, object.list, options...)
	if err != nil {
		timer := k.Clock.NewTimer(retryPause)
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
