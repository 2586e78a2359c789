package seal

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/restic-manager/restic-manager/api/wire"
)

// Signer signs documents with one or more keys: two during a rotation, so that a machine that knows only one of them accepts.
type Signer struct{ keys []ed25519.PrivateKey }

// NewSigner returns a signer; at least one key is needed.
func NewSigner(keys ...ed25519.PrivateKey) (*Signer, error) {
	if len(keys) == 0 {
		return nil, errors.New("no signing key")
	}
	for _, k := range keys {
		if len(k) != ed25519.PrivateKeySize {
			return nil, fmt.Errorf("signing key has %d bytes, want %d", len(k), ed25519.PrivateKeySize)
		}
	}
	return &Signer{keys: keys}, nil
}

// PublicKeys lists the public halves, for tokens and schedule sets.
func (s *Signer) PublicKeys() []wire.SigningKey {
	out := make([]wire.SigningKey, 0, len(s.keys))
	for _, k := range s.keys {
		public := k.Public().(ed25519.PublicKey)
		out = append(out, wire.SigningKey{KeyID: wire.KeyIDOf(public), PublicKey: public})
	}
	return out
}

// Sign returns a signature of each key over the exact bytes of document.
func (s *Signer) Sign(document string) []wire.Signature {
	out := make([]wire.Signature, 0, len(s.keys))
	for _, k := range s.keys {
		public := k.Public().(ed25519.PublicKey)
		out = append(out, wire.Signature{KeyID: wire.KeyIDOf(public), Value: ed25519.Sign(k, []byte(document))})
	}
	return out
}

// Signed tells whether each key of the signer has signed a document. What is missing a signature is signed anew before an agent that waits for it comes.
func (s *Signer) Signed(document string, signatures []wire.Signature) bool {
	for _, k := range s.keys {
		public := k.Public().(ed25519.PublicKey)
		id := wire.KeyIDOf(public)
		if !slices.ContainsFunc(signatures, func(s wire.Signature) bool { return s.KeyID == id && ed25519.Verify(public, []byte(document), s.Value) }) {
			return false
		}
	}
	return true
}

// Verify succeeds when at least one signature is by one of the trusted keys. Signatures by unknown keys are skipped; a signature
// that names a trusted key and does not match is an error even beside a good one.
func Verify(document string, signatures []wire.Signature, trusted []wire.SigningKey) error {
	if len(signatures) == 0 {
		return fmt.Errorf("%w: the document is not signed", wire.ErrBadSignature)
	}
	good := false
	for _, s := range signatures {
		for _, k := range trusted {
			if k.KeyID != s.KeyID || len(k.PublicKey) != ed25519.PublicKeySize {
				continue
			}
			if !ed25519.Verify(k.PublicKey, []byte(document), s.Value) {
				return fmt.Errorf("%w: key %s", wire.ErrBadSignature, s.KeyID)
			}
			good = true
		}
	}
	if !good {
		return fmt.Errorf("%w: signed by no key that this machine trusts", wire.ErrBadSignature)
	}
	return nil
}
