package session

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/restic-manager/restic-manager/agent/clock/clocktest"
	"github.com/restic-manager/restic-manager/api/tlspin"
	"github.com/restic-manager/restic-manager/api/wire"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// peer is the gateway's end of one connection.
type peer struct {
	t    *testing.T
	conn *websocket.Conn
	body wire.HelloBody
}

func (p *peer) send(m wire.Message) {
	frame, err := wire.Encode("", m)
	if err != nil {
		p.t.Errorf("gateway: %v", err)
		return
	}
	p.raw(frame)
}

func (p *peer) raw(frame []byte) {
	_ = p.conn.Write(context.Background(), websocket.MessageText, frame)
}

func (p *peer) read() (wire.Message, error) {
	_, frame, err := p.conn.Read(context.Background())
	if err != nil {
		return nil, err
	}
	envelope, err := wire.Decode(frame)
	if err != nil {
		return nil, err
	}
	return envelope.Open()
}

// challenge sends one and returns the verified hello's body.
func (p *peer) challenge(key ed25519.PublicKey, serverName string) bool {
	nonce := make([]byte, wire.NonceSize)
	_, _ = rand.Read(nonce)
	p.send(&wire.Challenge{Nonce: nonce, ServerName: serverName, MinProtocol: 1, Protocol: 1})
	m, err := p.read()
	if err != nil {
		return false
	}
	hello, ok := m.(*wire.Hello)
	if !ok {
		p.t.Errorf("gateway: got %s, want hello", m.MessageType())
		return false
	}
	if err := hello.Verify(key); err != nil {
		p.t.Errorf("gateway: %v", err)
	}
	body, err := hello.Claimed()
	if err != nil {
		p.t.Errorf("gateway: %v", err)
	}
	if !bytes.Equal(body.Nonce, nonce) || body.ServerName != serverName {
		p.t.Errorf("gateway: hello is bound to %x %q", body.Nonce, body.ServerName)
	}
	p.body = body
	return true
}

func (p *peer) welcome() {
	p.send(&wire.Welcome{HeartbeatSeconds: 30, Gateway: "gateway-0", Time: start})
}

// drainReads reads until the connection ends.
func (p *peer) drainReads() {
	for {
		if _, err := p.read(); err != nil {
			return
		}
	}
}

// bench is a client before a TLS WebSocket server of the test.
type bench struct {
	t        *testing.T
	clock    *clocktest.Clock
	client   *Client
	handler  *recorder
	logs     *lockedBuffer
	key      ed25519.PublicKey
	counter  string
	url      string
	pins     []string
	cancel   context.CancelFunc
	finished chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) lines(containing string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, containing) {
			n++
		}
	}
	return n
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// recorder is a Handler that passes everything on to channels.
type recorder struct {
	connected    chan wire.Welcome
	disconnected chan struct{}
	messages     chan wire.Message
	streams      chan Stream
	// wentBack answers WentBack; nil succeeds.
	wentBack func() error
}

func (r *recorder) Connected(w wire.Welcome)          { r.connected <- w }
func (r *recorder) Disconnected()                     { r.disconnected <- struct{}{} }
func (r *recorder) SetOffered(m *wire.SetOffer)       { r.messages <- m }
func (r *recorder) VerdictGiven(m *wire.Verdict)      { r.messages <- m }
func (r *recorder) CommandGiven(m *wire.CommandRun)   { r.messages <- m }
func (r *recorder) CancelGiven(m *wire.CommandCancel) { r.messages <- m }
func (r *recorder) ReportAcked(m *wire.ReportAck)     { r.messages <- m }
func (r *recorder) StreamOpened(m *wire.StreamOpen, s Stream) {
	r.messages <- m
	r.streams <- s
}
func (r *recorder) StreamCredited(m *wire.StreamCredit) { r.messages <- m }
func (r *recorder) StreamClosed(m *wire.StreamClose)    { r.messages <- m }
func (r *recorder) WentBack() error {
	if r.wentBack == nil {
		return nil
	}
	return r.wentBack()
}

// newBench starts a server that runs serve on each connection; nil httpAnswer accepts WebSockets.
func newBench(t *testing.T, serve func(*peer)) *bench { return newBenchPinged(t, nil, serve) }

// newBenchPinged is newBench that tells of each ping, unless pinged is nil.
func newBenchPinged(t *testing.T, pinged chan<- struct{}, serve func(*peer)) *bench {
	options := &websocket.AcceptOptions{}
	if pinged != nil {
		options.OnPingReceived = func(context.Context, []byte) bool { pinged <- struct{}{}; return true }
	}
	return newBenchHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, options)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		conn.SetReadLimit(wire.MaxFrame)
		serve(&peer{t: t, conn: conn})
	})
}

func newBenchHTTP(t *testing.T, handler http.HandlerFunc) *bench {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, clock: clocktest.New(start), logs: &lockedBuffer{}, key: public,
		counter: filepath.Join(t.TempDir(), "session.json"), url: server.URL,
		handler: &recorder{connected: make(chan wire.Welcome, 10000), disconnected: make(chan struct{}, 10000), messages: make(chan wire.Message, 1000), streams: make(chan Stream, 1000)}}
	counter, err := OpenCounter(b.counter)
	if err != nil {
		t.Fatal(err)
	}
	b.pins = []string{tlspin.Pin(server.Certificate())}
	b.client, err = New(Options{
		Host: wire.HostRef{Namespace: "shop", Name: "web-1"}, URL: server.URL, Key: private,
		Pins:    func() []string { return b.pins },
		Counter: counter,
		Describe: func() wire.HelloBody {
			return wire.HelloBody{AgentVersion: "v0", Epoch: "e", System: wire.System{OS: "linux", Arch: "amd64", Hostname: "web-1"}}
		},
		Handler: b.handler, Clock: b.clock,
		Random: func() float64 { return 0.5 },
		Logger: slog.New(slog.NewTextHandler(b.logs, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return b
}

// run starts the client; the test's end stops it and waits.
func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.finished = make(chan struct{})
	go func() {
		defer close(b.finished)
		b.client.Run(ctx)
	}()
	b.t.Cleanup(func() { b.cancel(); <-b.finished })
}

// await gets the next value or fails the test.
func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

func (b *bench) heard() time.Time { return b.client.LastHeard() }

// passIdle waits until the client waits between two dials, lets that pass, and returns how long it was. While a session is open the wait
// does not exist yet, so the client's own word for it (idle) is asked.
func (b *bench) passIdle() time.Duration {
	b.t.Helper()
	b.until(b.client.idle.Load, "the wait between two dials")
	b.clock.BlockUntil(1)
	d, _ := b.clock.NextTimer()
	b.client.idle.Store(false)
	b.clock.Advance(d)
	return d
}

func (b *bench) until(condition func() bool, what string) {
	b.t.Helper()
	deadline := time.After(20 * time.Second)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-poll.C:
		case <-deadline:
			b.t.Fatalf("waited in vain for %s; log:\n%s", what, b.logs)
		}
	}
}
