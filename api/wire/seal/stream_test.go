package seal

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/restic-manager/restic-manager/api/wire"
)

// stream is a requester, a machine that answers him, and the first chunk of the answer.
type stream struct {
	requester, public []byte
	signing           ed25519.PrivateKey
	sealer            *StreamSealer
	opening           []byte
}

const query = `{"label":"restic-manager/host-query/v1"}`

func newStream(t *testing.T) *stream {
	t.Helper()
	s := &stream{}
	var err error
	if s.requester, err = NewSealingKey(); err != nil {
		t.Fatal(err)
	}
	if s.public, err = SealingPublicKey(s.requester); err != nil {
		t.Fatal(err)
	}
	if _, s.signing, err = ed25519.GenerateKey(nil); err != nil {
		t.Fatal(err)
	}
	sign := func(text []byte) []byte { return ed25519.Sign(s.signing, text) }
	if s.opening, s.sealer, err = NewStreamSealer(s.public, query, sign); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stream) key() ed25519.PublicKey { return s.signing.Public().(ed25519.PublicKey) }

func (s *stream) seal(t *testing.T, text string) []byte {
	t.Helper()
	chunk := s.sealer.Seal(nil, []byte(text))
	if len(chunk) > len(text)+wire.ChunkOverhead {
		t.Errorf("sealing adds %d bytes, more than ChunkOverhead", len(chunk)-len(text))
	}
	return chunk
}

func TestTheRequesterReadsAStreamInOrder(t *testing.T) {
	s := newStream(t)
	opener, err := NewStreamOpener(s.requester, s.key(), query, s.opening)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"first", "second", "second", ""} {
		chunk := s.seal(t, want)
		if want != "" && bytes.Contains(chunk, []byte(want)) {
			t.Error("the chunk holds the plaintext")
		}
		got, err := opener.Open(chunk)
		if err != nil || string(got) != want {
			t.Fatalf("opened %q, %v, want %q", got, err, want)
		}
	}
}

// A stream that another program seals must open: the construction stands in docs/wire.md.
func TestChunksAreSealedAsTheProtocolPageSays(t *testing.T) {
	s := newStream(t)
	private, err := ecdh.X25519().NewPrivateKey(s.requester)
	if err != nil {
		t.Fatal(err)
	}
	key, err := hpke.NewDHKEMPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	info := fmt.Appendf(nil, "restic-manager/stream/v1\n%x", sha256.Sum256([]byte(query)))
	recipient, err := hpke.NewRecipient(s.opening[:32], key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := recipient.Export("restic-manager/stream-chunks/v1", 32)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := chacha20poly1305.New(secret)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"first", "second"} {
		if got, err := aead.Open(nil, binary.BigEndian.AppendUint64(make([]byte, 4), uint64(i)), s.seal(t, want), nil); err != nil || string(got) != want {
			t.Errorf("chunk %d is %q, %v", i, got, err)
		}
	}
}

