package stream

import (
	"bytes"
	"encoding/binary"
)

// header is what a data frame has before its chunk, and a chunk in a buffer: so a buffer holds what the agent was charged.
const header = 4

// charge is what a chunk costs of the credit: its whole data frame.
func charge(chunk []byte) int64 { return int64(header + len(chunk)) }

// buffer is a queue of chunks in one piece of memory.
type buffer struct{ bytes.Buffer }

func (b *buffer) add(chunk []byte) {
	b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(chunk)))) // #nosec G115 -- bounded by wire.DecodeData
	b.Write(chunk)
}

// next is nil when the buffer is empty; then it holds no memory.
func (b *buffer) next() []byte {
	if b.Len() == 0 {
		return nil
	}
	size := binary.BigEndian.Uint32(b.Next(header))
	chunk := bytes.Clone(b.Next(int(size)))
	if b.Len() == 0 {
		b.drop()
	}
	return chunk
}

func (b *buffer) drop() { *b = buffer{} }
