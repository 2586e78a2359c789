package stream

import (
	"encoding/binary"
)

// header is what a data frame has before its chunk, and a chunk in a buffer: so a buffer holds what the agent was charged.
const header = 4

// keep is how much memory an empty buffer may hold on to, in bytes: a few chunks come and go while the collector is as fast as the agent.
const keep = 256 << 10

// charge is what a chunk costs of the credit: its whole data frame.
func charge(chunk []byte) int64 { return int64(header + len(chunk)) }

// buffer is a queue of chunks in one piece of memory. It is filled, emptied, and then filled again.
type buffer struct {
	memory []byte
	taken  int
}

func (b *buffer) add(chunk []byte) {
	b.memory = append(binary.BigEndian.AppendUint32(b.memory, uint32(len(chunk))), chunk...) // #nosec G115 -- bounded by wire.DecodeData
}

func (b *buffer) empty() bool { return b.taken == len(b.memory) }

// next is nil when the buffer is empty. It is part of the buffer, and good until the next call of add or reset.
func (b *buffer) next() []byte {
	if b.empty() {
		return nil
	}
	from := b.taken + header
	b.taken = from + int(binary.BigEndian.Uint32(b.memory[b.taken:]))
	return b.memory[from:b.taken:b.taken]
}

// reset empties the buffer. It keeps its memory when that is little.
func (b *buffer) reset() {
	b.memory, b.taken = b.memory[:0], 0
	if cap(b.memory) > keep {
		b.drop()
	}
}

func (b *buffer) drop() { *b = buffer{} }
