// Package querytest plays both ends of a query for tests: the controllers who sign it, and the person who asks and collects the answer.
package querytest

import (
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/pack"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// Machine is one with its keys, and the controllers that it trusts.
type Machine struct {
	t          testing.TB
	Host       wire.HostRef
	Identity   wire.Identity
	SealingKey []byte
	signingKey ed25519.PrivateKey
	Signer     *seal.Signer
	asked      int
}

// NewMachine makes one.
func NewMachine(t testing.TB) *Machine {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sealing, err := seal.NewSealingKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := seal.SealingPublicKey(sealing)
	if err != nil {
		t.Fatal(err)
	}
	_, controllers, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := seal.NewSigner(controllers)
	if err != nil {
		t.Fatal(err)
	}
	return &Machine{t: t, Host: wire.HostRef{Namespace: "shop", Name: "web-1"}, SealingKey: sealing, signingKey: key, Signer: signer,
		Identity: wire.Identity{SigningKey: key.Public().(ed25519.PublicKey), SealingKey: public}}
}

// Sign signs as the machine.
func (m *Machine) Sign(b []byte) []byte { return ed25519.Sign(m.signingKey, b) }

// Verify is the least that a machine verifies.
func (m *Machine) Verify(open *wire.StreamOpen) (*wire.HostQuery, wire.RefusalReason, error) {
	if err := seal.Verify(open.Query, open.Signatures, m.Signer.PublicKeys()); err != nil {
		return nil, wire.RefusalBadSignature, err
	}
	q, err := wire.ParseHostQuery(open.Query)
	return q, wire.RefusalInvalid, err
}

// Ask makes a signed query; change may spoil it before it is signed.
func (m *Machine) Ask(kind wire.QueryKind, p wire.QueryParameters, notAfter time.Time, change ...func(*wire.HostQuery)) *Answer {
	m.t.Helper()
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		m.t.Fatal(err)
	}
	public := private.PublicKey().Bytes()
	sealed, err := seal.SealParameters(m.Host, m.Identity, kind, public, p)
	if err != nil {
		m.t.Fatal(err)
	}
	m.asked++
	q := &wire.HostQuery{Label: wire.HostQueryLabel, Host: m.Host, IdentityHash: m.Identity.Hash(), Name: "q", UID: fmt.Sprintf("uid-%d", m.asked), NotAfter: notAfter,
		Kind: kind, Parameters: sealed, PublicKey: public}
	for _, c := range change {
		c(q)
	}
	raw, err := json.Marshal(q)
	if err != nil {
		m.t.Fatal(err)
	}
	return &Answer{t: m.t, private: private.Bytes(), machine: m.Identity.SigningKey, text: string(raw), Signatures: m.Signer.Sign(string(raw)), done: make(chan struct{}),
		changed: make(chan struct{})}
}

// Answer is an asker, and the outlet that collects for it.
type Answer struct {
	t          testing.TB
	private    []byte
	machine    ed25519.PublicKey
	text       string
	Signatures []wire.Signature
	// Grant, where set, hears the size of each frame that was collected.
	Grant func(bytes int64)
	// OnData, where set, is called with each piece of data.
	OnData func([]byte)

	mu       sync.Mutex
	changed  chan struct{}
	opener   *seal.StreamOpener
	unpacker pack.Unpacker
	frames   int
	chunks   []wire.ChunkKind
	records  []json.RawMessage
	data     []byte
	end      *wire.AnswerEnd
	done     chan struct{}
	closed   *wire.StreamClose
}

// Open asks for it under a number.
func (a *Answer) Open(stream uint32) *wire.StreamOpen {
	return &wire.StreamOpen{Stream: stream, Query: a.text, Signatures: a.Signatures, Credit: wire.StreamWindow}
}

// Data implements query.Outlet.
func (a *Answer) Data(ctx context.Context, frame []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	a.Take(frame)
	if a.Grant != nil {
		a.Grant(int64(len(frame)))
	}
	return nil
}

