// Package pack makes the chunks of an answer smaller before they are sealed: the lines of a log and of a list shrink to a tenth, and with them what TLS, WebSockets and the
// relay have to do. S2 is as fast as these are, on both sides.
//
// # Use
//
//	sealed, err := sealer.Seal(packer.Pack(chunk))   // the machine
//	chunk, err := unpacker.Unpack(plaintext)       // whoever asked
//
// # Trade-offs
//
// More than wire.MaxChunk may be packed into one chunk: what shrinks to a quarter costs a frame for all its parts, and each frame wakes up four processes.
//
// How far a text shrinks tells of the text. Somebody who watches the sizes, and can also have words of his choice written beside a secret, may learn of it. Logs and
// lists hold no secrets; the content of files may, so the machine does not pack that.
package pack

import (
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/s2"

	"github.com/restic-manager/restic-manager/api/wire"
)

// least is what packing must save, in bytes, to be worth unpacking.
const least = 64

// Packer packs the chunks of one answer, with memory that it uses again. The zero value is ready; not for concurrent use.
type Packer struct{ buffer []byte }

// Pack returns a chunk of kind wire.ChunkPacked that holds the given one, or the given one itself where that is hardly larger. What it returns is good until the next
// call.
func (p *Packer) Pack(chunk []byte) []byte {
	p.buffer = slices.Grow(p.buffer[:0], 1+s2.MaxEncodedLen(len(chunk)))
	packed := append(p.buffer, byte(wire.ChunkPacked))
	packed = packed[:1+len(s2.Encode(packed[1:cap(packed)], chunk))]
	if len(packed)+least > len(chunk) {
		return chunk
	}
	return packed
}

// Unpacker unpacks the chunks of one answer, with memory that it uses again. The zero value is ready; not for concurrent use.
type Unpacker struct{ buffer []byte }

// Unpack returns what Pack was given, good until the next call. What claims to hold more than wire.MaxUnpacked is an error, before any memory is taken for it.
func (u *Unpacker) Unpack(chunk []byte) ([]byte, error) {
	if len(chunk) == 0 || wire.ChunkKind(chunk[0]) != wire.ChunkPacked {
		return chunk, nil
	}
	size, err := s2.DecodedLen(chunk[1:])
	switch {
	case err != nil:
		return nil, fmt.Errorf("a packed chunk: %w", err)
	case size > wire.MaxUnpacked:
		return nil, fmt.Errorf("a packed chunk of %d bytes, at most %d are allowed", size, wire.MaxUnpacked)
	}
	u.buffer = slices.Grow(u.buffer[:0], size)
	plain, err := s2.Decode(u.buffer[:cap(u.buffer)], chunk[1:])
	switch {
	case err != nil:
		return nil, fmt.Errorf("a packed chunk: %w", err)
	case len(plain) > 0 && wire.ChunkKind(plain[0]) == wire.ChunkPacked:
		return nil, errors.New("a packed chunk in a packed chunk")
	}
	return plain, nil
}
