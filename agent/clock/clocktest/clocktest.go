// Package clocktest is a clock that stands still until a test moves it.
//
//	c := clocktest.New(time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC))
//	go thing.Run(ctx, c)
//	c.BlockUntil(1)           // the thing waits on a timer
//	c.Advance(time.Minute)    // timers due by now fire, in order
//
// As on a real machine timers follow elapsed time, not the wall clock: Advance moves both, Jump only the wall clock.
package clocktest

import (
	"slices"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock"
)

// Clock implements clock.Clock. All methods may be called from any goroutine.
type Clock struct {
	mu      sync.Mutex
	changed *sync.Cond
	now     time.Time
	elapsed time.Duration
	waiters []*timer
}

var _ clock.Clock = (*Clock)(nil)

// New returns a clock that shows t.
func New(t time.Time) *Clock {
	c := &Clock{now: t.Round(0)}
	c.changed = sync.NewCond(&c.mu)
	return c
}

// Now implements clock.Clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// NewTimer implements clock.Clock. A timer of no or negative duration fires at once.
func (c *Clock) NewTimer(d time.Duration) clock.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &timer{clock: c, due: c.elapsed + d, c: make(chan time.Time, 1)}
	if d <= 0 {
		t.c <- c.now
		return t
	}
	c.waiters = append(c.waiters, t)
	c.changed.Broadcast()
	return t
}

// Advance lets d pass: timers due by then fire in their order, each seeing the time at which it was due.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := c.elapsed + d
	for {
		next := c.earliest()
		if next == nil || next.due > end {
			break
		}
		c.pass(next.due - c.elapsed)
		c.remove(next)
		next.c <- c.now
	}
	c.pass(end - c.elapsed)
}

// Set lets time pass until the wall clock shows t; a t in the past is a jump back, without any time passing.
func (c *Clock) Set(t time.Time) {
	if d := t.Sub(c.Now()); d > 0 {
		c.Advance(d)
	} else {
		c.Jump(d)
	}
}

// Jump moves the wall clock without letting time pass, as an administrator or NTP does; no timer fires.
func (c *Clock) Jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Waiters is the number of timers that wait.
func (c *Clock) Waiters() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiters)
}

// HasWaiters tells whether anything waits on a timer.
func (c *Clock) HasWaiters() bool { return c.Waiters() > 0 }

// BlockUntil returns as soon as at least n timers wait. A test whose timer never comes is ended by the test's own timeout.
func (c *Clock) BlockUntil(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiters) < n {
		c.changed.Wait()
	}
}

// NextTimer is the time until the earliest waiting timer fires; false when none waits.
func (c *Clock) NextTimer() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.earliest()
	if t == nil {
		return 0, false
	}
	return t.due - c.elapsed, true
}

func (c *Clock) pass(d time.Duration) {
	c.elapsed += d
	c.now = c.now.Add(d)
}

func (c *Clock) earliest() *timer {
	if len(c.waiters) == 0 {
		return nil
	}
	return slices.MinFunc(c.waiters, func(a, b *timer) int { return int(a.due - b.due) })
}

func (c *Clock) remove(t *timer) bool {
	i := slices.Index(c.waiters, t)
	if i < 0 {
		return false
	}
	c.waiters = slices.Delete(c.waiters, i, i+1)
	c.changed.Broadcast()
	return true
}

type timer struct {
	clock *Clock
	due   time.Duration
	c     chan time.Time
}

func (t *timer) C() <-chan time.Time { return t.c }

func (t *timer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	if t.clock.remove(t) {
		return true
	}
	select {
	case <-t.c: // as real timers since Go 1.23: nothing is received after Stop
	default:
	}
	return false
}
