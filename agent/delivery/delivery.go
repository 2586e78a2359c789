package delivery

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

// Sender is the session. Its errors are those of package session.
type Sender interface {
	Send(wire.Message) error
}

// Box keeps the reports: an outbox.Outbox, whose documentation says what each method promises.
type Box interface {
	Add(wire.Report) error
	Next(after int64) (wire.Report, bool)
	Ack(wire.ReportID) error
	Epoch() string
	Len() int
	Changed() <-chan struct{}
}

// Delivery brings durable reports into the outbox, and from there to the gateway in order.
type Delivery struct {
	box    Box
	sender Sender
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

// New returns one without a session.
func New(box Box, s Sender, c clock.Clock, logger *slog.Logger) *Delivery {
	return &Delivery{box: box, sender: s, clock: c, logger: logger, wake: make(chan struct{}, 1)}
}

// AddDurable stores a report; an error means that the caller still has it, and is to bring it again.
func (r *Delivery) AddDurable(report wire.Report) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.storeOnce(report)
}

func (r *Delivery) storeOnce(report wire.Report) error {
	err := r.box.Add(report)
	if errors.Is(err, outbox.ErrInvalid) {
		r.logger.Error("a report is dropped because it breaks the protocol's limits; this is a defect of the agent", "type", report.MessageType(), "error", err)
		return nil
	}
	return err
}

// Add stores a report; when the disk refuses, it stays in memory and is stored as soon as that works.
func (r *Delivery) Add(report wire.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.unsaved) == 0 && r.store(report) {
		return
	}
	r.unsaved = append(r.unsaved, report)
	r.nudge()
}

// store returns false when it is worth trying again.
func (r *Delivery) store(report wire.Report) bool {
	if err := r.storeOnce(report); err != nil {
		r.logger.Error("a report cannot be stored and waits in memory", "type", report.MessageType(), "error", err)
		return false
	}
	return true
}

func (r *Delivery) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// SessionOpened starts again at the first report that was not acknowledged.
func (r *Delivery) SessionOpened() { r.reset(true) }

// SessionClosed stops the sending.
func (r *Delivery) SessionClosed() { r.reset(false) }

func (r *Delivery) reset(connected bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.connected, r.sent, r.through, r.complained = connected, nil, 0, false
	r.nudge()
}

// Acked takes the gateway's word for what it can know: reports that were sent to it in this session.
func (r *Delivery) Acked(ack *wire.ReportAck) {
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

// Run sends until ctx ends.
func (r *Delivery) Run(ctx context.Context) {
	for ctx.Err() == nil {
		r.wait(ctx, r.pump())
	}
}

// wait returns when there may be something to do; after d, when that is above 0.
func (r *Delivery) wait(ctx context.Context, d time.Duration) {
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
func (r *Delivery) pump() time.Duration {
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

// Waiting is how many reports are not acknowledged.
func (r *Delivery) Waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.box.Len() + len(r.unsaved)
}
