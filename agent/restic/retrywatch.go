package restic

import "time"

// permanentAttempts is how often a failure is seen that retrying does not cure (an untrusted certificate), before the run is stopped.
const permanentAttempts = 3

// retryWatch judges how long a run has done nothing but retry. It is pure: the time is passed in.
type retryWatch struct {
	limit     time.Duration // 0: for ever
	since     time.Time     // of the first failure without success after it; zero when all is well
	attempts  int
	permanent int
	last      Retry
	away      bool // the repository was out of reach at some time of the run
	bytes     uint64
	files     uint64
}

// failed records an attempt in vain, and returns what to tell the observer.
func (w *retryWatch) failed(now time.Time, kind Kind, reason string, next time.Duration) Retry {
	if w.since.IsZero() {
		w.since, w.attempts, w.permanent = now, 0, 0
	}
	w.attempts++
	if kind == KindUnreachable {
		w.away = true
	}
	if kind == KindTLS {
		w.permanent++ // not only in a row: a server that misses a client certificate is seen to refuse or to hang up, by turns
	}
	w.last = Retry{Kind: kind, Reason: reason, Since: w.since, Attempts: w.attempts, Next: next}
	return w.last
}

// recovered records that an operation went well after retries. It reports false when there was nothing to recover from.
func (w *retryWatch) recovered() (Retry, bool) {
	if w.since.IsZero() {
		return Retry{}, false
	}
	out := Retry{Since: w.since, Recovered: true}
	w.since, w.attempts, w.permanent = time.Time{}, 0, 0
	return out, true
}

// progressed records a status message. Only numbers that grew are a sign of life: restic prints one each second in any case.
func (w *retryWatch) progressed(p Progress) (Retry, bool) {
	grew := p.BytesDone > w.bytes || p.FilesDone > w.files
	w.bytes, w.files = p.BytesDone, p.FilesDone
	if !grew {
		return Retry{}, false
	}
	return w.recovered()
}

// expired tells whether it is time to give up.
func (w *retryWatch) expired(now time.Time) bool {
	if w.since.IsZero() {
		return false
	}
	return w.permanent >= permanentAttempts || w.limit > 0 && now.Sub(w.since) >= w.limit
}
