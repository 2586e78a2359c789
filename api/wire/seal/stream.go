package seal

import (
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/restic-manager/restic-manager/api/wire"
)

const (
	parametersLabel = "restic-manager/query-parameters/v1"
	streamLabel     = "restic-manager/stream/v1"
	chunkLabel      = "restic-manager/stream-chunks/v1"
	encapsulated    = 32
)

// SealParameters seals the parameters of a query to a machine. They are bound to the host, its keys, the kind and the requester's key.
func SealParameters(host wire.HostRef, identity wire.Identity, kind wire.QueryKind, publicKey []byte, parameters wire.QueryParameters) ([]byte, error) {
	if err := parameters.Validate(kind); err != nil {
		return nil, err
	}
	plaintext, err := json.Marshal(parameters)
	if err != nil {
		return nil, fmt.Errorf("query parameters: %w", err)
	}
	sealed, err := Seal(identity.SealingKey, parametersInfo(host, identity.Hash(), kind, publicKey), plaintext)
	if err != nil {
		return nil, err
	}
	if len(sealed) > wire.MaxQueryParameters {
		return nil, fmt.Errorf("query parameters: %d bytes are over the limit of %d", len(sealed), wire.MaxQueryParameters)
	}
	return sealed, nil
}

// OpenParameters opens what SealParameters made, and validates it. A query without parameters has the zero ones.
func OpenParameters(q *wire.HostQuery, privateKey []byte) (wire.QueryParameters, error) {
	var p wire.QueryParameters
	if len(q.Parameters) > 0 {
		plaintext, err := Open(privateKey, parametersInfo(q.Host, q.IdentityHash, q.Kind, q.PublicKey), q.Parameters)
		if err != nil {
			return p, fmt.Errorf("query parameters: %w", err)
		}
		if err := json.Unmarshal(plaintext, &p); err != nil {
			return p, errors.New("query parameters do not parse")
		}
	}
	return p, p.Validate(q.Kind)
}

func parametersInfo(host wire.HostRef, identityHash string, kind wire.QueryKind, publicKey []byte) []byte {
	return fmt.Appendf(nil, "%s\n%s\n%s\n%s\n%x", parametersLabel, host, identityHash, kind, publicKey)
}

// streamInfo binds a stream to the signed query that it answers.
func streamInfo(query string) []byte {
	sum := sha256.Sum256([]byte(query))
	return fmt.Appendf(nil, "%s\n%x", streamLabel, sum)
}

// chunks is the AEAD of one stream, with a key that is exported from its HPKE context. HPKE's own would do the same, in new memory for each chunk, which costs several
// times what the sealing does.
type chunks struct {
	aead  cipher.AEAD
	next  uint64
	nonce [chacha20poly1305.NonceSize]byte
}

// exporter is the side of an HPKE context that both ends have.
type exporter interface {
	Export(exporterContext string, length int) ([]byte, error)
}

func newChunks(context exporter) (*chunks, error) {
	key, err := context.Export(chunkLabel, chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("the key of the chunks: %w", err)
	}
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, fmt.Errorf("the key of the chunks: %w", err)
	}
	return &chunks{aead: aead}, nil
}

// place is the nonce of the chunk that is next: its number.
func (c *chunks) place() []byte {
	binary.BigEndian.PutUint64(c.nonce[len(c.nonce)-8:], c.next)
	c.next++
	return c.nonce[:]
}

// StreamSealer seals the chunks of one stream, in order. Not for concurrent use.
type StreamSealer struct{ chunks *chunks }

// NewStreamSealer begins the stream that answers a query, given as the exact signed text. The opening is the first chunk: the encapsulated key, and sign's
// signature with the machine's Ed25519 key over that and the query. HPKE's base mode does not say who sealed; the signature does.
func NewStreamSealer(publicKey []byte, query string, sign func([]byte) []byte) (opening []byte, s *StreamSealer, err error) {
	k, err := ecdh.X25519().NewPublicKey(publicKey)
	if err != nil {
		return nil, nil, fmt.Errorf("requester's key: %w", err)
	}
	recipient, err := hpke.NewDHKEMPublicKey(k)
	if err != nil {
		return nil, nil, fmt.Errorf("requester's key: %w", err)
	}
	info := streamInfo(query)
	enc, sender, err := hpke.NewSender(recipient, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info)
	if err != nil {
		return nil, nil, fmt.Errorf("requester's key: %w", err)
	}
	chunks, err := newChunks(sender)
	if err != nil {
		return nil, nil, err
	}
	return append(enc, sign(signedOpening(info, enc))...), &StreamSealer{chunks}, nil
}

func signedOpening(info, enc []byte) []byte { return fmt.Appendf(nil, "%s\n%x", info, enc) }

// Seal appends the next chunk to dst. Each holds its place: one that is left out, repeated or moved does not open.
func (s *StreamSealer) Seal(dst, plaintext []byte) []byte {
	return s.chunks.aead.Seal(dst, s.chunks.place(), plaintext, nil)
}

// StreamOpener opens the chunks of one stream, in order. Not for concurrent use.
type StreamOpener struct{ chunks *chunks }

// NewStreamOpener takes the first chunk of a stream. signingKey is the machine's, as it is pinned in the Host; query is the exact text that was signed.
func NewStreamOpener(privateKey []byte, signingKey ed25519.PublicKey, query string, opening []byte) (*StreamOpener, error) {
	if len(opening) != encapsulated+ed25519.SignatureSize {
		return nil, fmt.Errorf("the stream begins with %d bytes, want %d", len(opening), encapsulated+ed25519.SignatureSize)
	}
	info, enc := streamInfo(query), opening[:encapsulated]
	if len(signingKey) != ed25519.PublicKeySize || !ed25519.Verify(signingKey, signedOpening(info, enc), opening[encapsulated:]) {
		return nil, fmt.Errorf("%w: the answer does not come from the machine whose key is pinned in the Host", wire.ErrBadSignature)
	}
	k, err := ecdh.X25519().NewPrivateKey(privateKey)
	if err != nil {
		return nil, fmt.Errorf("requester's key: %w", err)
	}
	private, err := hpke.NewDHKEMPrivateKey(k)
	if err != nil {
		return nil, fmt.Errorf("requester's key: %w", err)
	}
	recipient, err := hpke.NewRecipient(enc, private, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info)
	if err != nil {
		return nil, fmt.Errorf("the stream was sealed for another key: %w", err)
	}
	chunks, err := newChunks(recipient)
	if err != nil {
		return nil, err
	}
	return &StreamOpener{chunks}, nil
}

// Open opens the next chunk, in its own memory.
func (s *StreamOpener) Open(chunk []byte) ([]byte, error) {
	plaintext, err := s.chunks.aead.Open(chunk[:0], s.chunks.place(), chunk, nil)
	if err != nil {
		return nil, errors.New("a chunk of the stream is missing, damaged or not from the machine")
	}
	return plaintext, nil
}
