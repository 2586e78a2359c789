package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/restic-manager/restic-manager/api/wire"
)

const (
	// silenceLimit is how long a link may say nothing at all before it counts as dead.
	silenceLimit = 90 * time.Second
	pingEvery    = silenceLimit / 3
	// skewLimit is the clock difference worth a line.
	skewLimit = time.Minute
)

var (
	errSilent  = errors.New("silent")
	errDrained = errors.New("drained")
	errStopped = errors.New("stopped")
)

// session is one accepted connection.
type session struct {
	*Client
	link  *link
	queue chan []byte
	// slow is what waits for its turn behind the queue and the heartbeats: the data of streams, and what ends them.
	slow  chan outgoing
	over  <-chan struct{}
	drain chan time.Duration
	began time.Time
	// complained holds the types of invalid messages that were logged.
	complained map[wire.Type]bool
	// purpose is why this side ended the link, nil when it did not.
	purpose atomic.Pointer[error]
}

// serve runs an accepted session to its end.
func (c *Client) serve(ctx context.Context, link *link, welcome wire.Welcome) ending {
	s := &session{Client: c, link: link, queue: make(chan []byte, queueLength), slow: make(chan outgoing), drain: make(chan time.Duration, 1),
		began: c.o.Clock.Now(), complained: map[wire.Type]bool{}}
	s.tellConnected(welcome)

	// The reader's context is its own: a session that is to stop says goodbye first, and the end of the link ends the reader.
	reading, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	s.over = reading.Done()
	var wg sync.WaitGroup
	heartbeat, ping := time.Duration(welcome.HeartbeatSeconds)*time.Second, pingEvery
	if welcome.PingsCount {
		heartbeat, ping = 0, min(heartbeat, pingEvery)
	}
	wg.Go(func() { s.write(reading, cancel, heartbeat) })
	wg.Go(func() { s.watch(ctx, reading, cancel, ping) })

	c.setOpen(s.queue, link)
	c.o.Handler.Connected(welcome)
	err := s.readAll(reading)
	c.setOpen(nil, nil)
	if purpose := s.purpose.Load(); purpose != nil {
		err = *purpose
	}
	cancel(err)
	wg.Wait()
	c.o.Handler.Disconnected()
	return s.explain(context.Cause(reading))
}

func (c *Client) setOpen(queue chan []byte, l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue, c.link = queue, l
}

func (s *session) readAll(ctx context.Context) error {
	for {
		message, err := s.link.read(ctx)
		var invalid *invalidMessage
		switch {
		case errors.Is(err, wire.ErrUnknownType):
			s.o.Logger.Debug("ignoring a message of a type that this version does not know", "error", err)
			continue
		case errors.As(err, &invalid):
			// Ending the session would not mend the message, and would cut off all the valid ones.
			if !s.complained[invalid.kind] {
				s.complained[invalid.kind] = true
				s.o.Logger.Warn("ignoring an invalid message of the gateway", "error", err)
			}
			continue
		case err != nil:
			return err
		}
		if err := s.dispatch(message); err != nil {
			return err
		}
	}
}

func (s *session) dispatch(message wire.Message) error {
	h := s.o.Handler
	switch m := message.(type) {
	case *wire.SetOffer:
		h.SetOffered(m)
	case *wire.Verdict:
		h.VerdictGiven(m)
	case *wire.CommandRun:
		h.CommandGiven(m)
	case *wire.CommandCancel:
		h.CancelGiven(m)
	case *wire.ReportAck:
		h.ReportAcked(m)
	case *wire.StreamOpen:
		h.StreamOpened(m, Stream{s})
	case *wire.StreamCredit:
		h.StreamCredited(m)
	case *wire.StreamClose:
		h.StreamClosed(m)
	case *wire.Drain:
		spread := time.Duration(s.o.Random() * float64(time.Duration(m.SpreadSeconds)*time.Second))
		select {
		case s.drain <- spread:
		default: // asked already
		}
	case *wire.Error:
		return m
	default:
		s.o.Logger.Debug("ignoring a message that only agents send", "type", message.MessageType())
	}
	return nil
}

// outgoing is one frame.
type outgoing struct {
	kind  websocket.MessageType
	frame []byte
}

