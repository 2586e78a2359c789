package signing

import (
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"

	"k8s.io/utils/lru"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/internal/tidings"
)

// Ring holds the keys that are in force, which change during a rotation. Safe for concurrent use.
type Ring struct {
	// News tells who signs.
	News tidings.News

	keys atomic.Pointer[Keys]
	// good are the sums of what was found to be signed, which stays so: to verify it takes five times as long as to look it up.
	good *lru.Cache
}

// maxGood bounds what is known to be signed: a set for each machine of the fleet, which is looked at again with its Host.
const maxGood = 16 << 10

// NewRing holds what was read at the start. Nobody is told before the Rotator has read it again.
func NewRing(keys *Keys) *Ring {
	r := &Ring{good: lru.New(maxGood)}
	r.keys.Store(keys)
	return r
}

// Set puts keys in force and tells, at the first time and when they differ.
func (r *Ring) Set(keys *Keys) {
	before := r.keys.Swap(keys)
	select {
	case <-r.News.Known():
		if keys.equal(before) {
			return
		}
	default:
	}
	r.News.Tell()
}

// Keys in force.
func (r *Ring) Keys() *Keys { return r.keys.Load() }

// Sign signs with every key.
func (r *Ring) Sign(document string) []wire.Signature {
	keys := r.Keys()
	signed := keys.Sign(document)
	r.good.Add(sumOf(keys, document, signed), nil)
	return signed
}

// Signed tells whether every key has signed a document.
func (r *Ring) Signed(document string, signatures []wire.Signature) bool {
	keys := r.Keys()
	sum := sumOf(keys, document, signatures)
	if _, known := r.good.Get(sum); known {
		return true
	}
	if !keys.Signed(document, signatures) {
		return false
	}
	r.good.Add(sum, nil)
	return true
}

// sumOf is over all that Signed follows from.
func sumOf(keys *Keys, document string, signatures []wire.Signature) [sha256.Size]byte {
	data := make([]byte, 0, len(document)+512)
	part := func(text string) { // with its length: what follows on it is no part of it
		data = append(binary.BigEndian.AppendUint64(data, uint64(len(text))), text...)
	}
	part(keys.signers)
	part(document)
	for _, s := range signatures {
		part(s.KeyID)
		part(string(s.Value))
	}
	return sha256.Sum256(data)
}

// PublicKeys are those that agents are to trust.
func (r *Ring) PublicKeys() []wire.SigningKey { return r.Keys().PublicKeys() }

// DigestKey is for keyed digests of credentials.
func (r *Ring) DigestKey() []byte { return r.Keys().DigestKey() }
