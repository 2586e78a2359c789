package signing

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

const (
	pemType        = "PRIVATE KEY"
	digestKeyLabel = "restic-manager/credential-digest-key/v1"
)

// entryName is that of an entry with a key.
var entryName = regexp.MustCompile(`^(signing|retired)-([1-9][0-9]{0,8})\.pem$`)

// Entry is one key in the Secret.
type Entry struct {
	Name   string
	Number int
	KeyID  string
	// Retired says that it signs, and that machines are not told to trust it.
	Retired bool
}

func entryOf(number int, retired bool) string {
	if retired {
		return fmt.Sprintf("retired-%d.pem", number)
	}
	return fmt.Sprintf("signing-%d.pem", number)
}

// Keys sign what agents obey.
type Keys struct {
	*seal.Signer
	trusted   []wire.SigningKey
	digestKey []byte
	signers   string // the public keys of all that sign, the oldest first
	entries   []Entry
	data      map[string][]byte
}

// PublicKeys are those that agents are to trust, the oldest first.
func (k *Keys) PublicKeys() []wire.SigningKey { return slices.Clone(k.trusted) }

// DigestKey is for keyed digests of credentials. It follows from the newest key, so it changes when one is added, and every revision with it.
func (k *Keys) DigestKey() []byte { return slices.Clone(k.digestKey) }

// Entries are the keys, the oldest first.
func (k *Keys) Entries() []Entry { return slices.Clone(k.entries) }

// newest is the key that signs last.
func (k *Keys) newest() Entry { return k.entries[len(k.entries)-1] }

func (k *Keys) equal(other *Keys) bool {
	return other != nil && maps.EqualFunc(k.data, other.data, slices.Equal[[]byte])
}

// Load reads the keys in a Secret. The error names the entry, never what it holds.
func Load(secret *corev1.Secret) (*Keys, error) {
	keys := &Keys{data: map[string][]byte{}}
	for name, data := range secret.Data {
		match := entryName.FindStringSubmatch(name)
		if match == nil {
			continue
		}
		number, _ := strconv.Atoi(match[2]) // digits, and few
		keys.entries = append(keys.entries, Entry{Name: name, Number: number, Retired: match[1] == "retired"})
		keys.data[name] = slices.Clone(data)
	}
	slices.SortFunc(keys.entries, func(a, b Entry) int { return a.Number - b.Number })
	var all []ed25519.PrivateKey
	for i := range keys.entries {
		e := &keys.entries[i]
		key, err := parse(keys.data[e.Name])
		if err != nil {
			return nil, fmt.Errorf("%s %w: restore it from a backup; a new key would mean to enrol every machine again", e.Name, err)
		}
		if i > 0 && keys.entries[i-1].Number == e.Number {
			return nil, fmt.Errorf("%s and %s have the same number: remove the one that is not wanted", keys.entries[i-1].Name, e.Name)
		}
		all = append(all, key)
		public := key.Public().(ed25519.PublicKey)
		e.KeyID = wire.KeyIDOf(public)
		keys.signers += string(public)
		if !e.Retired {
			keys.trusted = append(keys.trusted, wire.SigningKey{KeyID: e.KeyID, PublicKey: public})
		}
	}
	switch {
	case len(keys.trusted) == 0:
		return nil, errors.New("there is no entry signing-N.pem: restore it from a backup. If it is lost for good, add an entry " + EntryMakeNew +
			" to get a new key, and enrol every machine again")
	case len(all) > wire.MaxSignatures:
		return nil, fmt.Errorf("there are %d keys, at most %d can be in use: remove old ones", len(all), wire.MaxSignatures)
	case keys.newest().Retired:
		return nil, fmt.Errorf("%s is the newest key, and retired: only older ones can be", keys.newest().Name)
	}
	return keys, keys.derive(all)
}

// derive fills what follows from the private keys.
func (k *Keys) derive(all []ed25519.PrivateKey) (err error) {
	if k.Signer, err = seal.NewSigner(all...); err != nil {
		return err
	}
	k.digestKey, err = hkdf.Key(sha256.New, all[len(all)-1].Seed(), nil, digestKeyLabel, sha256.Size)
	return err
}

func parse(data []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != pemType {
		return nil, errors.New("is not a PEM block of type " + pemType)
	}
	// The error of x509 may quote bytes of the key.
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("is not a PKCS#8 key")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("is a %T, not an Ed25519 key", parsed)
	}
	return key, nil
}

// newKey makes a key, in PEM.
func newKey() ([]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
}
