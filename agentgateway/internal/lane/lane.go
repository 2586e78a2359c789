// Package lane works off items one after the other, in order, with a goroutine only while there are any: a connected agent that says
// nothing costs none.
//
// Put blocks while the lane is full, which is how a peer that sends faster than the API server stores is slowed down. A lane has one
// caller of Put. Lane.mu is not held while an item is handled.
package lane

import (
	"context"
	"errors"
	"sync"
)

// ErrEnded is returned by Put after End.
var ErrEnded = errors.New("the lane has ended")

// Lane holds what waits. Make it with New.
type Lane[T any] struct {
	limit  int
	handle func(T)
	merge  func(waiting, next T) bool

	mu      sync.Mutex
	queue   []T
	running bool
	ended   bool
	// room is there once a Put has had to wait.
	room chan struct{}
}

// New returns a lane of at most limit waiting items. merge, when it is not nil, tells whether an item that waits can be replaced by the
// next one.
func New[T any](limit int, handle func(T), merge func(waiting, next T) bool) *Lane[T] {
	return &Lane[T]{limit: limit, handle: handle, merge: merge}
}

// Put queues an item. It blocks while the lane is full, until ctx ends.
func (l *Lane[T]) Put(ctx context.Context, item T) error {
	for {
		room, err := l.try(item)
		if room == nil || err != nil {
			return err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// try queues an item, or returns what tells when there may be room for it.
func (l *Lane[T]) try(item T) (<-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return nil, ErrEnded
	}
	if l.merge != nil {
		for i := range l.queue {
			if l.merge(l.queue[i], item) {
				l.queue[i] = item
				return nil, nil
			}
		}
	}
	if len(l.queue) >= l.limit {
		if l.room == nil {
			l.room = make(chan struct{}, 1)
		}
		return l.room, nil
	}
	l.queue = append(l.queue, item)
	if !l.running {
		l.running = true
		go l.run()
	}
	return nil, nil
}

func (l *Lane[T]) run() {
	for {
		item, ok := l.next()
		if !ok {
			return
		}
		l.handle(item)
	}
}

func (l *Lane[T]) next() (item T, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || len(l.queue) == 0 {
		l.queue = nil
		l.running = false
		return item, false
	}
	var zero T
	item, l.queue[0] = l.queue[0], zero
	l.queue = l.queue[1:]
	select {
	case l.room <- struct{}{}:
	default:
	}
	return item, true
}

// End drops what waits. An item that is being handled is not interrupted.
func (l *Lane[T]) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.queue = nil
	select {
	case l.room <- struct{}{}:
	default:
	}
}
