// Package pace keeps one peer from costing what is for all: Limits is a token bucket for each of many keys (a host, a remote address) in
// bounded memory, Places bounds what is held at once.
//
// Allow is for what can be turned away, Reserve for what must be done and can wait. Limits is safe for concurrent use; its mutex is held
// for no longer than a look at the table, but for one new key in many, which clears room for all of them when the table is full.
package pace

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// MaxKeys bounds the keys that are remembered. makeRoom leaves no more than keep, so that it looks at nine keys for each that comes.
const (
	MaxKeys = 4096
	keep    = MaxKeys - MaxKeys/8
)

// Limits is a token bucket for each of the keys seen last.
type Limits struct {
	rate  rate.Limit
	burst int

	mu    sync.Mutex
	byKey map[string]*rate.Limiter
	looks int // keys that makeRoom looked at, ever
}

// New returns Limits of perSecond for each key, and burst at once.
func New(perSecond float64, burst int) *Limits {
	return &Limits{rate: rate.Limit(perSecond), burst: burst, byKey: map[string]*rate.Limiter{}}
}

// Allow takes a token of the key, if there is one.
func (l *Limits) Allow(key string, now time.Time) bool { return l.bucket(key, now).AllowN(now, 1) }

// Reserve takes a token of the key and returns how long to wait until it is there.
func (l *Limits) Reserve(key string, now time.Time) time.Duration {
	return l.bucket(key, now).ReserveN(now, 1).DelayFrom(now)
}

// Len is the number of keys that are remembered.
func (l *Limits) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byKey)
}

func (l *Limits) bucket(key string, now time.Time) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter := l.byKey[key]
	if limiter == nil {
		l.makeRoom(now)
		limiter = rate.NewLimiter(l.rate, l.burst)
		l.byKey[key] = limiter
	}
	return limiter
}

// makeRoom forgets buckets that are full again, which says nothing that a new one does not, and any when those are too few.
func (l *Limits) makeRoom(now time.Time) {
	if len(l.byKey) < MaxKeys {
		return
	}
	for key, limiter := range l.byKey {
		l.looks++
		if limiter.TokensAt(now) >= float64(l.burst) {
			delete(l.byKey, key)
		}
	}
	for key := range l.byKey {
		if len(l.byKey) <= keep {
			return
		}
		l.looks++
		delete(l.byKey, key)
	}
}
