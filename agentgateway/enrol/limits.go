package enrol

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const maxLimiters = 4096

// limits is a token bucket for each of the keys seen last.
type limits struct {
	rate  rate.Limit
	burst int

	mu    sync.Mutex
	byKey map[string]*rate.Limiter
}

func newLimits(perSecond float64, burst int) *limits {
	return &limits{rate: rate.Limit(perSecond), burst: burst, byKey: map[string]*rate.Limiter{}}
}

func (l *limits) allow(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter := l.byKey[key]
	if limiter == nil {
		l.makeRoom(now)
		limiter = rate.NewLimiter(l.rate, l.burst)
		l.byKey[key] = limiter
	}
	return limiter.AllowN(now, 1)
}

// makeRoom forgets buckets that are full again, which says nothing that a new one does not, and any when that is not enough.
func (l *limits) makeRoom(now time.Time) {
	if len(l.byKey) < maxLimiters {
		return
	}
	for key, limiter := range l.byKey {
		if limiter.TokensAt(now) >= float64(l.burst) {
			delete(l.byKey, key)
		}
	}
	for key := range l.byKey {
		if len(l.byKey) < maxLimiters {
			return
		}
		delete(l.byKey, key)
	}
}
