package collect

import (
	"context"
	"encoding/base64"
	"encoding/json"
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
	"github.com/restic-manager/restic-manager/agentgateway/stream"
	"github.com/restic-manager/restic-manager/api/wire"
	clocktesting "k8s.io/utils/clock/testing"
)

const patience = time.Minute

var start = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

// book has queries by "namespace/name".
type book struct {
	mu        sync.Mutex
	queries   map[string]Query
	listeners map[string][]chan struct{}
}

func (b *book) Query(namespace, name string) (Query, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, ok := b.queries[namespace+"/"+name]
	return q, ok
}

func (b *book) Changes(namespace, name string) (<-chan struct{}, func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	listener := make(chan struct{}, 1)
	key := namespace + "/" + name
	b.listeners[key] = append(b.listeners[key], listener)
	return listener, func() {}
}

// change edits the query shop/q.
func (b *book) change(edit func(*Query)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queries["shop/q"]
	edit(&q)
	b.set(q, true)
}

func (b *book) remove() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(Query{}, false)
}

func (b *book) set(q Query, there bool) {
	delete(b.queries, "shop/q")
	if there {
		b.queries["shop/q"] = q
	}
	for _, l := range b.listeners["shop/q"] {
		select {
		case l <- struct{}{}:
		default:
		}
	}
}

// agent is one machine with a session.
type agent struct {
	mu    sync.Mutex
	table *stream.Table
	err   error
	asked []Request
	sent  chan wire.Message
}

func (a *agent) Send(m wire.Message) error {
	a.sent <- m
	return nil
}

func (a *agent) Open(_ context.Context, r Request) (stream.Source, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r)
	if a.err != nil {
		return nil, a.err
	}
	s, err := a.table.Open()
	if err != nil {
		return nil, err
	}
	return s, s.Start(r.Query.Document, r.Query.Signatures)
}

// opened is the number of the stream that the agent was asked for.
func (a *agent) opened(t *testing.T) uint32 {
	t.Helper()
	open, ok := next(t, a.sent, "stream.open").(*wire.StreamOpen)
	if !ok {
		t.Fatalf("the agent was sent %T", open)
	}
	return open.Stream
}

type meter struct {
	mu    sync.Mutex
	bytes int
	ended map[string]int
}

func (m *meter) Collected(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes += n
}

func (m *meter) Ended(how string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended[how]++
}

type fixture struct {
	t       *testing.T
	handler *Handler
	book    *book
	agent   *agent
	meter   *meter
	clock   *clocktesting.FakeClock
	url     string
	secret  []byte
}

// newFixture has the query shop/q, which is signed, and whose secret is known.
func newFixture(t *testing.T, changes ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, clock: clocktesting.NewFakeClock(start), meter: &meter{ended: map[string]int{}}, secret: make([]byte, wire.StreamSecretSize),
		book: &book{queries: map[string]Query{}, listeners: map[string][]chan struct{}{}}, agent: &agent{sent: make(chan wire.Message, 1000)}}
	f.agent.table = stream.NewTable(f.agent)
	f.book.queries["shop/q"] = Query{Namespace: "shop", Name: "q", UID: "1", Host: wire.HostRef{Namespace: "shop", Name: "web-1"},
		SecretHash: wire.StreamSecretHash(f.secret), Document: "query", Signatures: []wire.Signature{{KeyID: "k", Value: make([]byte, 64)}},
		Expires: start.Add(10 * time.Minute)}
	o := Options{Queries: f.book, Agents: f.agent, Clock: f.clock, Meter: f.meter, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, change := range changes {
		change(&o)
	}
	f.handler = New(o)
	mux := http.NewServeMux()
	mux.Handle("GET "+wire.QueryPath+"/{namespace}/{name}", f.handler)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		f.handler.Stop()
		server.Close()
	})
	f.url = server.URL
	return f
}

// dial collects a query with the header of a secret.
func (f *fixture) dial(query, secret string) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	header := http.Header{}
	if secret != "" {
		header.Set(wire.StreamSecretHeader, secret)
	}
	conn, response, err := websocket.Dial(ctx, f.url+wire.QueryPath+"/"+query, &websocket.DialOptions{HTTPHeader: header})
	if err == nil {
		conn.SetReadLimit(wire.MaxChunk + wire.ChunkOverhead)
		f.t.Cleanup(func() { _ = conn.CloseNow() })
	}
	return conn, response, err
}

func encoded(secret []byte) string { return base64.StdEncoding.EncodeToString(secret) }

// collect is dial for shop/q that must succeed.
func (f *fixture) collect() (*websocket.Conn, uint32) {
	f.t.Helper()
	conn, _, err := f.dial("shop/q", encoded(f.secret))
	if err != nil {
		f.t.Fatal(err)
	}
	return conn, f.agent.opened(f.t)
}

// answer is how a request was refused.
type answer struct {
	Status     int
	RetryAfter string
	Error      wire.Error
}

// refused dials what must be refused.
func (f *fixture) refused(query, secret string) answer {
	conn, response, err := f.dial(query, secret)
	if err == nil {
		_ = conn.CloseNow()
		return answer{Status: http.StatusSwitchingProtocols}
	}
	if response == nil {
		f.t.Errorf("dialling: %v", err)
		return answer{}
	}
	a := answer{Status: response.StatusCode, RetryAfter: response.Header.Get("Retry-After")}
	if err := json.NewDecoder(response.Body).Decode(&a.Error); err != nil {
		f.t.Errorf("the body is no error: %v", err)
	}
	return a
}

// waiters blocks until somebody waits for the clock.
func (f *fixture) waiters(n int) {
	f.t.Helper()
	for deadline := time.Now().Add(patience); f.clock.Waiters() < n; {
		if time.Now().After(deadline) {
			f.t.Fatalf("%d wait for the clock, want %d", f.clock.Waiters(), n)
		}
		<-time.After(time.Millisecond)
	}
}

func read(t *testing.T, conn *websocket.Conn) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, chunk, err := conn.Read(ctx)
	return chunk, err
}

// expectClose reads until the close frame.
func expectClose(t *testing.T, conn *websocket.Conn, status websocket.StatusCode, reason string) {
	t.Helper()
	for {
		_, err := read(t, conn)
		var closed websocket.CloseError
		switch {
		case err == nil:
		case errors.As(err, &closed):
			if closed.Code != status || closed.Reason != reason {
				t.Errorf("closed with %d %q, want %d %q", closed.Code, closed.Reason, status, reason)
			}
			return
		default:
			t.Fatalf("no close frame: %v", err)
		}
	}
}

func next[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", strings.TrimSpace(what))
		panic("unreachable")
	}
}
