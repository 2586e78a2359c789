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
	query  wire.LogQuery
	out    io.Writer
	told   func(wire.LogRecord)
	last   wire.LogRecord
	jobID  string
	offset int64
	// skip counts the bytes at the beginning of a stream that were written already; began says that this stream's first record has come.
	skip  int64
	began bool
}

// known tells whether the job is, so that the same log can be asked for again.
func (p *position) known() bool { return p.jobID != "" }

// question asks for what has not been written yet.
func (p *position) question(host *v1alpha1.Host) Question {
	p.began, p.skip = false, 0
	query := p.query
	if p.known() {
		query = wire.LogQuery{JobID: p.jobID, Offset: p.offset, Follow: p.query.Follow, Verbose: p.query.Verbose}
	}
	ttl := DefaultTTL
	if query.Follow {
		ttl = LongTTL
	}
	return Question{Host: host, Kind: wire.QueryLog, Parameters: wire.QueryParameters{Log: &query}, TTL: ttl}
}

// record takes the place of a stream in the log from its first record; the later ones tell only how the job stands.
func (p *position) record(object []byte) error {
	var r wire.LogRecord
	if err := json.Unmarshal(object, &r); err != nil {
		return fmt.Errorf("a record of the log does not parse: %w", err)
	}
	changed := !p.known() || r.State != p.last.State || r.Outcome != p.last.Outcome
	if !p.began {
		p.began = true
		switch {
		case !p.known():
			p.jobID, p.offset = r.JobID, r.Offset
		case r.JobID != p.jobID:
			return fmt.Errorf("the machine answered with the log of job %s, asked for was that of %s", r.JobID, p.jobID)
		case r.Offset > p.offset:
			return fmt.Errorf("%d bytes of the log are not on the machine any more: it was rotated away meanwhile. What comes after them: kubectl restic logs, once more", r.Offset-p.offset)
		default:
			p.skip = p.offset - r.Offset
		}
	}
	p.last = r
	if changed && p.told != nil {
		p.told(r)
	}
	return nil
}

// data writes what has not been written. The offset moves by what was.
func (p *position) data(piece []byte) error {
	if done := min(p.skip, int64(len(piece))); done > 0 {
		p.skip -= done
		piece = piece[done:]
	}
	n, err := p.out.Write(piece)
	p.offset += int64(n)
	return err
}
