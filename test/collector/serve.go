package collector

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/coder/websocket"
	"k8s.io/apimachinery/pkg/types"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// How a stream ends before its answer.
var (
	// ErrDrop: the network goes, without a word.
	ErrDrop = errors.New("dropped")
	// ErrLost: the session of the agent is gone.
	ErrLost = errors.New("lost")
	// ErrExpired: the time is over.
	ErrExpired = errors.New("expired")
)

// End is an answer that is not complete.
type End wire.AnswerEnd

func (e End) Error() string { return string(e.Reason) }

// serve does the gateway's part, and then the agent's.
func (s *Collector) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.attempts++
	attempt := s.attempts
	s.mu.Unlock()
	if s.Refuse != nil {
		if status, refusal := s.Refuse(attempt); status != 0 {
			refuse(w, status, refusal)
			return
		}
	}
	namespace, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, wire.QueryPath+"/"), "/")
	query := &v1alpha1.HostQuery{}
	secret, err := base64.StdEncoding.DecodeString(r.Header.Get(wire.StreamSecretHeader))
	if err != nil || s.client.Get(r.Context(), types.NamespacedName{Namespace: namespace, Name: name}, query) != nil ||
		wire.StreamSecretHash(secret) != query.Spec.StreamSecretHash || query.Status.Command == nil {
		refuse(w, http.StatusNotFound, &wire.Error{Code: wire.CodeUnknownQuery, Message: "no such query"})
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	ctx := conn.CloseRead(r.Context())
	parsed, err := wire.ParseHostQuery(query.Status.Command.Document)
	if err != nil {
		_ = conn.Close(websocket.StatusPolicyViolation, string(wire.StreamRefused)+string(wire.RefusalInvalid))
		return
	}
	sign := func(b []byte) []byte { return ed25519.Sign(s.signing, b) }
	if s.Forge {
		_, other, _ := ed25519.GenerateKey(rand.Reader)
		sign = func(b []byte) []byte { return ed25519.Sign(other, b) }
	}
	opening, sealer, err := seal.NewStreamSealer(parsed.PublicKey, query.Status.Command.Document, sign)
	if err != nil {
		return
	}
	writer := &Writer{send: func(plaintext []byte) error {
		return conn.Write(ctx, websocket.MessageBinary, sealer.Seal(nil, plaintext))
	}}
	if conn.Write(ctx, websocket.MessageBinary, opening) != nil {
		return
	}
	parameters, err := seal.OpenParameters(parsed, s.sealing)
	if err != nil {
		err = End{Reason: wire.AnswerInvalid, Message: err.Error()}
	} else {
		err = s.answer(parsed, parameters, writer)
	}
	s.end(conn, writer, err)
}

func (s *Collector) end(conn *websocket.Conn, w *Writer, err error) {
	var end End
	var refusal Refusal
	switch {
	case errors.Is(err, ErrDrop):
		_ = conn.CloseNow()
	case errors.Is(err, ErrLost):
		_ = conn.Close(websocket.StatusGoingAway, string(wire.StreamLost))
	case errors.Is(err, ErrExpired):
		_ = conn.Close(websocket.StatusPolicyViolation, string(wire.StreamExpired))
	case errors.As(err, &refusal):
		_ = conn.Close(websocket.StatusPolicyViolation, string(wire.StreamRefused)+string(refusal))
	case errors.As(err, &end):
		_ = w.send(wire.EndChunk(wire.AnswerEnd(end)))
		_ = conn.Close(websocket.StatusNormalClosure, string(wire.StreamDone))
	case errors.Is(err, ErrHeadless):
		_ = conn.Close(websocket.StatusNormalClosure, string(wire.StreamDone))
	case err == nil:
		_ = w.send(wire.EndChunk(wire.AnswerEnd{}))
		_ = conn.Close(websocket.StatusNormalClosure, string(wire.StreamDone))
	}
}

// ErrHeadless ends a stream without an AnswerEnd, and says that it is done: a gateway that cuts off.
var ErrHeadless = errors.New("headless")

// Refusal is what a machine says before it seals anything.
type Refusal wire.RefusalReason

func (r Refusal) Error() string { return string(r) }

func refuse(w http.ResponseWriter, status int, refusal *wire.Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(refusal)
}

// Writer writes an answer.
type Writer struct{ send func(plaintext []byte) error }

// Record sends records, each in a chunk of its own.
func (w *Writer) Record(records ...any) error {
	for _, r := range records {
		chunk, err := wire.AppendRecord(nil, r)
		if err != nil {
			return err
		}
		if err := w.send(chunk); err != nil {
			return err
		}
	}
	return nil
}

// Data sends a piece of a log or a file.
func (w *Writer) Data(piece []byte) error {
	for len(piece) > 0 {
		n := min(len(piece), wire.MaxChunk-1)
		if err := w.send(append([]byte{byte(wire.ChunkData)}, piece[:n]...)); err != nil {
			return err
		}
		piece = piece[n:]
	}
	return nil
}
