package env

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const pollInterval = 50 * time.Millisecond

// Poll calls cond every 50 ms until it returns nil, and gives up when ctx or timeout ends. The error then names what was
// waited for and what cond said last.
func Poll(ctx context.Context, timeout time.Duration, what string, cond func(context.Context) error) error {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var last error
	for {
		err := cond(ctx)
		if err == nil {
			return nil
		}
		// A call that was cut off by our own deadline says less than the one before it.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if permanent := (*permanentError)(nil); errors.As(err, &permanent) {
			return fmt.Errorf("%s: %w", what, permanent.err)
		}
		select {
		case <-ctx.Done():
			if errors.Is(caller.Err(), context.Canceled) {
				return fmt.Errorf("%s: interrupted: %w", what, last)
			}
			return fmt.Errorf("%s: not within %s: %w", what, timeout, last)
		case <-tick.C:
		}
	}
}

// Permanent marks an error of a Poll condition that waiting cannot cure: Poll returns it at once.
func Permanent(err error) error { return &permanentError{err} }

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// TB is the part of testing.TB that the helpers here use, so that programs which import this package do not link testing.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
	Context() context.Context
}

// Eventually polls cond until it returns nil, logs what it waits for and for how long it did, and fails the test when the
// timeout passes.
func Eventually(t TB, timeout time.Duration, what string, cond func(context.Context) error) {
	t.Helper()
	t.Logf("waiting up to %s: %s", timeout, what)
	began := time.Now()
	if err := Poll(t.Context(), timeout, what, cond); err != nil {
		t.Fatalf("%v", err)
	}
	t.Logf("after %s: %s", time.Since(began).Round(time.Millisecond), what)
}
