package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/agent/outbox"
	"github.com/restic-manager/restic-manager/agent/session"
	"github.com/restic-manager/restic-manager/api/wire"
)

const (
	// reportWindow is how many reports may be on their way at once.
	reportWindow = 16
	// retryStore is how soon a report that did not fit on the disk is tried again.
	retryStore = 30 * time.Second
	// retrySend is how soon a report is tried again after the session's queue was full.
	retrySend = time.Second
)

// sender is the session.
type sender interface {
	Send(wire.Message) error
}

// reports brings durable reports into the outbox, and from there to the gateway in order.
type reports struct {
	box    *outbox.Outbox
	sender sender
	clock  clock.Clock
	logger *slog.Logger
	wake   chan struct{}

	mu        sync.Mutex
	connected bool
	// sent holds the numbers that were sent in this session and not acknowledged, ascending.
	sent []int64
	// through is the greatest number that was sent in this session.
	through int64
	// complained: an ack of what was not sent came in this session, and was told.
	complained bool
	// unsaved wait for room on the disk, in order.
	unsaved []wire.Report
}

func newReports(box *outbox.Outbox, s sender, c clock.Clock, logger *slog.Logger) *reports {
	return &reports{box: box, sender: s, clock: c, logger: logger, wake: make(chan struct{}, 1)}
}

// addDurable stores a report; an error means that the caller still has it, and is to bring it again.
func (r *reports) addDurable(report wire.Report) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.storeOnce(report)
}

func (r *reports) storeOnce(report wire.Report) error {
	err := r.box.Add(report)
	if errors.Is(err, outbox.ErrInvalid) {
		r.logger.Error("a report is dropped because it breaks the protocol's limits; this is a defect of the agent", "type", report.MessageType(), "error", err)
		return nil
	}
	return err
}

// add stores a report; when the disk refuses, it stays in memory and is stored as soon as that works.
func (r *reports) add(report wire.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.unsaved) == 0 && r.store(report) {
		return
	}
	r.unsaved = append(r.unsaved, report)
	r.nudge()
}

// store returns false when it is worth trying again.
func (r *reports) store(report wire.Report) bool {
	if err := r.storeOnce(report); err != nil {
		r.logger.Error("a report cannot be stored and waits in memory", "type", report.MessageType(), "error", err)
		return false
	}
	return true
}

func (r *reports) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// sessionOpened starts again at the first report that was not acknowledged.
func (r *reports) sessionOpened() { r.reset(true) }

func (r *reports) sessionClosed() { r.reset(false) }

func (r *reports) reset(connected bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.connected, r.sent, r.through, r.complained = connected, nil, 0, false
	r.nudge()
}

// acked takes the gateway's word for what it can know: reports that were sent to it in this session.
func (r *reports) acked(ack *wire.ReportAck) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ack.Report.Epoch != r.box.Epoch() || ack.Report.Seq > r.through {
		level := slog.LevelDebug
		if !r.complained {
			r.complained, level = true, slog.LevelWarn
		}
		r.logger.Log(context.Background(), level, "ignoring an acknowledgement of a report that was not sent in this session", "report", ack.Report.String(), "sentThrough", r.through)
		return
	}
	if ack.Discarded {
		r.logger.Warn("the gateway discarded a report", "report", ack.Report.String(), "reason", ack.Reason)
	}
	if err := r.box.Ack(ack.Report); err != nil {
		r.logger.Error("acknowledged reports cannot be removed; the next acknowledgement tries again", "error", err)
	}
	for len(r.sent) > 0 && r.sent[0] <= ack.Report.Seq {
		r.sent = r.sent[1:]
	}
	r.nudge()
}

// run sends until ctx ends.
func (r *reports) run(ctx context.Context) {
	for ctx.Err() == nil {
		r.wait(ctx, r.pump())
	}
}

// wait returns when there may be something to do; after d, when that is above 0.
func (r *reports) wait(ctx context.Context, d time.Duration) {
	var late <-chan time.Time
	if d > 0 {
		timer := r.clock.NewTimer(d)
		defer timer.Stop()
		late = timer.C()
	}
	select {
	case <-ctx.Done():
	case <-late:
	case <-r.wake:
	case <-r.box.Changed():
	}
}

// pump stores and sends what it can. A result above 0 is when to try again without being woken.
func (r *reports) pump() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var again time.Duration
	for len(r.unsaved) > 0 {
		if !r.store(r.unsaved[0]) {
			again = retryStore
			break
		}
		r.unsaved = r.unsaved[1:]
	}
	for r.connected && len(r.sent) < reportWindow {
		report, ok := r.box.Next(r.through)
		if !ok {
			break
		}
		switch err := r.sender.Send(report); {
		case err == nil:
		case errors.Is(err, session.ErrQueueFull):
			return retrySend
		case errors.Is(err, session.ErrNotConnected):
			return again
		default:
			r.logger.Error("a report cannot be sent; it stays in the outbox until the agent is upgraded", "report", report.ID().String(), "error", err)
		}
		r.through = report.ID().Seq
		r.sent = append(r.sent, r.through)
	}
	return again
}

// waiting is how many reports are not acknowledged.
func (r *reports) waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.box.Len() + len(r.unsaved)
}
