package clocktest

import (
	"testing"
	"time"
)

var start = time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)

func fired(t interface{ C() <-chan time.Time }) (time.Time, bool) {
	select {
	case at := <-t.C():
		return at, true
	default:
		return time.Time{}, false
	}
}

func TestTimersFireInOrderAtTheirOwnTime(t *testing.T) {
	c := New(start)
	late, early := c.NewTimer(2*time.Minute), c.NewTimer(time.Minute)
	c.Advance(time.Minute - 1)
	if _, ok := fired(early); ok {
		t.Fatal("a timer fired before it was due")
	}
	c.Advance(2 * time.Minute)
	for timer, want := range map[interface{ C() <-chan time.Time }]time.Duration{early: time.Minute, late: 2 * time.Minute} {
		at, ok := fired(timer)
		if !ok || !at.Equal(start.Add(want)) {
			t.Errorf("timer of %v fired=%v at %v", want, ok, at)
		}
	}
	if c.HasWaiters() {
		t.Error("timers that fired still wait")
	}
}

func TestAJumpOfTheWallClockFiresNothing(t *testing.T) {
	c := New(start)
	timer := c.NewTimer(time.Minute)
	c.Jump(time.Hour)
	if _, ok := fired(timer); ok {
		t.Error("a jump fired a timer")
	}
	if d, ok := c.NextTimer(); !ok || d != time.Minute {
		t.Errorf("next timer in %v, %v; want 1m", d, ok)
	}
	if want := start.Add(time.Hour); !c.Now().Equal(want) {
		t.Errorf("now is %v, want %v", c.Now(), want)
	}
	c.Set(start)
	if !c.Now().Equal(start) {
		t.Errorf("set back to %v, want %v", c.Now(), start)
	}
}

func TestAStoppedTimerNeverFires(t *testing.T) {
	c := New(start)
	timer := c.NewTimer(time.Minute)
	if !timer.Stop() || timer.Stop() {
		t.Error("the first Stop must say true, the second false")
	}
	over := c.NewTimer(time.Minute)
	c.Advance(time.Hour)
	over.Stop()
	if _, ok := fired(timer); ok {
		t.Error("a stopped timer fired")
	}
	if _, ok := fired(over); ok {
		t.Error("something was received after Stop")
	}
}

func TestBlockUntilWaitsForATimer(t *testing.T) {
	c := New(start)
	go c.NewTimer(time.Second)
	c.BlockUntil(1)
	if c.Waiters() != 1 {
		t.Errorf("%d timers wait, want 1", c.Waiters())
	}
}
