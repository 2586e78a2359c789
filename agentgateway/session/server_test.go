package session

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
	"github.com/restic-manager/restic-manager/agentgateway/internal/testagent"
	"github.com/restic-manager/restic-manager/api/wire"
)

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

type meter struct {
	mu       sync.Mutex
	attempts map[string]int
}

func (*meter) FrameIn(wire.Type)  {}
func (*meter) FrameOut(wire.Type) {}
func (m *meter) Attempt(result string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.attempts == nil {
		m.attempts = map[string]int{}
	}
	m.attempts[result]++
}

func (m *meter) count(result string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.attempts[result]
}

type handler struct {
	keys     sync.Map
	admit    func(context.Context, *Session, *wire.HelloBody) error
	opened   chan *Session
	received chan wire.Message
	closed   chan error
	streamed chan []byte
}

func (h *handler) SigningKey(host wire.HostRef) ([]byte, bool) {
	key, ok := h.keys.Load(host)
	if !ok {
		return nil, false
	}
	return key.([]byte), true
}

func (h *handler) Admit(ctx context.Context, s *Session, body *wire.HelloBody) error {
	if h.admit != nil {
		return h.admit(ctx, s, body)
	}
	return nil
}
func (h *handler) Opened(s *Session, _ *wire.HelloBody) { h.opened <- s }
func (h *handler) Closed(_ *Session, e error)           { h.closed <- e }
func (h *handler) Streamed(_ *Session, stream uint32, chunk []byte) {
	h.streamed <- wire.EncodeData(stream, chunk)
}
func (h *handler) Received(_ *Session, m wire.Message) error {
	if m.MessageType() == wire.TypeWelcome {
		return &wire.Error{Code: wire.CodeBadMessage, Message: "only gateways send it"}
	}
	h.received <- m
	return nil
}

type fixture struct {
	server  *Server
	handler *handler
	meter   *meter
	machine *testagent.Machine
}

func start(t *testing.T, change func(*Options)) *fixture {
	t.Helper()
	f := &fixture{meter: &meter{}, handler: &handler{opened: make(chan *Session, 8), received: make(chan wire.Message, 8), closed: make(chan error, 8),
		streamed: make(chan []byte, 8)}}
	o := Options{Gateway: "gw-1", Clock: realClock{}, Meter: f.meter, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if change != nil {
		change(&o)
	}
	f.server = NewServer(o, f.handler)
	mux := http.NewServeMux()
	mux.Handle("GET "+wire.ConnectPath, f.server)
	listener := httptest.NewTLSServer(mux)
	t.Cleanup(listener.Close)
	roots := x509.NewCertPool()
	roots.AddCert(listener.Certificate())
	host := wire.HostRef{Namespace: "shop", Name: "web-1"}
	f.machine = testagent.NewMachine(t, listener.URL, roots, host)
	f.handler.keys.Store(host, f.machine.Identity.SigningKey)
	return f
}

func next[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(testagent.Patience):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

func TestASessionBeginsWithChallengeHelloAndWelcome(t *testing.T) {
	f := start(t, func(o *Options) { o.Heartbeat = 17 * time.Second })
	f.machine.Change = func(b *wire.HelloBody) { b.Clock = time.Now().Add(-time.Hour); b.AppliedRevision = "r7" }
	link := f.machine.Connect(t, 42)
	if link.Challenge.ServerName != "127.0.0.1" || link.Challenge.Protocol != wire.Protocol {
		t.Errorf("challenge is %+v", link.Challenge)
	}
	if link.Welcome.HeartbeatSeconds != 17 || !link.Welcome.PingsCount || link.Welcome.Gateway != "gw-1" {
		t.Errorf("welcome is %+v", link.Welcome)
	}
	s := next(t, f.handler.opened, "session")
	if s.Host() != f.machine.Host || s.Counter() != 42 || s.Process() != f.machine.Process || s.AppliedRevision() != "r7" {
		t.Errorf("session is of %v, counter %d, process %q, applied %q", s.Host(), s.Counter(), s.Process(), s.AppliedRevision())
	}
	if s.Skew() > -59*time.Minute || s.Skew() < -61*time.Minute {
		t.Errorf("skew is %v, want about an hour behind", s.Skew())
	}

	// The pong is read by Read below, so it is the gateway that tells when the ping came.
	before := s.LastFrame()
	go func() { _ = link.Conn.Ping(t.Context()) }()
	for deadline := time.Now().Add(testagent.Patience); !s.LastFrame().After(before); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a ping is no sign of life")
		}
	}
	link.Send(&wire.Heartbeat{})
	link.SendRaw(`{"type":"from.the.future","payload":{"x":1}}`)
	link.Send(&wire.SetAck{Revision: "r7", Applied: true})
	if m := next(t, f.handler.received, "message").(*wire.SetAck); m.Revision != "r7" {
		t.Errorf("received %+v", m)
	}
	if err := s.Write(&wire.Drain{SpreadSeconds: 3}); err != nil {
		t.Fatal(err)
	}
	if d := testagent.Expect[*wire.Drain](link); d.SpreadSeconds != 3 {
		t.Errorf("got %+v", d)
	}
	link.Close()
	if err := next(t, f.handler.closed, "end"); !gorilla.IsCloseError(err, gorilla.CloseNormalClosure) {
		t.Errorf("ended with %v", err)
	}
	f.server.StopAccepting()
	ctx, cancel := context.WithTimeout(t.Context(), testagent.Patience)
	defer cancel()
	if err := f.server.Wait(ctx); err != nil {
		t.Errorf("connections are left: %v", err)
	}
}

