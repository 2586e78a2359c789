package session

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/restic-manager/restic-manager/api/wire"
)

// briefTimeout bounds what is written to a peer that is not served, yet or any more: the end of the upgrade, a pong, why it is sent away; and its answer to that.
const briefTimeout = 5 * time.Second

// Session is one authenticated connection of an agent.
type Session struct {
	// Record is the Handler's own: what it keeps of the session from Admit on.
	Record any

	server *Server
	conn   *websocket.Conn
	// writing is held by who writes a message.
	writing sync.Mutex
	remote  string
	began   time.Time
	host    wire.HostRef
	counter int64
	process string
	key     []byte
	applied string
	skew    time.Duration
	// welcomed: the reader is in serve.
	welcomed atomic.Bool

	// last is when the newest frame came, or the session began, in Unix nanoseconds.
	last  atomic.Int64
	ids   atomic.Uint64
	cause atomic.Pointer[wire.Error]
	offer atomic.Pointer[offer]
	// streams: the agent was asked for one, so data frames may come.
	streams atomic.Bool
	done    chan struct{}
}

// offer is a set that was sent, until it is answered.
type offer struct {
	revision string
	at       time.Time
}

// Host is whom the agent speaks for; its signature was verified.
func (s *Session) Host() wire.HostRef { return s.host }

// Counter is the machine's session counter.
func (s *Session) Counter() int64 { return s.counter }

// Process is random per start of the agent.
func (s *Session) Process() string { return s.process }

// Key is the signing key that the hello was verified with.
func (s *Session) Key() []byte { return s.key }

// AppliedRevision is that of the set which was in force when the agent connected.
func (s *Session) AppliedRevision() string { return s.applied }

// Skew is the machine's clock minus the gateway's when it connected.
func (s *Session) Skew() time.Duration { return s.skew }

// Remote is the peer's address, for logs.
func (s *Session) Remote() string { return s.remote }

// Began is when the session was authenticated.
func (s *Session) Began() time.Time { return s.began }

// LastFrame is when the newest frame came, or when the session was welcomed: nobody reads what an agent says in line.
func (s *Session) LastFrame() time.Time { return time.Unix(0, s.last.Load()) }

// Offered returns when the set of a revision was sent, once: the answer to it is told apart from one that nobody asked for.
func (s *Session) Offered(revision string) (time.Time, bool) {
	o := s.offer.Load()
	if o == nil || o.revision != revision || !s.offer.CompareAndSwap(o, nil) {
		return time.Time{}, false
	}
	return o.at, true
}

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Closing tells whether Close was called.
func (s *Session) Closing() bool { return s.cause.Load() != nil }

// ErrInvalid marks an error of Write about the message itself: nothing was sent and the session goes on.
var ErrInvalid = errors.New("message cannot be sent")

// Write sends m and blocks until the socket has taken it. A peer that does not take it within WriteTimeout is cut off; one that has a pong waiting before it, within Idle.
func (s *Session) Write(m wire.Message) error { return s.write(m, s.server.o.WriteTimeout) }

func (s *Session) write(m wire.Message, timeout time.Duration) error {
	frame, err := wire.Encode(strconv.FormatUint(s.ids.Add(1), 10), m)
	if err != nil {
		s.server.o.Logger.Error("message cannot be sent", "host", s.host.String(), "type", string(m.MessageType()), "error", err)
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if set, ok := m.(*wire.SetOffer); ok {
		s.offer.Store(&offer{set.Revision, s.server.o.Clock.Now()})
	}
	if m.MessageType() == wire.TypeStreamOpen {
		s.streams.Store(true)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = s.conn.SetWriteDeadline(time.Now().Add(timeout)) // it cannot fail
	if err := s.conn.WriteMessage(websocket.TextMessage, frame); err != nil {
		if !errors.Is(err, websocket.ErrCloseSent) { // the peer is reading why
			_ = s.conn.Close() // a frame was cut short
		}
		return err
	}
	s.server.o.Meter.FrameOut(m.MessageType())
	return nil
}

// Close tells the agent why and ends the session. It returns at once; only the first call counts.
func (s *Session) Close(e *wire.Error) {
	if s.cause.CompareAndSwap(nil, e) {
		go s.goodbye(e, func() { <-s.done })
	}
}

// goodbye says why the session ends, and waits for the end: the peer's answer, or that the connection is closed because there is none.
func (s *Session) goodbye(e *wire.Error, wait func()) {
	defer time.AfterFunc(2*briefTimeout, func() { _ = s.conn.Close() }).Stop()
	_ = s.write(e, briefTimeout) // a peer that is gone needs no reason
	_ = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, string(e.Code)), time.Now().Add(briefTimeout))
	wait()
}