func TestSealingAndOpeningTakeNoMemoryOfTheirOwn(t *testing.T) {
	s := newStream(t)
	opener, err := NewStreamOpener(s.requester, s.key(), query, s.opening)
	if err != nil {
		t.Fatal(err)
	}
	plaintext, frame := make([]byte, wire.MaxChunk), make([]byte, 0, wire.MaxChunk+wire.ChunkOverhead)
	allocations := testing.AllocsPerRun(10, func() {
		frame = s.sealer.Seal(frame[:0], plaintext)
		if _, err := opener.Open(frame); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > 0 {
		t.Errorf("%v allocations for a chunk", allocations)
	}
}

func TestAStreamThatWasTamperedWithDoesNotOpen(t *testing.T) {
	for name, tamper := range map[string]func(a, b []byte) [][]byte{
		"a chunk is left out": func(_, b []byte) [][]byte { return [][]byte{b} },
		"two are swapped":     func(a, b []byte) [][]byte { return [][]byte{b, a} },
		"one comes twice":     func(a, _ []byte) [][]byte { return [][]byte{a, bytes.Clone(a)} },
		"a bit is flipped": func(a, b []byte) [][]byte {
			b = bytes.Clone(b)
			b[0] ^= 1
			return [][]byte{a, b}
		},
	} {
		s := newStream(t)
		opener, err := NewStreamOpener(s.requester, s.key(), query, s.opening)
		if err != nil {
			t.Fatal(err)
		}
		for _, chunk := range tamper(s.seal(t, "one"), s.seal(t, "two")) {
			if _, err = opener.Open(chunk); err != nil {
				break
			}
		}
		if err == nil {
			t.Errorf("%s: it opens", name)
		}
	}
}

func TestAStreamOfSomebodyElseIsRefused(t *testing.T) {
	s, other := newStream(t), newStream(t)
	for name, c := range map[string]struct {
		private []byte
		key     ed25519.PublicKey
		query   string
		opening []byte
	}{
		"another machine":   {s.requester, other.key(), query, s.opening},
		"another query":     {s.requester, s.key(), query + " ", s.opening},
		"another stream":    {s.requester, s.key(), query, other.opening},
		"a cut opening":     {s.requester, s.key(), query, s.opening[:90]},
		"no key":            {s.requester, nil, query, s.opening},
		"a mixed opening":   {s.requester, s.key(), query, append(bytes.Clone(other.opening[:32]), s.opening[32:]...)},
		"no private key":    {nil, s.key(), query, s.opening},
		"an empty opening":  {s.requester, s.key(), query, nil},
		"a key that is cut": {s.requester[:31], s.key(), query, s.opening},
	} {
		if _, err := NewStreamOpener(c.private, c.key, c.query, c.opening); err == nil {
			t.Errorf("%s: it opens", name)
		}
	}
	opener, err := NewStreamOpener(other.requester, s.key(), query, s.opening)
	if err == nil {
		if _, err = opener.Open(s.seal(t, "one")); err == nil {
			t.Error("another requester reads it")
		}
	}
	if _, err := NewStreamOpener(s.requester, other.key(), query, s.opening); !errors.Is(err, wire.ErrBadSignature) {
		t.Errorf("an answer of another machine gives %v", err)
	}
}

func TestParametersAreForOneMachineAndOneQuery(t *testing.T) {
	m, s := newMachine(t), newStream(t)
	host := wire.HostRef{Namespace: "shop", Name: "web-1"}
	want := wire.QueryParameters{Files: &wire.FilesQuery{Snapshot: "0123abcd", Path: "/etc/secret-folder"}}
	sealed, err := SealParameters(host, m.identity, wire.QueryFiles, s.public, want)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("folder")) {
		t.Error("the sealed parameters hold the path")
	}
	q := wire.HostQuery{Host: host, IdentityHash: m.identity.Hash(), Kind: wire.QueryFiles, PublicKey: s.public, Parameters: sealed}
	got, err := OpenParameters(&q, m.private)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
	for name, change := range map[string]func(*wire.HostQuery){
		"another host":      func(q *wire.HostQuery) { q.Host.Name = "web-2" },
		"another identity":  func(q *wire.HostQuery) { q.IdentityHash = "x" },
		"another kind":      func(q *wire.HostQuery) { q.Kind = wire.QueryContent },
		"another requester": func(q *wire.HostQuery) { q.PublicKey = newStream(t).public },
		"none at all":       func(q *wire.HostQuery) { q.Parameters = nil },
	} {
		changed := q
		change(&changed)
		if _, err := OpenParameters(&changed, m.private); err == nil {
			t.Errorf("%s: the parameters open", name)
		} else if strings.Contains(err.Error(), "folder") {
			t.Errorf("%s: the error holds the path: %v", name, err)
		}
	}
	if _, err := SealParameters(host, m.identity, wire.QueryContent, s.public, want); err == nil {
		t.Error("parameters of another kind are sealed")
	}
}
