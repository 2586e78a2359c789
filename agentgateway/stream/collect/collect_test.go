package collect

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/restic-manager/restic-manager/agentgateway/stream"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestAnAnswerIsCollected(t *testing.T) {
	f := newFixture(t)
	conn, number := f.collect()
	for _, want := range []string{"opening", "a chunk", "the end"} {
		f.agent.table.Data(number, []byte(want))
		if chunk, err := read(t, conn); err != nil || string(chunk) != want {
			t.Fatalf("got %q, %v; want %q", chunk, err, want)
		}
	}
	f.agent.table.Closed(&wire.StreamClose{Stream: number})
	expectClose(t, conn, websocket.StatusNormalClosure, "done")
	f.over()
	if asked := f.agent.asked[0]; asked.Relayed != "" || !bytes.Equal(asked.Secret, f.secret) || asked.Query.Document != "query" {
		t.Errorf("asked for %+v", asked)
	}
	if f.meter.bytes != len("opening")+len("a chunk")+len("the end") || f.meter.ended["done"] != 1 {
		t.Errorf("counted %+v", f.meter)
	}
}

// over waits until nothing is collected any more.
func (f *fixture) over() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	f.handler.Wait(ctx)
	if f.handler.Len() != 0 {
		f.t.Fatal("an answer is still collected")
	}
}

func TestTheCollectorIsToldHowItsAnswerEnded(t *testing.T) {
	for _, test := range []struct {
		name   string
		end    func(f *fixture, number uint32)
		status websocket.StatusCode
		reason string
		// told: the agent must be told that nobody collects.
		told bool
	}{
		{"the agent is done", func(f *fixture, n uint32) { f.agent.table.Closed(&wire.StreamClose{Stream: n}) }, 1000, "done", false},
		{"the agent refused", func(f *fixture, n uint32) {
			f.agent.table.Closed(&wire.StreamClose{Stream: n, Reason: wire.RefusalNotAllowed})
		}, 1008, "refused:" + string(wire.RefusalNotAllowed), false},
		{"the session is over", func(f *fixture, _ uint32) { f.agent.table.End() }, 1001, "lost", false},
		{"the replica goes away", func(f *fixture, _ uint32) { f.handler.Stop() }, 1001, "lost", true},
		{"the query is deleted", func(f *fixture, _ uint32) { f.book.remove() }, 1008, "expired", true},
		{"the query is another one of the same name", func(f *fixture, _ uint32) { f.book.change(func(q *Query) { q.UID = "2" }) }, 1008, "expired", true},
		{"the query is withdrawn", func(f *fixture, _ uint32) { f.book.change(func(q *Query) { q.Document = "" }) }, 1008, "expired", true},
		{"the time of the query is over", func(f *fixture, _ uint32) {
			f.waiters(2) // the end of the query, and the next ping
			f.clock.Step(10 * time.Minute)
		}, 1008, "expired", true},
		{"the agent sends more than it may", func(f *fixture, n uint32) {
			// More than the sockets between take of it.
			for range 64 * wire.StreamWindow / wire.MaxChunk {
				f.agent.table.Data(n, make([]byte, wire.MaxChunk))
			}
		}, 1001, "lost", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			conn, number := f.collect()
			f.agent.table.Data(number, []byte("opening"))
			if _, err := read(t, conn); err != nil {
				t.Fatal(err)
			}
			test.end(f, number)
			expectClose(t, conn, test.status, test.reason)
			f.over()
			told := false
			for len(f.agent.sent) > 0 {
				if m, ok := (<-f.agent.sent).(*wire.StreamClose); ok && m.Stream == number {
					told = true
				}
			}
			if told != test.told {
				t.Errorf("the agent was told: %v, want %v", told, test.told)
			}
		})
	}
}

func TestAQuerySignedAnewGoesOn(t *testing.T) {
	f := newFixture(t)
	conn, number := f.collect()
	f.book.change(func(q *Query) { q.Signatures = append(q.Signatures, q.Signatures[0]) })
	f.agent.table.Data(number, []byte("goes on"))
	if chunk, err := read(t, conn); err != nil || string(chunk) != "goes on" {
		t.Errorf("got %q, %v", chunk, err)
	}
}

func TestTheAgentIsToldWhenTheCollectorLeaves(t *testing.T) {
	for name, leave := range map[string]func(*websocket.Conn){
		"with a goodbye":       func(c *websocket.Conn) { _ = c.Close(websocket.StatusNormalClosure, "") },
		"without":              func(c *websocket.Conn) { _ = c.CloseNow() },
		"by talking unasked":   func(c *websocket.Conn) { _ = c.Write(context.Background(), websocket.MessageText, []byte("hello")) },
		"by talking in binary": func(c *websocket.Conn) { _ = c.Write(context.Background(), websocket.MessageBinary, []byte("hello")) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			conn, number := f.collect()
			leave(conn)
			if m, ok := next(t, f.agent.sent, "stream.close").(*wire.StreamClose); !ok || m.Stream != number {
				t.Errorf("the agent was sent %+v", m)
			}
			f.over()
			if f.meter.ended["left"] != 1 {
				t.Errorf("counted %+v", f.meter)
			}
		})
	}
}

