package report

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agentgateway/internal/lane"
	"github.com/restic-manager/restic-manager/api/wire"
	"k8s.io/utils/clock"
)

const (
	// waiting bounds the messages of one session that wait to be stored; patience is how long a peer is held up before it is cut.
	waiting  = 64
	patience = 20 * time.Second
	// progressEvery is how often the progress of a job is written at most.
	progressEvery = 10 * time.Second

	firstRetry = 250 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// Peer is the way back to the agent.
type Peer interface {
	Send(wire.Message) error
	Close(*wire.Error)
}

// Stream stores what one session says, in order.
type Stream struct {
	w    *Writer
	s    Session
	peer Peer
	lane *lane.Lane[item]
	// shown is when the progress of each job was written last, and how it was tried then.
	shown map[string]shown

	mu sync.Mutex
	// cancel ends what is being handled, nil while nothing is.
	cancel context.CancelFunc
	ended  bool
}

type item struct {
	message  wire.Message
	received time.Time
}

type shown struct {
	at       time.Time
	retrying bool
	attempt  int64
}

// NewStream returns a stream that must be ended.
func (w *Writer) NewStream(s Session, peer Peer) *Stream {
	st := &Stream{w: w, s: s, peer: peer}
	st.lane = lane.New(waiting, st.handle, newerProgress)
	return st
}

// log is made when there is something to say: most sessions are silent for most of the time.
func (st *Stream) log() *slog.Logger {
	return st.w.o.Logger.With("host", st.s.Host.String(), "session", st.s.Counter)
}

// newerProgress: of a job's progress only the newest is of interest.
func newerProgress(old, next item) bool {
	a, ok := old.message.(*wire.JobProgress)
	b, also := next.message.(*wire.JobProgress)
	return ok && also && a.Job.JobID == b.Job.JobID
}

// Take queues a message. It holds the peer up while too many wait; an error means that the session is to end.
func (st *Stream) Take(m wire.Message) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := st.lane.Put(ctx, item{message: m, received: st.w.o.Clock.Now()}); err != nil {
		return &wire.Error{Code: wire.CodeBusy, Message: "reports cannot be stored as fast as they come", RetryAfterSeconds: 10}
	}
	return nil
}

// End drops what waits. What was not acked, the agent sends again in its next session.
func (st *Stream) End() {
	st.mu.Lock()
	st.ended = true
	if st.cancel != nil {
		st.cancel()
	}
	st.mu.Unlock()
	st.lane.End()
}

// begin returns the context of one message, which End cancels.
func (st *Stream) begin() (context.Context, context.CancelFunc) {
	st.mu.Lock()
	defer st.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	if st.ended {
		cancel()
	}
	st.cancel = cancel
	return ctx, func() {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.cancel = nil
		cancel()
	}
}

// handle stores one message, however long it takes.
func (st *Stream) handle(it item) {
	ctx, done := st.begin()
	defer done()
	// Waiting for its own pace, a host holds nobody else up: its turn comes after that.
	if !st.due(it) || !st.pace(ctx) {
		return
	}
	wait := firstRetry
	for {
		err := st.turn(ctx, it)
		if err == nil || ctx.Err() != nil || st.settle(it, err) {
			return
		}
		st.log().Warn("not stored yet", "type", string(it.message.MessageType()), "retryIn", wait.String(), "error", err)
		if !sleep(ctx, st.w.o.Clock, wait) {
			return
		}
		wait = min(2*wait, lastRetry)
	}
}

