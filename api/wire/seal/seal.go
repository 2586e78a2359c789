package seal

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/restic-manager/restic-manager/api/wire"
)

const credentialLabel = "restic-manager/credential/v1"

// NewSealingKey makes a machine's X25519 private key (32 bytes).
func NewSealingKey() ([]byte, error) {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	return k.Bytes(), nil
}

// SealingPublicKey is the public half of a sealing key.
func SealingPublicKey(private []byte) ([]byte, error) {
	k, err := ecdh.X25519().NewPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	return k.PublicKey().Bytes(), nil
}

// probe is any private key: what it cannot agree with, nobody can.
var probe = sync.OnceValues(func() (*ecdh.PrivateKey, error) { return ecdh.X25519().GenerateKey(rand.Reader) })

// CheckPublicKey refuses a key to which nothing can be sealed: X25519 has some of the right size, 32 zeros among them.
func CheckPublicKey(publicKey []byte) error {
	k, err := ecdh.X25519().NewPublicKey(publicKey)
	if err != nil {
		return fmt.Errorf("sealing key: %w", err)
	}
	private, err := probe()
	if err != nil {
		return fmt.Errorf("sealing key: %w", err)
	}
	if _, err := private.ECDH(k); err != nil {
		return errors.New("nothing can be sealed to this X25519 key")
	}
	return nil
}

// Seal encrypts plaintext to a public sealing key; only Open with the same info gives it back. Sealing is randomised.
func Seal(publicKey, info, plaintext []byte) ([]byte, error) {
	k, err := ecdh.X25519().NewPublicKey(publicKey)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	recipient, err := hpke.NewDHKEMPublicKey(k)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	return hpke.Seal(recipient, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info, plaintext)
}

// Open decrypts what Seal made.
func Open(privateKey, info, sealed []byte) ([]byte, error) {
	k, err := ecdh.X25519().NewPrivateKey(privateKey)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	recipient, err := hpke.NewDHKEMPrivateKey(k)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	plaintext, err := hpke.Open(recipient, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info, sealed)
	if err != nil {
		return nil, fmt.Errorf("sealed for other keys, or damaged: %w", err)
	}
	return plaintext, nil
}

// credentialInfo binds a sealed credential to its host, keys and name.
func credentialInfo(host wire.HostRef, identityHash, name string) []byte {
	return fmt.Appendf(nil, "%s\n%s\n%s\n%s", credentialLabel, host, identityHash, name)
}

// SealCredential seals a credential to a machine.
func SealCredential(host wire.HostRef, identity wire.Identity, name string, credential wire.Credential) (wire.SealedCredential, error) {
	plaintext, err := json.Marshal(credential)
	if err != nil {
		return wire.SealedCredential{}, fmt.Errorf("credential %s: %w", name, err)
	}
	sealed, err := Seal(identity.SealingKey, credentialInfo(host, identity.Hash(), name), plaintext)
	if err != nil {
		return wire.SealedCredential{}, fmt.Errorf("credential %s: %w", name, err)
	}
	return wire.SealedCredential{Name: name, Sealed: sealed}, nil
}

// OpenCredential opens what SealCredential made. Errors never hold plaintext.
func OpenCredential(host wire.HostRef, identityHash string, privateKey []byte, sealed wire.SealedCredential) (wire.Credential, error) {
	plaintext, err := Open(privateKey, credentialInfo(host, identityHash, sealed.Name), sealed.Sealed)
	if err != nil {
		return wire.Credential{}, fmt.Errorf("credential %s: %w", sealed.Name, err)
	}
	var c wire.Credential
	if err := json.Unmarshal(plaintext, &c); err != nil {
		return wire.Credential{}, fmt.Errorf("credential %s does not parse", sealed.Name)
	}
	return c, nil
}

// Hash is the hex SHA-256 of sealed bytes, as it stands in the signed set.
func Hash(sealed []byte) string {
	sum := sha256.Sum256(sealed)
	return hex.EncodeToString(sum[:])
}