func TestTheServerNameIsTheOneThatWasDialled(t *testing.T) {
	for _, c := range []struct {
		name, sni, host, want string
	}{
		{"a name in the TLS handshake", "gw.example.com", "other.example.com:8443", "gw.example.com"},
		{"a bare address", "", "[::1]:8443", "::1"},
		{"a name without TLS handshake name or port", "", "gw.example.com", "gw.example.com"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := serverName(&http.Request{Host: c.host, TLS: &tls.ConnectionState{ServerName: c.sni}}); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestHellosThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*wire.HelloBody)
		stray  bool // signed with other keys
		min    int
		admit  error
		code   wire.Code
		check  func(*testing.T, *wire.Error)
	}{
		{name: "of a host that nobody knows", change: func(b *wire.HelloBody) { b.Host.Name = "other" }, code: wire.CodeUnknownHost},
		{name: "signed with other keys", stray: true, code: wire.CodeBadSignature},
		{name: "answering another challenge", change: func(b *wire.HelloBody) { b.Nonce = make([]byte, wire.NonceSize) }, code: wire.CodeBadSignature},
		{name: "made for another server", change: func(b *wire.HelloBody) { b.ServerName = "evil.example.com" }, code: wire.CodeBadSignature},
		{name: "of a protocol that is too old", min: 2, code: wire.CodeProtocolTooOld, change: func(b *wire.HelloBody) { b.Protocol = 1 },
			check: func(t *testing.T, e *wire.Error) {
				if e.HelpURL != "https://help" || e.RetryAfterSeconds < 600 {
					t.Errorf("got %+v, want the help URL and a long retry", e)
				}
			}},
		{name: "refused by the handler", admit: &wire.Error{Code: wire.CodeStaleSession, Message: "stale", Session: 9}, code: wire.CodeStaleSession,
			check: func(t *testing.T, e *wire.Error) {
				if e.Session != 9 {
					t.Errorf("got %+v", e)
				}
			}},
		{name: "while the API is down", admit: errors.New("secret detail"), code: wire.CodeBusy,
			check: func(t *testing.T, e *wire.Error) {
				if strings.Contains(e.Message, "secret") || e.RetryAfterSeconds == 0 {
					t.Errorf("got %+v, want no inner detail and a retry", e)
				}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := start(t, func(o *Options) { o.HelpURL = "https://help"; o.MinProtocol = c.min })
			f.handler.admit = func(context.Context, *Session, *wire.HelloBody) error { return c.admit }
			f.machine.Change = c.change
			if c.stray {
				f.machine.Key = testagent.NewMachine(t, "", nil, f.machine.Host).Key
			}
			_, err := f.machine.TryConnect(t, 1)
			var e *wire.Error
			if !errors.As(err, &e) || e.Code != c.code {
				t.Fatalf("got %v, want %s", err, c.code)
			}
			if c.check != nil {
				c.check(t, e)
			}
			if f.meter.count(string(c.code)) != 1 {
				t.Errorf("attempts are %v", f.meter.attempts)
			}
			if len(f.handler.opened) != 0 {
				t.Error("the session was opened")
			}
		})
	}
}

