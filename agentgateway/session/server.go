package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/restic-manager/restic-manager/agentgateway/internal/pace"
	"github.com/restic-manager/restic-manager/api/wire"
	"golang.org/x/time/rate"
)

// Clock tells the time.
type Clock interface{ Now() time.Time }

// Meter counts what happens.
type Meter interface {
	FrameIn(wire.Type)
	FrameOut(wire.Type)
	// Attempt ends a connection attempt: "accepted", or the code of the error that refused it.
	Attempt(result string)
}

// ErrNoTime is for Handler.Admit: too little is left of its time to begin.
var ErrNoTime = errors.New("no time is left")

// Handler says what sessions mean. SigningKey and Admit are called concurrently for different connections; the calls for one session
// are serial.
type Handler interface {
	// SigningKey is the Ed25519 public key that the host's machine signs with.
	SigningKey(wire.HostRef) ([]byte, bool)
	// Admit decides about an authenticated session before its welcome. A *wire.Error is told to the agent; after ErrNoTime it may come again.
	Admit(context.Context, *Session, *wire.HelloBody) error
	// Opened: the welcome was sent.
	Opened(*Session, *wire.HelloBody)
	// Received is given every message but heartbeats. An error ends the session. It must not block.
	Received(*Session, wire.Message) error
	// Streamed is given every data frame. It must not block, nor keep any part of chunk.
	Streamed(s *Session, stream uint32, chunk []byte)
	// Closed is called once for each session that Admit admitted, also when the welcome could not be sent.
	Closed(*Session, error)
}

// Options of a Server. Gateway, Clock, Meter and Logger are required; the rest has defaults.
type Options struct {
	// Gateway names the replica in the welcome.
	Gateway string
	// HelpURL goes with protocol_too_old.
	HelpURL string
	Clock   Clock
	Meter   Meter
	Logger  *slog.Logger

	// Heartbeat is what agents are asked for. Default 30 s.
	Heartbeat time.Duration
	// HelloTimeout is the time from the connection to the hello. Default 10 s.
	HelloTimeout time.Duration
	// HandshakeWait is how long a connection waits for one of MaxHandshakes before it is turned away. Default 5 s.
	HandshakeWait time.Duration
	// AdmitTimeout bounds Admit, and with it how long an agent waits in line. Default 5 min.
	AdmitTimeout time.Duration
	// WaitEvery is how often an agent that waits in line is told so. Default wire.WaitEvery.
	WaitEvery time.Duration
	// Idle is the longest time between two frames. Default wire.OfflineAfter.
	Idle time.Duration
	// WriteTimeout bounds one frame. Default 30 s.
	WriteTimeout time.Duration
	// MaxConnections bounds all connections. Default 20,000. MaxHandshakes bounds those that have not proved yet who they are. Default 1,024.
	MaxConnections int
	MaxHandshakes  int
	// ConnectRate is the number of attempts per second that are looked at, ConnectBurst at once. Default 1,000 and 2,000.
	ConnectRate  float64
	ConnectBurst int
	// MinProtocol is the oldest protocol that is served. Default wire.MinProtocol.
	MinProtocol int
}

