package restic

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// queueLength and queueBytes bound what waits for a slow observer.
	queueLength = 4096
	queueBytes  = 8 << 20
	// observerPatience is how long a finished run waits for its observer to take what is queued.
	observerPatience = 10 * time.Second
)

// dispatcher hands events to the observer on a goroutine of its own. Posting never blocks: when the queue is full, lines and progress are lost and
// counted.
type dispatcher struct {
	observer Observer
	logger   *slog.Logger
	events   chan event
	bytes    atomic.Int64
	lost     atomic.Int64
	done     chan struct{}
	once     sync.Once
}

type event struct {
	progress *Progress
	retry    *Retry
	line     *Line
}

func newDispatcher(observer Observer, logger *slog.Logger) *dispatcher {
	d := &dispatcher{observer: observer, logger: logger, events: make(chan event, queueLength), done: make(chan struct{})}
	if observer == nil {
		close(d.done)
		return d
	}
	go d.deliver()
	return d
}

func (d *dispatcher) post(e event) {
	if d.observer == nil {
		return
	}
	size := e.size()
	if d.bytes.Add(size) > queueBytes && size > 0 {
		d.bytes.Add(-size)
		d.lost.Add(1)
		return
	}
	select {
	case d.events <- e:
	default:
		d.bytes.Add(-size)
		if e.line != nil {
			d.lost.Add(1)
		}
	}
}

func (e event) size() int64 {
	if e.line == nil {
		return 0
	}
	return int64(len(e.line.Text))
}

func (d *dispatcher) deliver() {
	defer close(d.done)
	broken := false
	for e := range d.events {
		d.bytes.Add(-e.size())
		if !broken {
			broken = !d.call(e)
		}
	}
	if lost := d.lost.Swap(0); lost > 0 && !broken {
		d.call(event{line: lostLine(lost)})
	}
}

// call reports false when the observer panicked; it is not called again then.
func (d *dispatcher) call(e event) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			d.logger.Error("the observer of a restic run panicked; it hears nothing more of this run", "panic", fmt.Sprint(p))
			ok = false
		}
	}()
	if e.line != nil {
		if lost := d.lost.Swap(0); lost > 0 {
			d.observer.Line(*lostLine(lost))
		}
	}
	switch {
	case e.progress != nil:
		d.observer.Progress(*e.progress)
	case e.retry != nil:
		d.observer.Retrying(*e.retry)
	case e.line != nil:
		d.observer.Line(*e.line)
	}
	return true
}

func lostLine(n int64) *Line {
	return &Line{Time: time.Now(), Error: true, Text: fmt.Sprintf("(%d lines are missing here: the log could not keep up)", n)}
}

// close waits until everything was delivered, or for patience. Nothing may be posted afterwards.
func (d *dispatcher) close(patience time.Duration) {
	d.once.Do(func() { close(d.events) })
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-d.done:
	case <-timer.C:
		d.logger.Warn("the observer of a restic run is stuck and was left behind", "queued", len(d.events))
	}
}
