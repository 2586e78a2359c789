package session

import (
	"sync"

	"github.com/restic-manager/restic-manager/api/wire"
)

// largestKept is the largest memory for a frame that is used again: what a data frame needs, twice for growing.
const largestKept = 2 * (wire.MaxChunk + wire.ChunkOverhead)

// frames is memory for frames that are being read. A session takes some when a frame has begun to come, and has none while it waits: ten thousand idle ones share what
// those need that say something.
var frames = sync.Pool{New: func() any { return new([]byte) }}

func giveBack(buffer *[]byte) {
	if cap(*buffer) <= largestKept {
		frames.Put(buffer)
	}
}
