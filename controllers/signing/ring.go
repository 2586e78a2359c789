package signing

import (
	"sync/atomic"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/internal/tidings"
)

// Ring holds the keys that are in force, which change during a rotation. Safe for concurrent use.
type Ring struct {
	// News tells who signs.
	News tidings.News

	keys atomic.Pointer[Keys]
}

// NewRing holds what was read at the start. Nobody is told before the Rotator has read it again.
func NewRing(keys *Keys) *Ring {
	r := &Ring{}
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
func (r *Ring) Sign(document string) []wire.Signature { return r.Keys().Sign(document) }

// Signed tells whether every key has signed a document.
func (r *Ring) Signed(document string, signatures []wire.Signature) bool {
	return r.Keys().Signed(document, signatures)
}

// PublicKeys are those that agents are to trust.
func (r *Ring) PublicKeys() []wire.SigningKey { return r.Keys().PublicKeys() }

// DigestKey is for keyed digests of credentials.
func (r *Ring) DigestKey() []byte { return r.Keys().DigestKey() }
