package agentgateway

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/restic-manager/restic-manager/agentgateway/internal/testagent"
	"github.com/restic-manager/restic-manager/agentgateway/stream"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/test/env"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// question is a HostQuery with what its requester keeps to himself.
type question struct {
	w       *world
	object  *v1alpha1.HostQuery
	secret  []byte
	private []byte
}

// ask creates a HostQuery and does the controllers' part.
func (w *world) ask(name string, changes ...func(*v1alpha1.HostQuery)) *question {
	w.t.Helper()
	q := &question{w: w, secret: make([]byte, wire.StreamSecretSize)}
	if _, err := rand.Read(q.secret); err != nil {
		w.t.Fatal(err)
	}
	var err error
	if q.private, err = seal.NewSealingKey(); err != nil {
		w.t.Fatal(err)
	}
	public, err := seal.SealingPublicKey(q.private)
	if err != nil {
		w.t.Fatal(err)
	}
	q.object = &v1alpha1.HostQuery{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Spec: v1alpha1.HostQuerySpec{
		HostRef: v1alpha1.LocalReference{Name: w.host.Name}, Kind: v1alpha1.QueryLog, PublicKey: public, StreamSecretHash: wire.StreamSecretHash(q.secret)}}
	w.create(q.object)
	expires := q.object.CreationTimestamp.Add(10 * time.Minute).UTC()
	text, err := wire.EncodeDocument(&wire.HostQuery{Label: wire.HostQueryLabel, Host: w.host, IdentityHash: w.machine.Identity.Hash(), Name: name,
		UID: string(q.object.UID), NotAfter: expires, Kind: wire.QueryLog, PublicKey: public})
	if err != nil {
		w.t.Fatal(err)
	}
	q.object.Status.Command, q.object.Status.ExpirationTime = document(text), &metav1.Time{Time: expires}
	for _, change := range changes {
		change(q.object)
	}
	w.updateStatus(q.object)
	return q
}

// dial collects the answer at a replica.
func (q *question) dial(r *replica, changes ...func(http.Header)) (*websocket.Conn, *wire.Error) {
	q.w.t.Helper()
	ctx, cancel := context.WithTimeout(q.w.t.Context(), patience)
	defer cancel()
	header := http.Header{wire.StreamSecretHeader: {base64.StdEncoding.EncodeToString(q.secret)}}
	for _, change := range changes {
		change(header)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: q.w.ca.Pool(), MinVersion: tls.VersionTLS13}, DisableKeepAlives: true}
	url := r.url + wire.QueryPath + "/" + q.object.Namespace + "/" + q.object.Name
	conn, response, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header})
	if err == nil {
		conn.SetReadLimit(wire.MaxChunk + wire.ChunkOverhead)
		q.w.t.Cleanup(func() { _ = conn.CloseNow() })
		return conn, nil
	}
	if response == nil {
		q.w.t.Fatalf("dialling: %v", err)
	}
	refusal := &wire.Error{}
	if err := json.NewDecoder(response.Body).Decode(refusal); err != nil {
		q.w.t.Fatalf("HTTP %s without an error: %v", response.Status, err)
	}
	return nil, refusal
}

// collect is dial that must succeed.
func (q *question) collect(r *replica) *websocket.Conn {
	q.w.t.Helper()
	conn, refusal := q.dial(r)
	if refusal != nil {
		q.w.t.Fatalf("collecting the answer: %v", refusal)
	}
	return conn
}

func readChunk(t *testing.T, conn *websocket.Conn) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, chunk, err := conn.Read(ctx)
	return chunk, err
}

// expectAnswer opens what comes, and expects the end done.
func (q *question) expectAnswer(conn *websocket.Conn, want ...string) {
	q.w.t.Helper()
	opening, err := readChunk(q.w.t, conn)
	if err != nil {
		q.w.t.Fatal(err)
	}
	opener, err := seal.NewStreamOpener(q.private, q.w.machine.Identity.SigningKey, q.object.Status.Command.Document, opening)
	if err != nil {
		q.w.t.Fatal(err)
	}
	for _, text := range want {
		chunk, err := readChunk(q.w.t, conn)
		if err != nil {
			q.w.t.Fatal(err)
		}
		plaintext, err := opener.Open(chunk)
		if err != nil || string(plaintext) != string(wire.ChunkData)+text {
			q.w.t.Fatalf("got %q, %v; want %q", plaintext, err, text)
		}
	}
	if _, err := readChunk(q.w.t, conn); err != nil {
		q.w.t.Fatalf("no end record: %v", err)
	}
	expectStreamEnd(q.w.t, conn, websocket.StatusNormalClosure, wire.StreamDone)
}

