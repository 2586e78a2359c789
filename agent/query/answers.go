package query

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/api/wire"
)

const (
	// maxChildren is how many restics run for queries at the same time; those of jobs do not count.
	maxChildren = 2
	// maxTurnedAway bounds the streams that are only told that the machine is busy.
	maxTurnedAway = wire.MaxStreams
)

// Outlet is the way out for a stream, in the session that opened it.
type Outlet interface {
	// Data sends a binary frame; it waits while the gateway reads slowly. The frame is being sent until the next call of Data or Finish has succeeded: only then its memory
	// may be used again.
	Data(ctx context.Context, frame []byte) error
	// Finish sends the message behind all data.
	Finish(ctx context.Context, m *wire.StreamClose) error
	// Refuse sends the message at once or not at all. For streams without data.
	Refuse(m *wire.StreamClose)
}

// Options of Answers. All but Clock and Logger are required.
type Options struct {
	// Verify returns the query of a message when it may be answered at all. The reason of an error goes to the gateway.
	Verify func(*wire.StreamOpen) (*wire.HostQuery, wire.RefusalReason, error)
	// SealingKey opens parameters, Sign signs with the machine's signing key.
	SealingKey []byte
	Sign       func([]byte) []byte
	// AllowContent is the owner's consent to Files, Find, Diff and Content (agent.yaml, allow.queries).
	AllowContent bool
	Logs         Logs
	// Repository gives the way to the machine's own repository, anew for each query; its error is for the one who asks.
	Repository func(context.Context) (Repository, error)
	// Diagnosis is what the agent knows of itself without asking the repository.
	Diagnosis func() wire.DiagnosisRecord
	Clock     clock.Clock
	Logger    *slog.Logger
}

// Answers answers the queries of one machine. Make it with New.
type Answers struct {
	o        Options
	ctx      context.Context
	stop     context.CancelCauseFunc
	running  sync.WaitGroup
	children chan struct{}
	// listing is maxListing; tests have less.
	listing int64

	mu      sync.Mutex
	streams map[uint32]*stream
	opens   opens
	quota   quota
}

// Why an answer ended before it was complete.
var (
	errClosed  = errors.New("nobody collects it any more")
	errLost    = errors.New("the session with the gateway ended")
	errMisused = errors.New("the gateway broke the rules of streams")
	errExpired = errors.New("the time of the query is over")
	errStopped = errors.New("the agent is stopping")
)

// New makes Answers.
func New(o Options) *Answers {
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	a := &Answers{o: o, children: make(chan struct{}, maxChildren), listing: maxListing, streams: map[uint32]*stream{}, opens: opens{}}
	a.ctx, a.stop = context.WithCancelCause(context.Background())
	return a
}

// Open begins an answer, or refuses.
func (a *Answers) Open(m *wire.StreamOpen, out Outlet) {
	query, reason, err := a.o.Verify(m)
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.o.Clock.Now()
	if err == nil {
		reason, err = a.opens.take(query, now)
	}
	if err == nil && m.Credit > maxCredit {
		reason, err = wire.RefusalInvalid, errMisused
	}
	if err != nil {
		a.complain(now, "a query was refused", "stream", m.Stream, "reason", reason, "error", err)
		out.Refuse(&wire.StreamClose{Stream: m.Stream, Reason: reason})
		return
	}
	if used := a.streams[m.Stream]; used != nil {
		// Nobody can tell the two apart any more.
		a.complain(now, "the gateway opened a stream twice; it is ended", "stream", m.Stream)
		used.end(errMisused)
		return
	}
	busy := len(a.streams) >= wire.MaxStreams
	if len(a.streams) >= wire.MaxStreams+maxTurnedAway || a.ctx.Err() != nil {
		out.Refuse(&wire.StreamClose{Stream: m.Stream})
		return
	}
	s := newStream(a, m, query, out)
	a.streams[m.Stream] = s
	a.running.Go(func() {
		s.run(busy)
		a.remove(s)
	})
}

// Credit lets a stream send more. One that has ended meanwhile needs none.
func (a *Answers) Credit(m *wire.StreamCredit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.streams[m.Stream]
	if s == nil || s.credit.add(m.Bytes) {
		return
	}
	a.complain(a.o.Clock.Now(), "the gateway gave a stream more credit than any window has; it is ended", "stream", m.Stream)
	s.end(errMisused)
}

// Close ends a stream that nobody collects any more.
func (a *Answers) Close(m *wire.StreamClose) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.streams[m.Stream]; s != nil {
		s.end(errClosed)
	}
}

// SessionEnded ends all streams: their numbers mean nothing in the next session.
func (a *Answers) SessionEnded() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.streams {
		s.end(errLost)
	}
	clear(a.streams)
}

// Stop ends all answers, tells whoever collects them that the agent stops, and waits until no restic runs for them any more. A gateway that does not read holds
// nothing up for long.
func (a *Answers) Stop() {
	a.mu.Lock()
	a.stop(errStopped)
	a.mu.Unlock()
	stuck := time.AfterFunc(2*goodbyePatience, a.SessionEnded)
	defer stuck.Stop()
	a.running.Wait()
}

func (a *Answers) remove(s *stream) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.streams[s.number] == s {
		delete(a.streams, s.number)
	}
}

// child waits until restic may be started for a query.
func (a *Answers) child(ctx context.Context) (done func(), err error) {
	select {
	case a.children <- struct{}{}:
		return func() { <-a.children }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// complain logs what only a gateway with a fault, or a hostile one, does. The caller holds mu.
func (a *Answers) complain(now time.Time, message string, attributes ...any) {
	level := slog.LevelDebug
	if a.quota.take(now) {
		level = slog.LevelWarn
	}
	a.o.Logger.Log(context.Background(), level, message, attributes...)
}
