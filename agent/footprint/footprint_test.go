package footprint

import (
	"context"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock/clocktest"
)

func TestLook(t *testing.T) {
	const mib = 1 << 20
	busy, has, known := false, int64(0), true
	k := Keeper{Busy: func() bool { return busy }}
	for _, step := range []struct {
		test         string
		has, after   int64
		busy, hidden bool
		want         bool
	}{
		{test: "little", has: enough},
		{test: "much, and nobody can tell", has: 15 * mib, hidden: true},
		{test: "much, and a job runs", has: 15 * mib, busy: true},
		{test: "much", has: 15 * mib, after: 5 * mib, want: true},
		{test: "a little more than then", has: 6 * mib},
		{test: "what comes back of the program by itself", has: 9 * mib},
		{test: "much again", has: 12 * mib, after: 10 * mib, want: true},
		{test: "it did not help, and there is not more", has: 12 * mib},
		{test: "clearly more", has: 12*mib + 1, after: 4 * mib, want: true},
	} {
		has, busy, known = step.has, step.busy, !step.hidden
		released := false
		k.look(func() (int64, bool) { return has, known }, func() { released, has = true, step.after })
		if released != step.want {
			t.Errorf("%s: released %v, want %v", step.test, released, step.want)
		}
	}
}

func TestItLooksOnceAMinute(t *testing.T) {
	clk := clocktest.New(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	looked := make(chan struct{})
	k := Keeper{Clock: clk}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.run(ctx, func() { looked <- struct{}{} })
	}()
	for range 3 {
		clk.BlockUntil(1)
		clk.Advance(every)
		<-looked
	}
	cancel()
	<-done
}
