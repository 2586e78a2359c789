package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
)

// KeySize is the length of both public keys of a machine, in bytes.
const KeySize = 32

// HostRef names a Host object.
type HostRef struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String is namespace/name, for people.
func (h HostRef) String() string { return h.Namespace + "/" + h.Name }

// ResticHost is the stable value of restic's --host: name.namespace. A namespace holds no dot, so it is unambiguous even where
// several namespaces share a repository.
func (h HostRef) ResticHost() string { return h.Name + "." + h.Namespace }

// Validate checks that both parts are present.
func (h HostRef) Validate() error {
	var c checks
	c.name("namespace", h.Namespace)
	c.name("name", h.Name)
	return c.err
}

// Identity is the public half of a machine's keys: Ed25519 for signing, X25519 for sealing.
type Identity struct {
	SigningKey []byte `json:"signingKey"`
	SealingKey []byte `json:"sealingKey"`
}

// Validate checks the sizes of the keys.
func (i Identity) Validate() error {
	var c checks
	c.size("signingKey", i.SigningKey, KeySize)
	c.size("sealingKey", i.SealingKey, KeySize)
	return c.err
}

// Hash is the hex SHA-256 over a label and both keys: what signed documents name a machine by.
func (i Identity) Hash() string {
	h := sha256.New()
	h.Write([]byte("restic-manager/identity/v1\n"))
	h.Write(i.SigningKey)
	h.Write(i.SealingKey)
	return hex.EncodeToString(h.Sum(nil))
}

// SigningKey is one of the controllers' public keys.
type SigningKey struct {
	// KeyID is KeyIDOf(PublicKey).
	KeyID     string `json:"keyID"`
	PublicKey []byte `json:"publicKey"`
}

// Validate checks the key's size and that its id belongs to it.
func (k SigningKey) Validate() error {
	var c checks
	c.size("publicKey", k.PublicKey, ed25519.PublicKeySize)
	c.that(k.KeyID == KeyIDOf(k.PublicKey), "keyID %q does not belong to the key", k.KeyID)
	return c.err
}

// KeyIDOf is the first 16 hex digits of the SHA-256 of a public key.
func KeyIDOf(publicKey []byte) string {
	sum := sha256.Sum256(publicKey)
	return hex.EncodeToString(sum[:8])
}

// Signature is one signature over the exact bytes of a document.
type Signature struct {
	KeyID string `json:"keyID"`
	Value []byte `json:"value"`
}

// MaxSignatures bounds the list of signatures on a document: two keys are in force during a rotation, the rest is room.
const MaxSignatures = 8

// checkSignatures bounds a list of signatures. An absent or malformed signature is for the receiver to refuse in words, as one that
// does not match, and not for the envelope to drop.
func checkSignatures(c *checks, signatures []Signature) {
	c.count("signatures", len(signatures), MaxSignatures)
	for _, s := range signatures {
		c.text("signatures.keyID", s.KeyID, MaxName)
		c.that(len(s.Value) <= ed25519.SignatureSize, "signatures.value has %d bytes, at most %d are allowed", len(s.Value), ed25519.SignatureSize)
	}
}