// untilEnd reads what nobody wants any more.
func (s *Session) untilEnd() {
	_ = s.conn.SetReadDeadline(time.Now().Add(briefTimeout)) // that of the hello may be over
	for {
		if _, _, err := s.conn.NextReader(); err != nil {
			return
		}
	}
}

// read returns the next message; a nil message is one to ignore, or was a data frame.
func (s *Session) read(timeout time.Duration) (wire.Message, error) {
	if err := s.conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	kind, reader, err := s.conn.NextReader()
	if err != nil {
		return nil, err
	}
	buffer := frames.Get().(*[]byte)
	defer giveBack(buffer)
	frame, err := wire.ReadFrame(reader, *buffer)
	*buffer = frame
	if err != nil {
		return nil, err
	}
	s.last.Store(s.server.o.Clock.Now().UnixNano())
	if kind != websocket.TextMessage {
		return nil, s.data(frame)
	}
	envelope, err := wire.Decode(frame)
	if err != nil {
		return nil, badMessage(err.Error())
	}
	s.server.o.Meter.FrameIn(envelope.Type)
	message, err := envelope.Open()
	if errors.Is(err, wire.ErrUnknownType) {
		return nil, nil
	}
	if err != nil {
		return nil, badMessage(err.Error())
	}
	return message, nil
}

// typePing is what pings are counted as.
const typePing wire.Type = "ping"

// pinged takes a ping for the heartbeat that it is once the agent was welcomed and until the session is closed, and sends the pong. It is called by whoever reads.
func (s *Session) pinged(payload string) error {
	now := time.Now()
	deadline := now.Add(briefTimeout)
	if s.welcomed.Load() && s.cause.Load() == nil {
		s.server.o.Meter.FrameIn(typePing)
		s.last.Store(s.server.o.Clock.Now().UnixNano())
		// Of the pong too, since the next ping moves it on: one that is closer would run out each time, and wake up the process for that.
		deadline = now.Add(s.server.o.Idle)
		_ = s.conn.SetReadDeadline(deadline) // an error is that of a socket that was closed, which the reader meets next
	}
	err := s.conn.WriteControl(websocket.PongMessage, []byte(payload), deadline)
	if errors.Is(err, websocket.ErrCloseSent) {
		return nil // what is awaited is the peer's answer to that
	}
	return err
}

// typeData is what data frames are counted as; they have no envelope.
const typeData wire.Type = "stream.data"

// data hands a data frame on.
func (s *Session) data(frame []byte) error {
	if !s.streams.Load() {
		return badMessage("a binary frame, and no stream was asked for")
	}
	stream, chunk, err := wire.DecodeData(frame)
	if err != nil {
		return badMessage(err.Error())
	}
	s.server.o.Meter.FrameIn(typeData)
	if s.cause.Load() == nil {
		s.server.handler.Streamed(s, stream, chunk)
	}
	return nil
}

func badMessage(text string) *wire.Error {
	return &wire.Error{Code: wire.CodeBadMessage, Message: cut(text, 512)}
}

func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return text[:limit]
}

// serve reads until the session ends, and returns why.
func (s *Session) serve() error {
	s.welcomed.Store(true)
	for {
		message, err := s.read(s.server.o.Idle)
		if reason := s.cause.Load(); reason != nil {
			if err != nil {
				return reason
			}
			continue // closing: what still comes is not ours any more
		}
		var bad *wire.Error
		switch {
		case errors.As(err, &bad):
			s.Close(bad)
			continue
		case err != nil:
			return err
		}
		switch m := message.(type) {
		case nil, *wire.Heartbeat:
		case *wire.Error:
			return m
		default:
			if err := s.server.handler.Received(s, m); err != nil {
				s.Close(asWireError(err))
			}
		}
	}
}

// asWireError is what the peer is told of an error: nothing but what was made for it.
func asWireError(err error) *wire.Error {
	var e *wire.Error
	if errors.As(err, &e) {
		return e
	}
	return busy("the gateway could not do its part; try again", someTime())
}
