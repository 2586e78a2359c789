package query

import (
	"context"
	"sync"

	"github.com/restic-manager/restic-manager/api/wire"
)

// maxCredit is more than an honest gateway ever grants at once.
const maxCredit = 16 * wire.StreamWindow

// credit is how many bytes of frames may still be sent. One goroutine at a time spends it.
type credit struct {
	mu   sync.Mutex
	left int64
	more chan struct{} // has room for one; filled when left grew
}

func newCredit(bytes int64) *credit { return &credit{left: bytes, more: make(chan struct{}, 1)} }

// add is false when nobody could mean so much.
func (c *credit) add(bytes int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left+bytes > maxCredit {
		return false
	}
	c.left += bytes
	select {
	case c.more <- struct{}{}:
	default:
	}
	return true
}

// await returns when at least so much is there.
func (c *credit) await(ctx context.Context, bytes int64) error {
	for {
		c.mu.Lock()
		enough := c.left >= bytes
		c.mu.Unlock()
		if enough {
			return nil
		}
		select {
		case <-c.more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *credit) spend(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left -= bytes
}
