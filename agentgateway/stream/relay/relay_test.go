package relay

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/restic-manager/restic-manager/agentgateway/stream"
	"github.com/restic-manager/restic-manager/api/tlspin"
	"github.com/restic-manager/restic-manager/api/wire"
)

const patience = time.Minute

// other is another replica.
func other(t *testing.T, handle http.HandlerFunc) Replica {
	t.Helper()
	server := httptest.NewTLSServer(handle)
	t.Cleanup(server.Close)
	return Replica{Instance: "gw-2", Address: server.Listener.Addr().String(), Pin: tlspin.Pin(server.Certificate())}
}

// answering writes some chunks and closes.
func answering(t *testing.T, status websocket.StatusCode, reason string, chunks ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		for _, chunk := range chunks {
			if err := conn.Write(r.Context(), websocket.MessageBinary, []byte(chunk)); err != nil {
				t.Error(err)
			}
		}
		_ = conn.Close(status, reason)
	}
}

func dial(t *testing.T, replica Replica) (*Source, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	source, err := Dial(ctx, replica, Query{Namespace: "shop", Name: "q", Secret: []byte("secret")})
	if err == nil {
		t.Cleanup(source.Close)
	}
	return source, err
}

func TestAnAnswerIsPassedOnWithItsEnd(t *testing.T) {
	for _, test := range []struct {
		status websocket.StatusCode
		reason string
		want   stream.End
	}{
		{websocket.StatusNormalClosure, "done", stream.Done},
		{websocket.StatusGoingAway, "lost", stream.Lost},
		{websocket.StatusPolicyViolation, "expired", stream.Expired},
		{websocket.StatusPolicyViolation, "refused:Expired", stream.End{Reason: wire.StreamRefused, Refusal: "Expired"}},
		{websocket.StatusInternalError, "something else", stream.Lost},
	} {
		t.Run(test.reason, func(t *testing.T) {
			source, err := dial(t, other(t, answering(t, test.status, test.reason, "one", "two")))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"one", "two"} {
				if chunk, err := source.Next(t.Context()); err != nil || string(chunk) != want {
					t.Fatalf("got %q, %v", chunk, err)
				}
				source.Taken(nil)
			}
			if _, err := source.Next(t.Context()); err != error(test.want) {
				t.Errorf("ended with %v, want %v", err, test.want)
			}
		})
	}
}

func TestAReplicaThatDiesLosesTheAnswer(t *testing.T) {
	source, err := dial(t, other(t, func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.CloseNow() // as the kernel does for a process that was killed
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source.Next(t.Context()); err != error(stream.Lost) {
		t.Errorf("got %v", err)
	}
}

func TestTheOtherReplicaIsAskedForThisQueryAndTold(t *testing.T) {
	seen := make(chan *http.Request, 1)
	if _, err := dial(t, other(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		answering(t, websocket.StatusNormalClosure, "done")(w, r)
	})); err != nil {
		t.Fatal(err)
	}
	r := <-seen
	if r.URL.Path != wire.QueryPath+"/shop/q" || r.Header.Get(stream.RelayHeader) != "gw-2" || r.Header.Get(wire.StreamSecretHeader) != "c2VjcmV0" {
		t.Errorf("asked for %s, relayed to %q", r.URL.Path, r.Header.Get(stream.RelayHeader))
	}
}

func TestAReplicaWithAnotherKeyIsNotTold(t *testing.T) {
	asked := false
	replica := other(t, func(http.ResponseWriter, *http.Request) { asked = true })
	for _, pin := range []string{"", "sha256:AAAA"} {
		replica.Pin = pin
		if _, err := dial(t, replica); err == nil || !strings.Contains(err.Error(), "is not the one in its Lease") {
			t.Errorf("pin %q: %v", pin, err)
		}
	}
	if asked {
		t.Error("it was asked, and so has the secret")
	}
}

func TestWhatTheOtherReplicaSaysIsPassedOn(t *testing.T) {
	said := &wire.Error{Code: wire.CodeBusy, Message: "enough", RetryAfterSeconds: 5}
	_, err := dial(t, other(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(said)
	}))
	var got *wire.Error
	if !errors.As(err, &got) || *got != *said {
		t.Errorf("got %v", err)
	}
	_, err = dial(t, other(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://elsewhere.example.com", http.StatusFound)
	}))
	if err == nil {
		t.Error("a redirection was followed")
	}
}

func TestTheEndOfAContextEndsTheAnswer(t *testing.T) {
	gone := make(chan error, 1)
	source, err := dial(t, other(t, func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		_, _, err = conn.Read(context.Background())
		gone <- err
	}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { end(stream.Expired) })
	if _, err := source.Next(ctx); err != error(stream.Expired) {
		t.Errorf("got %v", err)
	}
	source.Close()
	source.Close()
	select {
	case err := <-gone:
		if err == nil {
			t.Error("the other replica got a message")
		}
	case <-time.After(patience):
		t.Error("the other replica is not told")
	}
}
