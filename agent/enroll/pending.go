package enroll

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// Keys are a machine's private keys.
type Keys struct {
	// SigningSeed is the seed of the Ed25519 key, SealingKey the X25519 key; 32 bytes each.
	SigningSeed []byte `json:"signingSeed"`
	SealingKey  []byte `json:"sealingKey"`
}

// Identity is the public half.
func (k Keys) Identity() (wire.Identity, error) {
	if len(k.SigningSeed) != ed25519.SeedSize {
		return wire.Identity{}, errors.New("the signing key has a wrong size")
	}
	sealing, err := seal.SealingPublicKey(k.SealingKey)
	if err != nil {
		return wire.Identity{}, err
	}
	return wire.Identity{SigningKey: ed25519.NewKeyFromSeed(k.SigningSeed).Public().(ed25519.PublicKey), SealingKey: sealing}, nil
}

func newKeys() (Keys, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Keys{}, err
	}
	sealing, err := seal.NewSealingKey()
	if err != nil {
		return Keys{}, err
	}
	return Keys{SigningSeed: private.Seed(), SealingKey: sealing}, nil
}

// pendingFile holds the keys of an enrolment that has no verdict yet.
type pendingFile struct {
	// TokenIDHash tells for which token; the token itself is not stored.
	TokenIDHash string `json:"tokenIDHash"`
	Keys        Keys   `json:"keys"`
}

// pendingKeys returns the keys of an interrupted enrolment with the same token, or new ones, which are on disk then.
func pendingKeys(path, tokenID string) (Keys, wire.Identity, error) {
	hash := wire.TokenIDHash(tokenID)
	if raw, err := os.ReadFile(path); err == nil {
		var p pendingFile
		if json.Unmarshal(raw, &p) == nil && p.TokenIDHash == hash {
			if identity, err := p.Keys.Identity(); err == nil {
				return p.Keys, identity, nil
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return Keys{}, wire.Identity{}, err
	}
	keys, err := newKeys()
	if err != nil {
		return Keys{}, wire.Identity{}, err
	}
	identity, err := keys.Identity()
	if err != nil {
		return Keys{}, wire.Identity{}, err
	}
	raw, err := json.Marshal(pendingFile{TokenIDHash: hash, Keys: keys})
	if err != nil {
		return Keys{}, wire.Identity{}, err
	}
	if err := atomicfile.Write(path, raw); err != nil {
		return Keys{}, wire.Identity{}, fmt.Errorf("%s: %w", path, err)
	}
	return keys, identity, nil
}
