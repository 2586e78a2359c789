// Package clock is the time as the agent's packages see it: a Clock is passed in wherever something waits or tells the time, so that
// tests decide how late it is (package clocktest).
//
// It is tiny on purpose. The agent imports nothing of Kubernetes, and with it not k8s.io/utils/clock.
package clock

import "time"

// Clock tells the time and makes timers.
type Clock interface {
	// Now is the wall clock. With Real the value also holds a monotonic reading, so that the difference of two of them is a true duration; who
	// must see jumps of the wall clock compares Now().Round(0).
	Now() time.Time
	// NewTimer fires once after d. Real timers follow the monotonic clock: they notice neither a jump of the wall clock nor the time that the machine
	// was suspended, so who waits for a time of day waits in short steps and asks Now again.
	NewTimer(d time.Duration) Timer
}

// Timer fires once.
type Timer interface {
	// C receives the time when the timer fires.
	C() <-chan time.Time
	// Stop ends the timer; false when it had fired or was stopped before. Nothing is received from C after Stop.
	Stop() bool
}

// Real is the machine's clock.
type Real struct{}

// Now implements Clock.
func (Real) Now() time.Time { return time.Now() }

// NewTimer implements Clock.
func (Real) NewTimer(d time.Duration) Timer { return realTimer{time.NewTimer(d)} }

type realTimer struct{ timer *time.Timer }

func (t realTimer) C() <-chan time.Time { return t.timer.C }
func (t realTimer) Stop() bool          { return t.timer.Stop() }