// turn stores one message when it is this one's turn, which ends when the API server does not answer.
func (st *Stream) turn(ctx context.Context, it item) error {
	select {
	case st.w.turns <- struct{}{}:
		defer func() { <-st.w.turns }()
		ctx, cancel := context.WithTimeout(ctx, turnTimeout)
		defer cancel()
		return st.store(ctx, it)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pace waits until the host may have something written again; false when the session ended first.
func (st *Stream) pace(ctx context.Context) bool {
	wait := st.w.pace.Reserve(st.s.Host.String(), st.w.o.Clock.Now())
	return wait == 0 || sleep(ctx, st.w.o.Clock, wait)
}

func sleep(ctx context.Context, c clock.Clock, d time.Duration) bool {
	timer := c.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}

func (st *Stream) store(ctx context.Context, it item) error {
	if ack, isAck := it.message.(*wire.SetAck); isAck {
		s := st.s
		st.s.Record = nil // the next one may come after a write
		return st.w.SetAcked(ctx, s, ack)
	}
	if st.w.removed(ctx, st.s.Host) {
		if report, durable := it.message.(wire.Report); durable {
			return st.acked(report, hostDeleted)
		}
		return nil
	}
	switch m := it.message.(type) {
	case *wire.CommandAck:
		return st.w.CommandAcked(ctx, st.s, m)
	case *wire.JobStarted:
		return st.w.started(ctx, st.s, m, it.received)
	case *wire.JobProgress:
		return st.progress(ctx, m, it.received)
	case *wire.JobFinished:
		delete(st.shown, m.Job.JobID)
		return st.acked(m, st.w.finished(ctx, st.s, m, it.received))
	case *wire.RepoState:
		return st.acked(m, st.w.repoState(ctx, st.s, m, it.received))
	case *wire.RepoStats:
		return st.acked(m, st.w.repoStats(ctx, st.s, m, it.received))
	}
	return nil
}

// due tells whether a message is worth a write. Of a job's progress that is the first, what began or ceased to be retried, each attempt, and the rest every 10 s.
func (st *Stream) due(it item) bool {
	m, often := it.message.(*wire.JobProgress)
	if !often {
		return true
	}
	if m.Job.HostJob == "" {
		return false
	}
	last, known := st.shown[m.Job.JobID]
	return !known || last.retrying != (m.Retrying != "") || last.attempt != m.Attempt || it.received.Sub(last.at) >= progressEvery
}

// progress writes a job's progress that is due.
func (st *Stream) progress(ctx context.Context, m *wire.JobProgress, received time.Time) error {
	if err := st.w.progress(ctx, st.s, m, received); err != nil {
		return err
	}
	if st.shown == nil || len(st.shown) > 100 { // bounded, whatever ids the machine makes up
		st.shown = map[string]shown{}
	}
	st.shown[m.Job.JobID] = shown{received, m.Retrying != "", m.Attempt}
	return nil
}

// acked tells the agent that a report is stored, or never will be.
func (st *Stream) acked(m wire.Report, err error) error {
	ack := &wire.ReportAck{Report: m.ID()}
	result := "stored"
	var lost *discarded
	switch {
	case err == nil:
		if finished, ok := m.(*wire.JobFinished); ok {
			st.w.o.Meter.Delayed(st.w.o.Clock.Since(finished.FinishedAt))
		}
		st.log().Info("report stored", "type", string(m.MessageType()), "report", m.ID().String())
	case errors.As(err, &repeated{}):
		result = "repeated"
	case errors.As(err, &lost):
		result, ack.Discarded, ack.Reason = "discarded", true, lost.reason
	case hopeless(err):
		result, ack.Discarded, ack.Reason = "discarded", true, "the API server does not take it: "+cut(err.Error(), 512)
	default:
		return err
	}
	if ack.Discarded {
		st.log().Warn("report discarded", "type", string(m.MessageType()), "report", m.ID().String(), "reason", ack.Reason)
	}
	st.w.o.Meter.Reported(result)
	if err := st.peer.Send(ack); err != nil {
		st.peer.Close(&wire.Error{Code: wire.CodeBusy, Message: err.Error(), RetryAfterSeconds: 10})
	}
	return nil
}

// settle ends the retries that cannot help.
func (st *Stream) settle(it item, err error) bool {
	if errors.Is(err, errSuperseded) {
		// Not one more: a later report that is stored would make this one look stored too when the newer session sends it.
		st.log().Info("a newer session speaks for the host", "type", string(it.message.MessageType()))
		st.End()
		st.peer.Close(&wire.Error{Code: wire.CodeSuperseded, Message: "a newer connection of this host took over"})
		return true
	}
	if _, durable := it.message.(wire.Report); !durable && hopeless(err) {
		st.log().Error("dropped: the API server does not take it", "type", string(it.message.MessageType()), "error", err)
		return true
	}
	return false
}
