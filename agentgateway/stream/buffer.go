package stream

import (
	"encoding/binary"
	"sync"

	"github.com/restic-manager/restic-manager/api/wire"
)

// header is what a data frame has before its chunk, and a chunk in a buffer: so a buffer holds what the agent was charged.
const header = 4

// charge is what a chunk costs of the credit: its whole data frame.
func charge(chunk []byte) int64 { return int64(header + len(chunk)) }

// blockSize has room for the largest chunk.
const blockSize = header + wire.MaxChunk + wire.ChunkOverhead

// block is memory for chunks.
type block struct {
	memory []byte // as far as it is filled
	taken  int
}

// blocks are used again by whatever stream needs one next: memory that comes and goes with each chunk costs more than the chunk.
var blocks = sync.Pool{New: func() any { return &block{memory: make([]byte, 0, blockSize)} }}

// buffer is a queue of chunks, in few pieces of memory: a million small ones cost what was charged for them, and what is empty has none.
type buffer struct {
	blocks []*block
	held   int // bytes that were charged for
}

func (b *buffer) add(chunk []byte) {
	size := header + len(chunk)
	if n := len(b.blocks); n == 0 || cap(b.blocks[n-1].memory)-len(b.blocks[n-1].memory) < size {
		b.blocks = append(b.blocks, blocks.Get().(*block))
	}
	last := b.blocks[len(b.blocks)-1]
	last.memory = append(binary.BigEndian.AppendUint32(last.memory, uint32(len(chunk))), chunk...) // #nosec G115 -- bounded by wire.DecodeData
	b.held += size
}

// next is nil when the buffer is empty. What it returns is good until the next call.
func (b *buffer) next() []byte {
	if len(b.blocks) > 0 && b.blocks[0].taken == len(b.blocks[0].memory) {
		b.leave()
	}
	if len(b.blocks) == 0 {
		return nil
	}
	first := b.blocks[0]
	from := first.taken + header
	first.taken = from + int(binary.BigEndian.Uint32(first.memory[first.taken:]))
	b.held -= first.taken - from + header
	return first.memory[from:first.taken:first.taken]
}

// leave gives the first block back.
func (b *buffer) leave() {
	empty := b.blocks[0]
	empty.memory, empty.taken = empty.memory[:0], 0
	blocks.Put(empty)
	if b.blocks = b.blocks[1:]; len(b.blocks) == 0 {
		b.blocks = nil
	}
}

// drop forgets all. The blocks are not used again, since somebody may still read what next returned.
func (b *buffer) drop() { *b = buffer{} }