// expectStreamEnd reads until the close frame.
func expectStreamEnd(t *testing.T, conn *websocket.Conn, status websocket.StatusCode, end wire.StreamEnd) {
	t.Helper()
	for {
		_, err := readChunk(t, conn)
		var closed websocket.CloseError
		switch {
		case err == nil:
		case errors.As(err, &closed):
			if closed.Code != status || closed.Reason != string(end) {
				t.Errorf("closed with %d %q, want %d %q", closed.Code, closed.Reason, status, end)
			}
			return
		default:
			t.Fatalf("no close frame: %v", err)
		}
	}
}

// connected has an agent with a session at the first of some replicas.
func (w *world) connected(instances ...string) (*testagent.Link, []*replica) {
	w.t.Helper()
	w.publish("r1", nil)
	var replicas []*replica
	for _, instance := range instances {
		r := w.start(instance)
		w.ready(r, "r1")
		replicas = append(replicas, r)
	}
	link := w.at(replicas[0]).Connect(w.t, 1)
	testagent.Expect[*wire.SetOffer](link)
	link.KeepAlive()
	for _, r := range replicas[1:] {
		w.eventually("the other replicas know who holds the agent", func(ctx context.Context) error {
			set, err := r.published(ctx, w.host)
			if err == nil && set.Status.Connection == nil {
				err = errors.New("not yet")
			}
			return err
		})
	}
	return link, replicas
}

func TestAnAnswerIsCollectedAtAnyReplica(t *testing.T) {
	w := newWorld(t)
	link, replicas := w.connected("gw-1", "gw-2")
	for i, r := range replicas {
		q := w.ask(fmt.Sprint("q-", i))
		conn := q.collect(r)
		open := testagent.Expect[*wire.StreamOpen](link)
		if open.Query != q.object.Status.Command.Document || open.Credit != wire.StreamWindow || len(open.Signatures) != 1 {
			t.Errorf("the agent was asked %+v", open)
		}
		w.machine.Answer(link, open, "a line", strings.Repeat("x", wire.MaxChunk-1))
		q.expectAnswer(conn, "a line", strings.Repeat("x", wire.MaxChunk-1))
	}
	for _, r := range replicas {
		w.eventually("the answers are counted", func(ctx context.Context) error {
			text, err := scrape(ctx, r)
			if err == nil && (!strings.Contains(text, `streams_ended_total{end="done"}`) || !strings.Contains(text, "restic_manager_gateway_open_streams 0\n")) {
				err = errors.New("not yet")
			}
			return err
		})
	}
}

func scrape(ctx context.Context, r *replica) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.metrics, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

// nextOpen skips the credit that is still granted for an answer before.
func nextOpen(t *testing.T, link *testagent.Link) *wire.StreamOpen {
	t.Helper()
	for {
		m, err := link.Read()
		if err != nil {
			t.Fatal(err)
		}
		if open, ok := m.(*wire.StreamOpen); ok {
			return open
		}
	}
}

