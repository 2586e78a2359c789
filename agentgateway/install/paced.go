package install

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/clock"
)

// paced writes an answer no faster than the bandwidth that all share, and gives up on a reader who is too slow.
type paced struct {
	http.ResponseWriter
	ctx     context.Context
	control *http.ResponseController
	limiter *rate.Limiter
	clock   clock.WithTicker
	end     time.Time
}

func newPaced(w http.ResponseWriter, ctx context.Context, limiter *rate.Limiter, c clock.WithTicker) *paced {
	return &paced{w, ctx, http.NewResponseController(w), limiter, c, c.Now().Add(longest)}
}

// Write implements io.Writer.
func (p *paced) Write(b []byte) (int, error) {
	written := 0
	for written < len(b) {
		part := b[written:min(len(b), written+chunk)]
		if err := p.turn(len(part)); err != nil {
			return written, err
		}
		n, err := p.ResponseWriter.Write(part)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// turn waits until n bytes may go out, and sets until when they must.
func (p *paced) turn(n int) error {
	now := p.clock.Now()
	if wait := p.limiter.ReserveN(now, n).DelayFrom(now); wait > 0 {
		timer := p.clock.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-p.ctx.Done():
			return context.Cause(p.ctx)
		case <-timer.C():
		}
	}
	deadline := p.clock.Now().Add(stall)
	if deadline.After(p.end) {
		deadline = p.end
	}
	return p.control.SetWriteDeadline(deadline)
}
