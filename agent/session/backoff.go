package session

import "time"

const (
	// firstWait and lastWait bound the ceiling of the random wait.
	firstWait = time.Second
	lastWait  = time.Minute
	// minWait is the least wait between two dials.
	minWait = 100 * time.Millisecond
	// stableAfter is how long a session must last for the next wait to begin at firstWait.
	stableAfter = time.Minute
	// maxRetryAfter bounds what a gateway may ask for: it may send an agent away, but not for ever.
	maxRetryAfter = time.Hour
)

// backoff computes waits: exponential with full jitter. Not safe for concurrent use.
type backoff struct {
	failures int
	random   func() float64
}

// next is the wait after one more failure, at least atLeast. The extra on top of a demanded wait spreads agents that were all told the same.
func (b *backoff) next(atLeast time.Duration) time.Duration {
	ceiling := lastWait
	if b.failures < 6 {
		ceiling = min(firstWait<<b.failures, lastWait)
	}
	b.failures++
	wait := minWait + time.Duration(b.random()*float64(ceiling-minWait))
	if atLeast > 0 {
		atLeast = min(atLeast, maxRetryAfter)
		spread := time.Duration(b.random() * float64(min(atLeast/2, lastWait)))
		wait = max(wait, atLeast+spread)
	}
	return wait
}

func (b *backoff) reset() { b.failures = 0 }
