package query

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
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
	// maxPlain is how much goes into one chunk: with what is kept back, no more than a stream's least credit. Of a log, which shrinks, so much waits before it is packed.
	maxPlain = wire.MaxChunk - roomForEnd
	maxLog   = wire.MaxUnpacked / 2
	// leastRead is how much of a log is read at least, in bytes, so long as there is so much.
	leastRead = 32 << 10
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
	frames   [2][]byte     // memory for frames: one is being made while the other one is sent
	turn     int           // of frames
	waits    chan struct{} // has room for one; filled when a chunk begins
	listed   int64
	mostList int64 // that may be listed
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
	if a.listed += int64(len(alone)); a.listed > a.mostList {
		return &refusal{wire.AnswerTooLarge, "the list is longer than 1 GiB: ask for a part of it"}
	}
	if _, err := a.room(wire.ChunkRecords, len(alone)-1); err != nil {
		return err
	}
	a.chunk = append(a.chunk, alone[1:]...)
	return a.flushFull()
}

// Write says a piece of a log or of a file.
func (a *answer) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for n < len(p) {
		room, err := a.room(wire.ChunkData, 1)
		if err != nil {
			return n, err
		}
		piece := p[n:min(len(p), n+room)]
		a.chunk = append(a.chunk, piece...)
		if err := a.flushFull(); err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}

// readAll says what a log holds by now. It is read to where it is packed from, without a copy in between.
func (a *answer) readAll(log io.Reader) (n int64, err error) {
	for err == nil {
		var got int
		got, err = a.read(log)
		n += int64(got)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (a *answer) read(log io.Reader) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	room, err := a.room(wire.ChunkData, 1)
	if err != nil {
		return 0, err
	}
	a.chunk = slices.Grow(a.chunk, min(room, leastRead))
	held := len(a.chunk)
	n, err := log.Read(a.chunk[held:min(cap(a.chunk), held+room)])
	a.chunk = a.chunk[:held+n]
	if len(a.chunk) == 1 { // nothing but its kind
		a.chunk = a.chunk[:0]
	}
	return n, cmp.Or(err, a.flushFull())
}

// most is how much may wait in a chunk of a kind.
func (a *answer) most(kind wire.ChunkKind) int {
	if a.packs && kind == wire.ChunkData {
		return maxLog
	}
	return maxPlain
}

// room begins a chunk of a kind, or goes on with the one that waits, and tells for how much there is room in it. One of another kind, or without so much room, goes first.
func (a *answer) room(kind wire.ChunkKind, least int) (int, error) {
	if len(a.chunk) > 0 && (a.chunk[0] != byte(kind) || len(a.chunk)+least > a.most(kind)) {
		if err := a.flush(); err != nil {
			return 0, err
		}
	}
	if len(a.chunk) == 0 {
		a.chunk = append(a.chunk, byte(kind))
		select {
		case a.waits <- struct{}{}:
		default:
		}
	}
	return a.most(kind) - len(a.chunk), nil
}

// flushFull sends a chunk that is full.
func (a *answer) flushFull() error {
	if len(a.chunk) > 0 && len(a.chunk) >= a.most(wire.ChunkKind(a.chunk[0])) {
		return a.flush()
	}
	return context.Cause(a.work)
}

// flush sends what waits: as one chunk, or in parts where it is too large though it is packed.
func (a *answer) flush() error {
	for len(a.chunk) > 0 {
		part := a.pack(a.chunk)
		sent := len(a.chunk)
		if len(part) > maxPlain {
			sent = maxPlain
			part = a.pack(a.chunk[:sent])
		}
		if err := a.send(a.work, part, roomForEnd); err != nil {
			return err
		}
		rest := copy(a.chunk[1:], a.chunk[sent:]) // behind the kind, which stays
		if a.chunk = a.chunk[:1+rest]; rest == 0 {
			a.chunk = a.chunk[:0]
		}
	}
	return nil
}

func (a *answer) pack(chunk []byte) []byte {
	if a.packs {
		return a.packer.Pack(chunk)
	}
	return chunk
}

// send waits for credit, of which so much must be left over. Only then the chunk takes its place in the sealed stream.
func (a *answer) send(ctx context.Context, plaintext []byte, leave int64) error {
	if err := a.credit.await(ctx, int64(len(plaintext))+wire.ChunkOverhead+leave); err != nil {
		return err
	}
	frame := a.sealer.Seal(wire.AppendData(a.frames[a.turn][:0], a.stream, nil), plaintext)
	a.frames[a.turn] = frame
	a.credit.spend(int64(len(frame)))
	a.sent += int64(len(frame))
	if err := a.out.Data(a.life, frame); err != nil {
		return err
	}
	a.turn = 1 - a.turn
	return nil
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
	return a.send(ctx, a.pack(wire.EndChunk(end)), 0)
}

// complete sends what waits.
func (a *answer) complete() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.flush()
}