// write owns all writes but pings; heartbeats, unless there are to be none (0), are made here. What streams have to say goes out when nothing else waits.
func (s *session) write(ctx context.Context, cancel context.CancelCauseFunc, heartbeat time.Duration) {
	beat, err := wire.Encode("", &wire.Heartbeat{})
	if err != nil {
		cancel(err)
		return
	}
	var due <-chan time.Time
	stop := func() bool { return true }
	wait := func() {
		timer := s.o.Clock.NewTimer(heartbeat)
		due, stop = timer.C(), timer.Stop
	}
	if heartbeat > 0 {
		wait()
	}
	defer func() { stop() }()
	renew := func() outgoing {
		wait()
		return outgoing{websocket.MessageText, beat}
	}
	for {
		var next outgoing
		select {
		case <-ctx.Done():
			return
		case frame := <-s.queue:
			next = outgoing{websocket.MessageText, frame}
		case <-due:
			next = renew()
		default:
			select {
			case <-ctx.Done():
				return
			case frame := <-s.queue:
				next = outgoing{websocket.MessageText, frame}
			case <-due:
				next = renew()
			case next = <-s.slow:
			}
		}
		writing, done := context.WithTimeout(ctx, writeTimeout)
		err := s.link.write(writing, next)
		done()
		if err != nil {
			cancel(err)
			return
		}
	}
}

// untilPing is how long it is to the last moment within an interval that pings come in. Machines whose clocks agree ping together so:
// what a gateway wakes up for, it does for many of them at once.
func untilPing(now time.Time, interval time.Duration) time.Duration {
	wait := now.Add(interval).Truncate(wire.PingsTogether).Sub(now)
	if wait <= interval/2 { // of a short interval nothing much would be left
		return interval
	}
	return wait
}

// watch ends the link when it is dead, drained, or no longer wanted. It pings once per interval, which tells both sides that the other is there.
func (s *session) watch(wanted, reading context.Context, cancel context.CancelCauseFunc, interval time.Duration) {
	end := func(cause error, goodbye string) {
		s.purpose.Store(&cause)
		s.link.closeGently(goodbye)
	}
	toldStable := !s.flapping
	// The first one may be any of those within the interval: a fleet that connects in one moment is not to ping in one for ever.
	tick := s.o.Clock.NewTimer(untilPing(s.o.Clock.Now(), interval-time.Duration(s.o.Random()*float64(interval))))
	defer func() { tick.Stop() }()
	var drained <-chan time.Time
	for {
		select {
		case <-reading.Done():
			return
		case <-wanted.Done():
			end(errStopped, "the agent stops")
			return
		case spread := <-s.drain:
			if drained == nil {
				timer := s.o.Clock.NewTimer(spread)
				defer timer.Stop()
				drained = timer.C()
			}
		case <-drained:
			end(errDrained, "drained")
			return
		case <-tick.C():
			// The last pong came a little after its ping: the tick that is nearest to the limit counts.
			if s.link.silence() >= silenceLimit-interval/2 {
				cancel(errSilent)
				_ = s.link.conn.CloseNow()
				return
			}
			if !toldStable && s.o.Clock.Now().Sub(s.began) >= stableAfter {
				toldStable = true
				s.o.Logger.Info("connected, and the session lasts", "url", s.o.URL)
			}
			tick = s.o.Clock.NewTimer(untilPing(s.o.Clock.Now(), interval))
			go func() {
				// The pong counts (link.heard), not this call's result.
				pinging, done := context.WithTimeout(reading, silenceLimit)
				defer done()
				_ = s.link.conn.Ping(pinging)
			}()
		}
	}
}

func (s *session) explain(cause error) ending {
	var e *wire.Error
	switch {
	case errors.As(cause, &e):
		if e.Code == wire.CodeStaleSession {
			s.o.Counter.Raise(e.Session)
		}
		return refused(e)
	case errors.Is(cause, errSilent):
		return lost(fmt.Sprintf("no answer from the gateway for %v: the connection is dead", silenceLimit))
	case errors.Is(cause, errDrained):
		return ending{level: slog.LevelInfo, sentence: "the gateway asked to reconnect elsewhere"}
	case errors.Is(cause, errStopped):
		return ending{level: slog.LevelInfo, sentence: "disconnected"}
	default:
		return lost("the session with the gateway ended: " + transportText(cause))
	}
}

// tellConnected logs a new session, but once only while sessions end as soon as they begin.
func (s *session) tellConnected(welcome wire.Welcome) {
	level := slog.LevelInfo
	if s.flapping {
		level = slog.LevelDebug
	}
	s.o.Logger.Log(context.Background(), level, "connected", "gateway", welcome.Gateway, "url", s.o.URL)
	if welcome.Time.IsZero() || s.flapping {
		return
	}
	if skew := s.o.Clock.Now().Sub(welcome.Time); skew > skewLimit || skew < -skewLimit {
		s.o.Logger.Warn("this machine's clock differs from the gateway's: schedules run by this machine's clock, and signed commands may look "+
			"expired; set the clock (NTP)", "ahead", skew.Round(time.Second).String())
	}
}