func TestACollectorWhoTakesNothingDoesNotHoldUpTheSession(t *testing.T) {
	w := newWorld(t)
	link, replicas := w.connected("gw-1", "gw-2")
	for i, r := range replicas {
		q := w.ask(fmt.Sprint("q-", i))
		conn := q.collect(r)
		open := nextOpen(t, link)
		credit, chunk := open.Credit, make([]byte, wire.MaxChunk)
		frame := int64(len(chunk) + 4)
		sent := 0
		send := func() {
			for credit >= frame {
				link.SendData(open.Stream, chunk)
				credit -= frame
				sent++
			}
		}
		// A verdict is asked for with every window, and comes.
		for quiet := false; !quiet; {
			send()
			fire := &wire.Fire{JobID: "made-up", Schedule: "s", SourceGroup: "g", Nominal: "2026-03-29T02:30", Revision: "r1"}
			link.Send(fire)
			quiet = true
			for verdict := false; !verdict; {
				m, err := link.Read()
				if err != nil {
					t.Fatal(err)
				}
				switch m := m.(type) {
				case *wire.Verdict:
					verdict = true
				case *wire.StreamCredit:
					credit += m.Bytes
					quiet = false
				default:
					t.Fatalf("got %+v", m)
				}
			}
		}
		for range sent {
			if got, err := readChunk(t, conn); err != nil || len(got) != len(chunk) {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
		}
		link.Send(&wire.StreamClose{Stream: open.Stream})
		expectStreamEnd(t, conn, websocket.StatusNormalClosure, wire.StreamDone)
	}
}

func TestAnAgentThatOverrunsItsCreditLosesTheStreamAlone(t *testing.T) {
	w := newWorld(t)
	link, replicas := w.connected("gw-1")
	conn := w.ask("q").collect(replicas[0])
	open := testagent.Expect[*wire.StreamOpen](link)
	for range 32 * wire.StreamWindow / wire.MaxChunk { // more than the sockets between take of it
		link.SendData(open.Stream, make([]byte, wire.MaxChunk))
	}
	expectStreamEnd(t, conn, websocket.StatusGoingAway, wire.StreamLost)
	link.Send(&wire.Fire{JobID: "made-up", Schedule: "s", SourceGroup: "g", Nominal: "2026-03-29T02:30", Revision: "r1"})
	for told := false; ; {
		m, err := link.Read()
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := m.(*wire.StreamClose); ok && c.Stream == open.Stream {
			told = true
		}
		if _, ok := m.(*wire.Verdict); ok {
			if !told {
				t.Error("the agent was not told that nobody collects")
			}
			return
		}
	}
}

func TestHowAnAnswerBreaksOff(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(w *world, q *question, replicas []*replica)
		want wire.StreamEnd
		code websocket.StatusCode
		// told: the agent is told that nobody collects.
		told bool
	}{
		{"the session of the agent is superseded", func(w *world, _ *question, r []*replica) { w.at(r[0]).Connect(w.t, 2) }, wire.StreamLost, 1001, false},
		{"the replica that holds the agent stops", func(_ *world, _ *question, r []*replica) { r[0].stop() }, wire.StreamLost, 1001, false},
		{"the query is deleted", func(w *world, q *question, _ []*replica) {
			if err := w.client.Delete(w.t.Context(), q.object); err != nil {
				w.t.Fatal(err)
			}
		}, wire.StreamExpired, 1008, true},
		{"the query is withdrawn", func(w *world, q *question, _ []*replica) {
			q.object.Status.Command = nil
			w.updateStatus(q.object)
		}, wire.StreamExpired, 1008, true},
	} {
		for _, at := range []string{"the agent's own replica", "another replica"} {
			t.Run(test.name+", collected at "+at, func(t *testing.T) {
				w := newWorld(t)
				link, replicas := w.connected("gw-1", "gw-2")
				r := replicas[0]
				if at == "another replica" {
					r = replicas[1]
				}
				q := w.ask("q")
				conn := q.collect(r)
				open := testagent.Expect[*wire.StreamOpen](link)
				link.SendData(open.Stream, []byte("opening"))
				if chunk, err := readChunk(t, conn); err != nil || string(chunk) != "opening" {
					t.Fatalf("got %q, %v", chunk, err)
				}
				test.end(w, q, replicas)
				expectStreamEnd(t, conn, test.code, test.want)
				if test.told {
					if c := testagent.Expect[*wire.StreamClose](link); c.Stream != open.Stream {
						t.Errorf("the agent was told %+v", c)
					}
				}
			})
		}
	}
}

func TestTheTimeOfAQueryEndsItsAnswer(t *testing.T) {
	w := newWorld(t)
	link, replicas := w.connected("gw-1")
	q := w.ask("q", func(q *v1alpha1.HostQuery) {
		q.Status.ExpirationTime = &metav1.Time{Time: time.Now().Add(10 * time.Second)}
	})
	conn := q.collect(replicas[0])
	open := testagent.Expect[*wire.StreamOpen](link)
	expectStreamEnd(t, conn, websocket.StatusPolicyViolation, wire.StreamExpired)
	if c := testagent.Expect[*wire.StreamClose](link); c.Stream != open.Stream {
		t.Errorf("the agent was told %+v", c)
	}
	replicas[0].answers.Wait(t.Context())
	if _, refusal := q.dial(replicas[0]); refusal == nil || refusal.Code != wire.CodeUnknownQuery {
		t.Errorf("after its time the query is answered with %v", refusal)
	}
}