func (o *Options) setDefaults() {
	setDefault(&o.Heartbeat, 30*time.Second)
	setDefault(&o.HelloTimeout, 10*time.Second)
	setDefault(&o.HandshakeWait, 5*time.Second)
	setDefault(&o.AdmitTimeout, 5*time.Minute)
	setDefault(&o.WaitEvery, wire.WaitEvery)
	setDefault(&o.Idle, wire.OfflineAfter)
	setDefault(&o.WriteTimeout, 30*time.Second)
	setDefault(&o.MaxConnections, 20_000)
	setDefault(&o.MaxHandshakes, 1024)
	setDefault(&o.ConnectRate, 1000)
	setDefault(&o.ConnectBurst, 2000)
	setDefault(&o.MinProtocol, wire.MinProtocol)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Server takes connections of agents.
type Server struct {
	o           Options
	handler     Handler
	limiter     *rate.Limiter
	connections atomic.Int64
	handshakes  *pace.Places
	// line is of those who have proved who they are and wait until they are admitted.
	line pace.Line
	// accepting ends when the server stops to accept, and stopAccepting ends it.
	accepting     context.Context
	stopAccepting context.CancelFunc
	left          chan struct{}
}

// NewServer returns a Server that hands its sessions to handler.
func NewServer(o Options, handler Handler) *Server {
	o.setDefaults()
	accepting, stop := context.WithCancel(context.Background())
	return &Server{o: o, handler: handler, accepting: accepting, stopAccepting: stop, limiter: rate.NewLimiter(rate.Limit(o.ConnectRate), o.ConnectBurst),
		handshakes: pace.NewPlaces(o.MaxHandshakes), left: make(chan struct{}, 1)}
}

// StopAccepting refuses connections from now on with busy, those that wait in line among them.
func (s *Server) StopAccepting() { s.stopAccepting() }

// Wait returns when no connection is left, or ctx ends. Call StopAccepting first.
func (s *Server) Wait(ctx context.Context) error {
	for s.connections.Load() > 0 {
		select {
		case <-s.left:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// ServeHTTP takes over the connection and returns.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Counted before the upgrade, so that the limits hold however many arrive at once.
	greeted, refusal := s.take(r.Context(), r.RemoteAddr)
	if refusal != nil {
		s.o.Meter.Attempt(string(refusal.Code))
		s.o.Logger.Debug("connection turned away", "remote", r.RemoteAddr, "reason", refusal.Message, "retryAfter", refusal.RetryAfterSeconds)
		turnAway(w, refusal)
		return
	}
	taken := false
	defer func() {
		if !taken {
			greeted()
			s.release()
		}
	}()
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.o.Meter.Attempt("not_a_websocket")
		s.o.Logger.Debug("not a WebSocket", "remote", r.RemoteAddr, "error", err)
		return
	}
	taken = true
	link := &Session{server: s, conn: conn, remote: r.RemoteAddr, done: make(chan struct{})}
	conn.SetReadLimit(wire.MaxFrame)
	conn.SetPingHandler(link.pinged)
	go s.run(link, serverName(r), greeted)
}

const (
	// maxTicket bounds how far ahead agents are told to come.
	maxTicket = time.Minute
	// fewWait may wait whatever the pace seems to be.
	fewWait = 256
)

// take counts a connection, or says why it is not looked at. greeted is called when its handshake is over.
func (s *Server) take(ctx context.Context, remote string) (greeted func(), refusal *wire.Error) {
	if refusal := s.full(); refusal != nil {
		return nil, refusal
	}
	// Its TLS handshake is done, and to be sent away would cost it a second one.
	waiting, cancel := context.WithTimeout(ctx, s.o.HandshakeWait)
	defer cancel()
	defer context.AfterFunc(s.accepting, cancel)()
	greeted, err := s.handshakes.Wait(waiting, remote)
	refusal = s.full() // by now
	switch {
	case refusal != nil:
	case err != nil:
		refusal = s.later("handshakes: " + err.Error())
	case !s.limiter.Allow():
		refusal = s.later("too many connection attempts")
	default:
		s.connections.Add(1)
		return greeted, nil
	}
	if err == nil {
		greeted()
	}
	return nil, refusal
}

// full says why no connection is looked at.
func (s *Server) full() *wire.Error {
	switch {
	case s.accepting.Err() != nil:
		return goingAway()
	case s.connections.Load() >= int64(s.o.MaxConnections):
		return busy("this replica holds as many connections as it may", someTime())
	}
	// Those who are let in wait for no longer than two thirds of the time that they have: the pace is measured, not known.
	if wait := s.line.Wait(); wait > s.longest() && s.line.Len() >= fewWait {
		return s.later(fmt.Sprintf("others wait to be admitted for %s", wait.Round(time.Second)))
	}
	return nil
}

// longest is how long the line may be.
func (s *Server) longest() time.Duration { return s.o.AdmitTimeout * 2 / 3 }

// later is for one of many: each is told a time of its own, when half of the line and those who were told before are through.
func (s *Server) later(why string) *wire.Error {
	return busy(why, s.line.Ticket(s.o.Clock.Now(), s.longest()/2, maxTicket))
}

// goingAway is for a replica that stops: another one is there.
func goingAway() *wire.Error { return busy("this replica is going away", time.Second) }

func busy(why string, after time.Duration) *wire.Error {
	seconds := int((after + time.Second - 1) / time.Second)
	return &wire.Error{Code: wire.CodeBusy, Message: why, RetryAfterSeconds: max(seconds, 1)}
}

// someTime is when one may come again for whom nobody knows when there is room. It spreads them.
func someTime() time.Duration { return time.Duration(5+rand.IntN(25)) * time.Second }

func (s *Server) release() {
	s.connections.Add(-1)
	select {
	case s.left <- struct{}{}:
	default: // Wait, if there is one, looks again anyway
	}
}

// run is the life of one connection.
func (s *Server) run(link *Session, name string, greeted func()) {
	defer s.release()
	defer close(link.done)
	defer func() { _ = link.conn.Close() }()
	hello, err := s.greet(link, name)
	// Whoever is known by now waits for its turn as a session, which costs less than a handshake and is bounded as those are.
	greeted()
	if err == nil {
		err = s.join(link, hello)
	}
	if err != nil {
		s.refuse(link, err)
		return
	}
	if err = s.welcome(link); err == nil {
		s.o.Meter.Attempt("accepted")
		s.handler.Opened(link, hello)
		err = link.serve()
	}
	s.handler.Closed(link, err)
}

func (s *Server) refuse(link *Session, err error) {
	var e *wire.Error
	if !errors.As(err, &e) {
		s.o.Meter.Attempt("cut")
		s.o.Logger.Debug("connection ended before its welcome", "host", link.host.String(), "remote", link.remote, "error", err)
		return
	}
	s.o.Meter.Attempt(string(e.Code))
	s.o.Logger.Info("session refused", "host", link.host.String(), "remote", link.remote, "code", string(e.Code), "reason", e.Message)
	link.goodbye(e, link.untilEnd)
}

// turnAway answers an HTTP request with 503, a wire.Error and a Retry-After.
func turnAway(w http.ResponseWriter, e *wire.Error) {
	w.Header().Set("Retry-After", strconv.Itoa(e.RetryAfterSeconds))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(e) // the peer may be gone
}

// serverName is the name that the agent dialled: that of the TLS handshake, or of the Host header for a bare address.
func serverName(r *http.Request) string {
	if r.TLS != nil && r.TLS.ServerName != "" {
		return r.TLS.ServerName
	}
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		return host
	}
	return r.Host
}

// upgrader takes connections over. Most frames to a gateway are smaller than its buffer for reading, and longer ones pass it by; the memory for what is written is held
// while something is. The 4 KiB each that come with a request would be a third of what an idle agent costs.
var upgrader = websocket.Upgrader{HandshakeTimeout: briefTimeout, ReadBufferSize: 256, WriteBufferSize: 4096, WriteBufferPool: &sync.Pool{}}
