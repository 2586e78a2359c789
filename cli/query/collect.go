package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/pack"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// pingEvery is how often the network is asked whether it is still there; the answer has as long.
const pingEvery = 20 * time.Second

// collect reads the answer of a signed query to its end.
func (a *Asker) collect(ctx context.Context, query *v1alpha1.HostQuery, s *secrets, to Sink) error {
	conn, err := a.dial(ctx, query, s)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	r := &reader{conn: conn, host: s.host}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go r.pings(ctx, a)

	opening, err := r.next(ctx)
	if err != nil {
		return err
	}
	opener, err := seal.NewStreamOpener(s.key.Bytes(), s.signingKey(), query.Status.Command.Document, opening)
	if err != nil {
		return problem(ProblemForged, err, "this is not the answer of machine %s: %v. Somebody stands between, or the machine was enrolled anew a moment ago: ask again", s.host, err)
	}
	var unpacker pack.Unpacker
	for {
		sealed, err := r.next(ctx)
		if err != nil {
			return err
		}
		plaintext, err := opener.Open(sealed)
		if err != nil {
			return problem(ProblemForged, err, "the answer of machine %s was changed on its way, or a piece of it is missing: %v", s.host, err)
		}
		chunk, err := unpacker.Unpack(plaintext)
		if err != nil {
			return problem(ProblemForged, err, "machine %s sent %v", s.host, err)
		}
		if ended, err := r.take(chunk, to); ended || err != nil {
			return err
		}
	}
}

// reader reads the chunks of one answer.
type reader struct {
	conn   *websocket.Conn
	host   wire.HostRef
	buffer []byte
	// reading tells the pings that an answer to them would be seen: while the terminal is slow nothing is read.
	reading atomic.Bool
}

// next is the next sealed chunk, good until the next call.
func (r *reader) next(ctx context.Context) ([]byte, error) {
	r.reading.Store(true)
	kind, frame, err := r.conn.Reader(ctx)
	if err == nil {
		r.buffer, err = wire.ReadFrame(frame, r.buffer)
	}
	r.reading.Store(false)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, r.ended(err)
	case kind != websocket.MessageBinary:
		return nil, problem(ProblemForged, nil, "the gateway sent text where a piece of the answer was expected: it is of another version than this program")
	}
	return r.buffer, nil
}

// ended words the end of a stream that came before the end of the answer.
func (r *reader) ended(err error) error {
	closed, is := errors.AsType[websocket.CloseError](err)
	if !is {
		return problem(ProblemLost, err, "the connection to the gateway broke off before the answer of machine %s was complete", r.host)
	}
	end := wire.StreamEnd(closed.Reason)
	switch {
	case end == wire.StreamExpired:
		return problem(ProblemExpired, err, "the time of the question was over before machine %s had answered all", r.host)
	case strings.HasPrefix(closed.Reason, string(wire.StreamRefused)):
		return refusalError(r.host, wire.RefusalReason(strings.TrimPrefix(closed.Reason, string(wire.StreamRefused))))
	case end == wire.StreamDone:
		return problem(ProblemForged, err, "the gateway says that the answer of machine %s is over, and the machine did not: a part of it is missing", r.host)
	}
	return problem(ProblemLost, err, "the gateway lost machine %s before its answer was complete", r.host)
}

// take gives one chunk to the sink. It tells whether it was the last.
func (r *reader) take(plaintext []byte, to Sink) (ended bool, err error) {
	kind, content, err := wire.DecodeChunk(plaintext)
	if err != nil {
		return false, problem(ProblemForged, err, "machine %s sent %v", r.host, err)
	}
	switch kind {
	case wire.ChunkRecords:
		for record := range bytes.Lines(content) {
			record = bytes.TrimRight(record, "\n")
			if len(record) == 0 || to.Record == nil {
				continue
			}
			if err := to.Record(record); err != nil {
				return false, err
			}
		}
		return false, nil
	case wire.ChunkData:
		if to.Data == nil {
			return false, nil
		}
		return false, to.Data(content)
	case wire.ChunkEnd:
		var end wire.AnswerEnd
		if err := json.Unmarshal(content, &end); err != nil {
			return false, problem(ProblemForged, err, "the end of the answer of machine %s does not parse", r.host)
		}
		return true, answerError(r.host, end)
	}
	return false, nil // of a later version
}

// pings ends a connection on which nothing comes back any more: a follower would wait for ever.
func (r *reader) pings(ctx context.Context, a *Asker) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.Clock.After(pingEvery):
		}
		if !r.reading.Load() {
			continue
		}
		answer, cancel := context.WithTimeout(ctx, pingEvery)
		err := r.conn.Ping(answer)
		cancel()
		if err != nil && r.reading.Load() {
			_ = r.conn.CloseNow()
			return
		}
	}
}
