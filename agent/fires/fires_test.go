package fires

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock/clocktest"
	"github.com/restic-manager/restic-manager/agent/cron"
	"github.com/restic-manager/restic-manager/agent/session"
	"github.com/restic-manager/restic-manager/api/wire"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fireBench plays the gateway, the jobs and cron around fires. What happens arrives in order in events.
type fireBench struct {
	*Fires
	time   *clocktest.Clock
	events chan string
	ran    map[string]bool
	asks   chan wire.Fire
	refuse error // of the next start
	away   bool  // Send fails
	cancel context.CancelFunc
}

func (b *fireBench) Send(m wire.Message) error {
	if b.away {
		return session.ErrNotConnected
	}
	b.asks <- *m.(*wire.Fire)
	return nil
}

func (b *fireBench) Known(id string) bool { return b.ran[id] }

func (b *fireBench) StartFire(f cron.Fire, offline bool) error {
	if err := b.refuse; err != nil {
		b.refuse = nil
		b.events <- "cannot start"
		return err
	}
	if offline {
		b.events <- "started offline"
	} else {
		b.events <- "started"
	}
	return nil
}

func (b *fireBench) ReportMissed(_ cron.Fire, message string) { b.events <- "missed: " + message }

func (b *fireBench) Settle(cron.Fire) error {
	b.events <- "settled"
	return nil
}

func newFireBench(t *testing.T) *fireBench {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b := &fireBench{time: clocktest.New(start), events: make(chan string, 100), ran: map[string]bool{}, asks: make(chan wire.Fire, 100), cancel: cancel}
	b.Fires = New(ctx, b, b, b.time, slog.New(slog.NewTextHandler(io.Discard, nil)))
	b.Fires.Settler = b
	t.Cleanup(func() { cancel(); b.Wait() })
	return b
}

func (b *fireBench) due(change ...func(*cron.Fire)) cron.Fire {
	f := cron.Fire{Fire: wire.Fire{JobID: "fire-1", Schedule: "nightly", SourceGroup: "etc", Nominal: "2026-03-01T12:00", Due: start, Revision: "r"},
		WhenDisconnected: wire.WhenDisconnectedRun}
	for _, c := range change {
		c(&f)
	}
	b.Fire(f)
	return f
}

func waits(f *cron.Fire) { f.WhenDisconnected = wire.WhenDisconnectedWait }

func (b *fireBench) expect(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := receive(t, b.events, w); got != w {
			t.Errorf("%q happened, want %q", got, w)
		}
	}
}

func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

func TestAnAdmittedFireRuns(t *testing.T) {
	b := newFireBench(t)
	b.SessionOpened()
	b.due()
	asked := receive(t, b.asks, "the question")
	b.Verdict(&wire.Verdict{JobID: "fire-unknown", Admit: true})
	b.Verdict(&wire.Verdict{JobID: asked.JobID, Admit: true})
	b.Verdict(&wire.Verdict{JobID: asked.JobID, Reason: wire.VerdictSuspended})
	b.expect(t, "started", "settled")
}

func TestARefusedFireIsOver(t *testing.T) {
	b := newFireBench(t)
	b.SessionOpened()
	b.due()
	b.Verdict(&wire.Verdict{JobID: receive(t, b.asks, "the question").JobID, Reason: wire.VerdictSuspended})
	b.expect(t, "settled")
}

func TestAFireThatRanBeforeIsNotAskedAbout(t *testing.T) {
	b := newFireBench(t)
	b.ran["fire-1"] = true
	b.SessionOpened()
	b.due()
	b.expect(t, "settled")
	if len(b.asks) > 0 {
		t.Error("the gateway was asked")
	}
}

func TestASilentGatewayCountsAsDisconnected(t *testing.T) {
	b := newFireBench(t)
	b.SessionOpened()
	b.due()
	receive(t, b.asks, "the question")
	b.time.BlockUntil(1)
	b.time.Advance(wire.VerdictTimeout - time.Second)
	if len(b.events) > 0 {
		t.Errorf("%q before the time was over", <-b.events)
	}
	b.time.Advance(time.Second)
	b.expect(t, "started offline", "settled")
}

func TestASessionThatEndsWhileAskingCountsAsDisconnected(t *testing.T) {
	b := newFireBench(t)
	b.SessionOpened()
	b.due()
	receive(t, b.asks, "the question")
	b.SessionClosed()
	b.expect(t, "started offline", "settled")
}

func TestWithoutASessionAFireRunsAfterAShortGrace(t *testing.T) {
	b := newFireBench(t)
	b.due()
	b.time.BlockUntil(1)
	b.time.Advance(connectGrace)
	b.expect(t, "started offline", "settled")
}

func TestAFireAtStartUpWaitsForTheFirstSession(t *testing.T) {
	b := newFireBench(t)
	b.due()
	b.time.BlockUntil(1)
	b.SessionOpened()
	b.Verdict(&wire.Verdict{JobID: receive(t, b.asks, "the question").JobID, Admit: true})
	b.expect(t, "started", "settled")
}

func TestAWaitingScheduleAsksAgainWhenConnected(t *testing.T) {
	b := newFireBench(t)
	b.due(waits)
	b.time.BlockUntil(1)
	b.time.Advance(connectGrace)
	b.time.BlockUntil(1)
	b.time.Advance(retryStart)
	b.time.Advance(5 * time.Hour)
	b.SessionOpened()
	b.Verdict(&wire.Verdict{JobID: receive(t, b.asks, "the question").JobID, Admit: true})
	b.expect(t, "started", "settled")
}

func TestAWaitingScheduleMissesItsDeadline(t *testing.T) {
	b := newFireBench(t)
	b.due(waits, func(f *cron.Fire) { f.StartingDeadline = time.Hour })
	b.time.BlockUntil(1)
	b.time.Advance(connectGrace)
	b.time.BlockUntil(1)
	b.time.Advance(retryStart)
	b.time.BlockUntil(1)
	b.time.Advance(time.Hour)
	b.expect(t, "missed: The backup was due at 2026-03-01T12:00:00Z and could not start within its starting deadline of 1h0m0s: "+
		"there was no verdict of the gateway.", "settled")
}

func TestWhatCronCallsMissedIsReportedAtOnce(t *testing.T) {
	b := newFireBench(t)
	b.due(func(f *cron.Fire) { f.Missed, f.Message = true, "The machine was off." })
	b.expect(t, "missed: The machine was off.", "settled")
}

func TestAJobThatCannotBeMadeDurableIsTriedAgain(t *testing.T) {
	b := newFireBench(t)
	b.refuse = errors.New("disk full")
	b.SessionOpened()
	b.due()
	b.Verdict(&wire.Verdict{JobID: receive(t, b.asks, "the question").JobID, Admit: true})
	b.expect(t, "cannot start")
	b.time.BlockUntil(1)
	b.time.Advance(retryStart)
	b.Verdict(&wire.Verdict{JobID: receive(t, b.asks, "the question again").JobID, Admit: true})
	b.expect(t, "started", "settled")
}

func TestAnAgentThatStopsLeavesItsFiresUnsettled(t *testing.T) {
	b := newFireBench(t)
	b.SessionOpened()
	b.due()
	receive(t, b.asks, "the question")
	b.due(waits, func(f *cron.Fire) { f.JobID = "fire-2" })
	receive(t, b.asks, "the second question")
	b.cancel()
	b.Wait()
	if len(b.events) > 0 {
		t.Errorf("%q happened", <-b.events)
	}
}