func TestFramesThatEndASession(t *testing.T) {
	for _, c := range []struct{ name, frame, says string }{
		{"not JSON", `hello`, "not a message"},
		{"no type", `{}`, "no type"},
		{"an invalid payload", `{"type":"schedule.ack","payload":{"revision":""}}`, "revision"},
		{"a payload of another shape", `{"type":"schedule.ack","payload":[]}`, "schedule.ack"},
		{"a message that only gateways send", `{"type":"welcome","payload":{"heartbeatSeconds":30,"gateway":"x","time":"2026-01-01T00:00:00Z"}}`, "only gateways"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := start(t, nil)
			link := f.machine.Connect(t, 1)
			link.SendRaw(c.frame)
			if e := link.ExpectEnd(wire.CodeBadMessage); !strings.Contains(e.Message, c.says) {
				t.Errorf("message is %q, want something with %q", e.Message, c.says)
			}
			var e *wire.Error
			if err := next(t, f.handler.closed, "end"); !errors.As(err, &e) || e.Code != wire.CodeBadMessage {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func TestAFrameOverTheLimitEndsTheSession(t *testing.T) {
	f := start(t, nil)
	link := f.machine.Connect(t, 1)
	// It may be cut off before all of it was taken.
	_ = link.Conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"heartbeat","id":"`+strings.Repeat("x", wire.MaxFrame)+`"}`))
	link.ExpectClosed()
	if err := next(t, f.handler.closed, "end"); !errors.Is(err, gorilla.ErrReadLimit) {
		t.Errorf("ended with %v", err)
	}
}

func TestAPeerWithoutHelloIsTurnedAway(t *testing.T) {
	f := start(t, func(o *Options) { o.HelloTimeout = 50 * time.Millisecond })
	link, _, err := f.machine.Dial(t)
	if err != nil {
		t.Fatal(err)
	}
	if e := link.ExpectEnd(wire.CodeBadMessage); !strings.Contains(e.Message, "no hello") {
		t.Errorf("got %v", e)
	}
}

func TestASilentPeerIsCut(t *testing.T) {
	f := start(t, func(o *Options) { o.Idle = 50 * time.Millisecond })
	link := f.machine.Connect(t, 1)
	link.ExpectClosed()
	if err := next(t, f.handler.closed, "end"); !strings.Contains(err.Error(), "timeout") {
		t.Errorf("ended with %v", err)
	}
}

func TestCloseTellsTheReasonOnce(t *testing.T) {
	f := start(t, nil)
	link := f.machine.Connect(t, 1)
	s := next(t, f.handler.opened, "session")
	s.Close(&wire.Error{Code: wire.CodeSuperseded, Message: "a newer connection"})
	s.Close(&wire.Error{Code: wire.CodeBusy, Message: "too late"})
	link.ExpectEnd(wire.CodeSuperseded)
	var e *wire.Error
	if err := next(t, f.handler.closed, "end"); !errors.As(err, &e) || e.Code != wire.CodeSuperseded {
		t.Errorf("ended with %v", err)
	}
	<-s.Done()
}

func TestTheReasonIsHeardWhateverElseWasToBeWritten(t *testing.T) {
	f := start(t, nil)
	link := f.machine.Connect(t, 1)
	s := next(t, f.handler.opened, "session")
	s.Close(&wire.Error{Code: wire.CodeBusy, Message: "come again", RetryAfterSeconds: 1})
	for s.Write(&wire.Drain{SpreadSeconds: 1}) == nil { // until the close frame is out
	}
	for range 20 { // the peer has not read it yet
		link.Send(&wire.Heartbeat{})
	}
	link.ExpectEnd(wire.CodeBusy)
	<-s.Done()
}

func TestAPeerThatDoesNotReadIsCut(t *testing.T) {
	f := start(t, func(o *Options) { o.WriteTimeout = 200 * time.Millisecond })
	f.machine.Connect(t, 1) // never reads again
	s := next(t, f.handler.opened, "session")
	big := &wire.SetOffer{Revision: "r", Bundle: strings.Repeat("x", wire.MaxBundle)}
	for range 1000 {
		if err := s.Write(big); err != nil {
			if err := next(t, f.handler.closed, "end"); err == nil {
				t.Error("the session ended without a reason")
			}
			return
		}
	}
	t.Fatal("half a gigabyte was written to a peer that does not read")
}

func TestDataFramesComeOnlyAfterAStreamWasAskedFor(t *testing.T) {
	f := start(t, nil)
	link := f.machine.Connect(t, 1)
	s := next(t, f.handler.opened, "session")
	if err := s.Write(&wire.StreamOpen{Stream: 7, Query: "q", Signatures: []wire.Signature{{KeyID: "k", Value: make([]byte, 64)}}, Credit: wire.StreamWindow}); err != nil {
		t.Fatal(err)
	}
	testagent.Expect[*wire.StreamOpen](link)
	before := s.LastFrame()
	link.SendData(7, []byte("chunk"))
	if got := next(t, f.handler.streamed, "data"); string(got) != string(wire.EncodeData(7, []byte("chunk"))) {
		t.Errorf("got %q", got)
	}
	if !s.LastFrame().After(before) {
		t.Error("data does not show that the agent lives")
	}
	link.Send(&wire.SetAck{Revision: "r7", Applied: true})
	next(t, f.handler.received, "message beside the data")

	for name, frame := range map[string][]byte{
		"data without a stream":  nil,
		"data in the hello":      nil,
		"a frame without data":   {0, 0, 0, 7},
		"a chunk over the limit": wire.EncodeData(7, make([]byte, wire.MaxChunk+wire.ChunkOverhead+1)),
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, nil)
			var link *testagent.Link
			if name == "data in the hello" {
				var err error
				if link, _, err = f.machine.Dial(t); err != nil {
					t.Fatal(err)
				}
			} else {
				link = f.machine.Connect(t, 1)
			}
			if frame != nil {
				s := next(t, f.handler.opened, "session")
				if err := s.Write(&wire.StreamOpen{Stream: 7, Query: "q", Signatures: []wire.Signature{{KeyID: "k", Value: make([]byte, 64)}}, Credit: wire.StreamWindow}); err != nil {
					t.Fatal(err)
				}
			} else {
				frame = wire.EncodeData(1, []byte("chunk"))
			}
			if err := link.Conn.Write(t.Context(), websocket.MessageBinary, frame); err != nil {
				t.Fatal(err)
			}
			link.ExpectEnd(wire.CodeBadMessage)
		})
	}
}
