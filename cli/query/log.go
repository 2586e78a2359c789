package query

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// The pauses before a stream is taken up again.
const (
	firstPause = time.Second
	lastPause  = 30 * time.Second
	// patience is how often in a row a log that is not followed is asked for again.
	patience = 5
)

// LogOptions say which log.
type LogOptions struct {
	Query wire.LogQuery
	// Record is told where the job stands: at the beginning, and when it has begun or ended. It may be nil.
	Record func(wire.LogRecord)
}

// Log writes the log of a job to out, each byte once, however often the stream breaks off. It returns the last record: of a log that was followed, how the
// job ended.
func (a *Asker) Log(ctx context.Context, host *v1alpha1.Host, options LogOptions, out io.Writer) (wire.LogRecord, error) {
	p := &position{query: options.Query, out: out, told: options.Record}
	pause, failures := firstPause, 0
	for {
		before := p.offset
		err := a.Ask(ctx, p.question(host), Sink{Record: p.record, Data: p.data})
		e, is := err.(*Error)
		if !is || !e.Again() || !p.known() {
			return p.last, err
		}
		if p.offset > before {
			pause, failures = firstPause, 0
		}
		failures++
		if !p.query.Follow && failures > patience {
			return p.last, err
		}
		// Expiry is no trouble: the log goes on in a new query.
		if e.Problem != ProblemExpired {
			a.notice("%v; taking it up again in %s", e, pause)
			if err := a.sleep(ctx, pause/2+rand.N(pause/2)); err != nil {
				return p.last, err
			}
			pause = min(2*pause, lastPause)
		}
	}
}

func (a *Asker) sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-a.Clock.After(d):
		return nil
	}
}

// position is how far a log has been written.
type position struct {
	query wire.LogQuery
	out   io.Writer
	told  func(wire.LogRecord)
	last  wire.LogRecord
	jobID string
	// offset is that of the next byte to be written; before the first one it is wherever the stream begins.
	offset  int64
	written bool
	// stream is the offset of the next byte that this stream brings.
	stream int64
}

// known tells whether the job is, so that the same log can be asked for again.
func (p *position) known() bool { return p.jobID != "" }

// question asks for what has not been written yet.
func (p *position) question(host *v1alpha1.Host) Question {
	query := p.query
	if p.known() {
		query = wire.LogQuery{JobID: p.jobID, Offset: p.query.Offset, Since: p.query.Since, Follow: p.query.Follow, Verbose: p.query.Verbose}
	}
	if p.written {
		query.Offset, query.Since = p.offset, nil
	}
	ttl := DefaultTTL
	if query.Follow {
		ttl = LongTTL
	}
	return Question{Host: host, Kind: wire.QueryLog, Parameters: wire.QueryParameters{Log: &query}, TTL: ttl}
}

// record takes the place of what follows from a record: a log that has not begun has none, and one may begin at an earlier line than was asked for.
func (p *position) record(object []byte) error {
	var r wire.LogRecord
	if err := json.Unmarshal(object, &r); err != nil {
		return fmt.Errorf("a record of the log does not parse: %w", err)
	}
	if p.known() && r.JobID != p.jobID {
		return fmt.Errorf("the machine answered with the log of job %s, asked for was that of %s", r.JobID, p.jobID)
	}
	changed := !p.known() || r.State != p.last.State || r.Outcome != p.last.Outcome
	p.jobID, p.last, p.stream = r.JobID, r, r.Offset
	if changed && p.told != nil {
		p.told(r)
	}
	return nil
}

// data writes what has not been written.
func (p *position) data(piece []byte) error {
	if !p.written {
		p.offset = p.stream
	}
	if p.stream > p.offset {
		return fmt.Errorf("%d bytes of the log are not on the machine any more: they were removed meanwhile. What comes after them: kubectl restic logs, once more", p.stream-p.offset)
	}
	done := min(p.offset-p.stream, int64(len(piece)))
	p.stream += int64(len(piece))
	if done == int64(len(piece)) {
		return nil
	}
	n, err := p.out.Write(piece[done:])
	p.written = p.written || n > 0
	p.offset += int64(n)
	return err
}