func TestAQuietAnswerIsKeptAlive(t *testing.T) {
	f := newFixture(t)
	pinged := make(chan struct{}, 8)
	conn, _, err := websocket.Dial(t.Context(), f.url+wire.QueryPath+"/shop/q", &websocket.DialOptions{
		HTTPHeader:     http.Header{wire.StreamSecretHeader: {encoded(f.secret)}},
		OnPingReceived: func(context.Context, []byte) bool { pinged <- struct{}{}; return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	number := f.agent.opened(t)
	chunks := make(chan string, 1)
	go func() {
		for {
			_, chunk, err := conn.Read(context.Background())
			if err != nil {
				return
			}
			chunks <- string(chunk)
		}
	}()
	for range 3 {
		f.waiters(2)
		f.clock.Step(pingInterval)
		next(t, pinged, "ping")
	}
	f.agent.table.Data(number, []byte("goes on"))
	if got := next(t, chunks, "chunk"); got != "goes on" {
		t.Errorf("got %q", got)
	}
	_ = conn.CloseNow()
}

// A terminal that shows nothing more stops the agent, and nobody else.
func TestASlowCollectorHoldsUpItsOwnAnswerAlone(t *testing.T) {
	f := newFixture(t)
	conn, slow := f.collect()
	quick, other := f.collect()
	chunk := make([]byte, wire.MaxChunk)
	credit, sent := int64(wire.StreamWindow), 0
	// The agent sends what it may; the sockets between take some of it.
	send := func() bool {
		for credit >= int64(len(chunk))+4 {
			f.agent.table.Data(slow, chunk)
			credit -= int64(len(chunk)) + 4
			sent++
		}
		select {
		case m := <-f.agent.sent:
			if grant, ok := m.(*wire.StreamCredit); ok && grant.Stream == slow {
				credit += grant.Bytes
			}
			return true
		case <-time.After(500 * time.Millisecond):
			return false
		}
	}
	for send() {
	}
	f.agent.table.Data(other, []byte("passes"))
	if got, err := read(t, quick); err != nil || string(got) != "passes" {
		t.Errorf("the other collector got %q, %v", got, err)
	}
	for range sent {
		if got, err := read(t, conn); err != nil || len(got) != len(chunk) {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
	}
	for !send() {
	}
	if credit < 0 || sent == 0 {
		t.Errorf("after all was taken: credit %d", credit)
	}
}

func TestAnAgentThatCannotBeAsked(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want answer
	}{
		{"it is not connected", &wire.Error{Code: wire.CodeNotConnected, Message: "not here", RetryAfterSeconds: 7},
			answer{http.StatusServiceUnavailable, "7", wire.Error{Code: wire.CodeNotConnected, Message: "not here", RetryAfterSeconds: 7}}},
		{"it answers enough", busy("enough"), answer{http.StatusServiceUnavailable, "5", *busy("enough")}},
		{"nothing is told of an inner error", errors.New("10.1.2.3 does not answer"),
			answer{http.StatusServiceUnavailable, "5", *busy("the gateway could not do its part; try again")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			f.agent.err = test.err
			if got := f.refused("shop/q", encoded(f.secret)); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			f.over()
		})
	}
}

func TestAnswersAreBounded(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxStreams = 1 })
	conn, _ := f.collect()
	if got := f.refused("shop/q", encoded(f.secret)); got.Status != http.StatusServiceUnavailable || got.Error.Code != wire.CodeBusy {
		t.Errorf("one too many got %+v", got)
	}
	_ = conn.CloseNow()
	f.over()
	f.agent.sent = make(chan wire.Message, 1000)
	f.collect()
}

func TestARequestThatIsNoWebSocketCostsNoAnswer(t *testing.T) {
	f := newFixture(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+wire.QueryPath+"/shop/q", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set(wire.StreamSecretHeader, encoded(f.secret))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("HTTP %s", response.Status)
	}
	number := f.agent.opened(t)
	if m, ok := next(t, f.agent.sent, "stream.close").(*wire.StreamClose); !ok || m.Stream != number {
		t.Errorf("the agent was sent %+v", m)
	}
}

func TestARelayedRequestSaysForWhom(t *testing.T) {
	f := newFixture(t)
	conn, _, err := websocket.Dial(t.Context(), f.url+wire.QueryPath+"/shop/q", &websocket.DialOptions{HTTPHeader: http.Header{
		wire.StreamSecretHeader: {encoded(f.secret)}, stream.RelayHeader: {"gw-2"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	f.agent.opened(t)
	if got := f.agent.asked[0].Relayed; got != "gw-2" {
		t.Errorf("the request is for %q", got)
	}
}