func TestAnAgentIsToldWhenTheCollectorOfAnotherReplicaLeaves(t *testing.T) {
	w := newWorld(t)
	link, replicas := w.connected("gw-1", "gw-2")
	conn := w.ask("q").collect(replicas[1])
	open := testagent.Expect[*wire.StreamOpen](link)
	_ = conn.CloseNow()
	if c := testagent.Expect[*wire.StreamClose](link); c.Stream != open.Stream {
		t.Errorf("the agent was told %+v", c)
	}
}

func TestAnAnswerThatCannotBeHad(t *testing.T) {
	w := newWorld(t)
	w.publish("r1", nil)
	gw := w.start("gw-1", func(o *Options) { o.QueryWait = time.Millisecond })
	w.ready(gw, "r1")
	q := w.ask("q")
	connection := func(instance string) {
		set := w.set()
		set.Status.Connection = &v1alpha1.Connection{Gateway: instance, Session: 1, Process: "p", ConnectedTime: metav1.Now()}
		w.updateStatus(set)
		w.eventually("the gateway sees the connection", func(ctx context.Context) error {
			set, err := gw.published(ctx, w.host)
			if err == nil && (set.Status.Connection == nil || set.Status.Connection.Gateway != instance) {
				err = errors.New("not yet")
			}
			return err
		})
	}
	w.eventually("the gateway sees the query", func(context.Context) error {
		if found, ok := gw.queries.Query(q.object.Namespace, q.object.Name); !ok || found.Document == "" {
			return errors.New("not yet")
		}
		return nil
	})
	expect := func(why string, want wire.Code, changes ...func(http.Header)) {
		t.Helper()
		if _, refusal := q.dial(gw, changes...); refusal == nil || refusal.Code != want {
			t.Errorf("%s: %v, want %s", why, refusal, want)
		}
	}
	expect("an agent that never connected", wire.CodeNotConnected)
	connection("gw-1")
	expect("an agent that is on record here, and is not here", wire.CodeNotConnected)
	connection("gw-gone")
	expect("an agent whose replica is gone", wire.CodeNotConnected)
	expect("a relayed request is not passed on", wire.CodeNotConnected, func(h http.Header) { h.Set(stream.RelayHeader, "gw-1") })
	expect("nor one that is for another replica", wire.CodeNotConnected, func(h http.Header) { h.Set(stream.RelayHeader, "gw-2") })
	expect("another secret", wire.CodeUnknownQuery, func(h http.Header) {
		h.Set(wire.StreamSecretHeader, base64.StdEncoding.EncodeToString(make([]byte, wire.StreamSecretSize)))
	})
	expect("no secret", wire.CodeUnknownQuery, func(h http.Header) { h.Del(wire.StreamSecretHeader) })
	if err := w.client.Delete(t.Context(), q.object, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	w.eventually("the gateway sees that it is gone", func(context.Context) error {
		if _, ok := gw.queries.Query(q.object.Namespace, q.object.Name); ok {
			return errors.New("not yet")
		}
		return nil
	})
	expect("a query that is gone", wire.CodeUnknownQuery)
}

func TestAReplicaIsKnownByTheKeyInItsLease(t *testing.T) {
	w := newWorld(t)
	link, replicas := w.connected("gw-1", "gw-2")
	r, err := replicas[1].replica(t.Context(), "gw-1")
	if err != nil {
		t.Fatal(err)
	}
	if "https://"+r.Address != replicas[0].url || r.Pin == "" {
		t.Errorf("the Lease says %+v", r)
	}
	// Somebody else has the address.
	if other, err := w.ca.Issue("other", env.LeafRequest{}); err != nil {
		t.Fatal(err)
	} else if pair, err := tls.LoadX509KeyPair(other.CertFile, other.KeyFile); err != nil {
		t.Fatal(err)
	} else {
		w.served.Store(&pair)
	}
	if _, refusal := w.ask("q").dial(replicas[1]); refusal == nil || refusal.Code != wire.CodeNotConnected {
		// Unless the Lease was renewed in this very moment.
		if now, err := replicas[1].replica(t.Context(), "gw-1"); refusal != nil || err != nil || now.Pin == r.Pin {
			t.Errorf("an answer from a replica with another key: %v", refusal)
		}
	}
	// Once the Lease tells the new key, it is the replica again.
	w.eventually("the key is told with a renewal", func(ctx context.Context) error {
		now, err := replicas[1].replica(ctx, "gw-1")
		if err == nil && now.Pin == r.Pin {
			err = errors.New("not yet")
		}
		return err
	})
	w.ask("q2").collect(replicas[1])
	testagent.Expect[*wire.StreamOpen](link)
}
