package query

import (
	"context"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/pack"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

const (
	// flushEvery is how long records and data may wait for more of their kind.
	flushEvery = 200 * time.Millisecond
	// maxListing bounds the records of one answer, in bytes.
	maxListing = 1 << 30
	// maxEnd bounds the message of an AnswerEnd. roomForEnd is credit that is kept for it, so that it never waits for a collector that is slow; JSON may need
	// six bytes for one.
	maxEnd     = 1 << 10
	roomForEnd = 8 << 10
	// maxPlain is how much goes into one chunk: with what is kept back, no more than a stream's least credit.
	maxPlain = wire.MaxChunk - roomForEnd
)

// answer seals what is said in answer to a query, chunk by chunk. Its methods may be called from several goroutines.
type answer struct {
	stream uint32
	out    Outlet
	credit *credit
	clock  clock.Clock
	// packs: chunks are made smaller. All but the content of files: see package pack.
	packs bool
	// life ends when nobody listens any more, work when the answer is to end.
	life, work context.Context

	mu       sync.Mutex
	sealer   *seal.StreamSealer
	packer   pack.Packer
	chunk    []byte        // what waits for more
	waits    chan struct{} // has room for one; filled when a chunk begins
	listed   int64
	most     int64 // that may be listed
	sent     int64
	finished bool
}

// record says one record.
func (a *answer) record(v any) error {
	alone, err := wire.AppendRecord(nil, v)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listed += int64(len(alone)); a.listed > a.most {
		return &refusal{wire.AnswerTooLarge, "the list is longer than 1 GiB: ask for a part of it"}
	}
	return a.append(wire.ChunkRecords, alone[1:])
}

// Write says a piece of a log or of a file.
func (a *answer) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for n < len(p) {
		room := maxPlain - 1
		if len(a.chunk) > 1 && a.chunk[0] == byte(wire.ChunkData) && len(a.chunk) < maxPlain {
			room = maxPlain - len(a.chunk)
		}
		piece := p[n:min(len(p), n+room)]
		if err := a.append(wire.ChunkData, piece); err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}

// append adds to the chunk that waits. One of another kind, or without room, goes first; a full one goes at once.
func (a *answer) append(kind wire.ChunkKind, p []byte) error {
	if len(a.chunk) > 0 && (a.chunk[0] != byte(kind) || len(a.chunk)+len(p) > maxPlain) {
		if err := a.flush(); err != nil {
			return err
		}
	}
	if len(a.chunk) == 0 {
		a.chunk = append(a.chunk, byte(kind))
		select {
		case a.waits <- struct{}{}:
		default:
		}
	}
	a.chunk = append(a.chunk, p...)
	if len(a.chunk) >= maxPlain {
		return a.flush()
	}
	return context.Cause(a.work)
}

func (a *answer) flush() error {
	if len(a.chunk) == 0 {
		return nil
	}
	if err := a.send(a.work, a.chunk, roomForEnd); err != nil {
		return err
	}
	a.chunk = a.chunk[:0]
	return nil
}

// send waits for credit, of which so much must be left over. Only then the chunk takes its place in the sealed stream.
func (a *answer) send(ctx context.Context, plaintext []byte, leave int64) error {
	if a.packs {
		plaintext = a.packer.Pack(plaintext)
	}
	if err := a.credit.await(ctx, int64(len(plaintext))+wire.ChunkOverhead+leave); err != nil {
		return err
	}
	sealed, err := a.sealer.Seal(plaintext)
	if err != nil {
		return err
	}
	frame := wire.EncodeData(a.stream, sealed)
	a.credit.spend(int64(len(frame)))
	a.sent += int64(len(frame))
	return a.out.Data(a.life, frame)
}

// flushInTime sends what waits when it has waited long enough, until the work ends.
func (a *answer) flushInTime() {
	for {
		select {
		case <-a.waits:
		case <-a.work.Done():
			return
		}
		timer := a.clock.NewTimer(flushEvery)
		select {
		case <-timer.C():
		case <-a.work.Done():
			timer.Stop()
			return
		}
		a.mu.Lock()
		if !a.finished {
			_ = a.flush() // whoever appends next gets the error
		}
		a.mu.Unlock()
	}
}

// end says that the answer is over. What still waits is left out: there was no credit for it while there was time.
func (a *answer) end(ctx context.Context, end wire.AnswerEnd) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.finished = true
	end.Message = wire.Cut(end.Message, maxEnd)
	return a.send(ctx, wire.EndChunk(end), 0)
}

// complete sends what waits.
func (a *answer) complete() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.flush()
}
