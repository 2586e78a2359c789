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
	// A machine whose Host was removed looks rarely whether it is back: firstRarely and lastRarely bound the ceiling of that wait.
	firstRarely = 30 * time.Second
	lastRarely  = time.Hour
	// heeded is how many failures in a row a gateway's word is worth more than the backoff.
	heeded = 10
	// maxRetryAfter bounds what a gateway may ask for: it may send an agent away, but not for ever.
	maxRetryAfter = time.Hour
)

// backoff computes waits: exponential with full jitter. Not safe for concurrent use.
type backoff struct {
	failures int
	random   func() float64
}

// next is the wait after one more failure, or what a gateway asks for (atLeast) and a little more, which spreads agents that were all told the same: it knows when
// it has time, and a backoff that has grown while it was away says nothing about that. One that goes on sending the agent away is not worth a dial a second.
func (b *backoff) next(atLeast time.Duration) time.Duration {
	ceiling := lastWait
	if b.failures < 6 {
		ceiling = min(firstWait<<b.failures, lastWait)
	}
	b.failures++
	wait := minWait + time.Duration(b.random()*float64(ceiling-minWait))
	if atLeast <= 0 {
		return wait
	}
	atLeast = min(atLeast, maxRetryAfter)
	asked := atLeast + time.Duration(b.random()*float64(min(atLeast/8+time.Second, lastWait)))
	if b.failures <= heeded {
		return asked
	}
	return max(wait, asked)
}

// nextRarely is the wait of a machine whose Host was removed: doubling like the other one, and never below half of its ceiling.
func (b *backoff) nextRarely() time.Duration {
	ceiling := lastRarely
	if b.failures < 7 {
		ceiling = min(firstRarely<<b.failures, lastRarely)
	}
	b.failures++
	return ceiling/2 + time.Duration(b.random()*float64(ceiling/2))
}

func (b *backoff) reset() { b.failures = 0 }