// Take opens a frame.
func (a *Answer) Take(frame []byte) {
	_, chunk, err := wire.DecodeData(frame)
	if err != nil {
		a.t.Errorf("a frame: %v", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.tell()
	a.frames++
	if a.opener == nil {
		if a.opener, err = seal.NewStreamOpener(a.private, a.machine, a.text, chunk); err != nil {
			a.t.Errorf("the opening: %v", err)
		}
		return
	}
	plaintext, err := a.opener.Open(chunk)
	if err != nil {
		a.t.Errorf("chunk %d: %v", a.frames, err)
		return
	}
	if plaintext, err = a.unpacker.Unpack(plaintext); err != nil {
		a.t.Errorf("chunk %d: %v", a.frames, err)
		return
	}
	kind, rest, err := wire.DecodeChunk(plaintext)
	if err != nil || a.end != nil {
		a.t.Errorf("chunk %d of kind %c: %v, after the end: %v", a.frames, kind, err, a.end)
		return
	}
	a.chunks = append(a.chunks, kind)
	switch kind {
	case wire.ChunkRecords:
		for line := range slices.Values(lines(rest)) {
			a.records = append(a.records, json.RawMessage(line))
		}
	case wire.ChunkData:
		if a.OnData != nil {
			a.OnData(rest)
		} else {
			a.data = append(a.data, rest...)
		}
	case wire.ChunkEnd:
		a.end = &wire.AnswerEnd{}
		if err := json.Unmarshal(rest, a.end); err != nil {
			a.t.Error(err)
		}
	}
}

func lines(b []byte) (out []string) {
	begin := 0
	for i, c := range b {
		if c == '\n' {
			out, begin = append(out, string(b[begin:i])), i+1
		}
	}
	return out
}

func (a *Answer) tell() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// Finish implements query.Outlet.
func (a *Answer) Finish(_ context.Context, m *wire.StreamClose) error {
	a.Refuse(m)
	return nil
}

// Refuse implements query.Outlet.
func (a *Answer) Refuse(m *wire.StreamClose) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.tell()
	if a.closed != nil {
		a.t.Errorf("the stream was closed twice, with %q", m.Reason)
		return
	}
	a.closed = m
	close(a.done)
}

// Wait returns when the stream was closed.
func (a *Answer) Wait() *Answer {
	a.t.Helper()
	select {
	case <-a.done:
	case <-time.After(20 * time.Second):
		a.mu.Lock()
		defer a.mu.Unlock()
		a.t.Fatalf("waited in vain for the end of a stream; it said %s %q", a.records, a.data)
	}
	return a
}

// Until returns when the condition holds for what was said so far.
func (a *Answer) Until(what string, condition func(records []json.RawMessage, data []byte) bool) {
	a.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		a.mu.Lock()
		holds, changed := condition(a.records, a.data), a.changed
		a.mu.Unlock()
		if holds {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			a.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// End is what the machine said last, nil when it broke off; Closed the StreamClose behind it.
func (a *Answer) End() *wire.AnswerEnd {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.end
}

// Closed is the StreamClose, nil before it came.
func (a *Answer) Closed() *wire.StreamClose {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closed
}

// Text is all data.
func (a *Answer) Text() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return string(a.data)
}

// Frames counts what was sent, the opening included; Chunks are the kinds of chunks.
func (a *Answer) Frames() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.frames
}

// Chunks are the kinds of the chunks, one letter each.
func (a *Answer) Chunks() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := ""
	for _, kind := range a.chunks {
		out += string(rune(kind))
	}
	return out
}

// Records decodes all records.
func Records[T any](a *Answer) []T {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]T, len(a.records))
	for i, raw := range a.records {
		if err := json.Unmarshal(raw, &out[i]); err != nil {
			a.t.Errorf("record %s: %v", raw, err)
		}
	}
	return out
}
