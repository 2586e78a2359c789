// Package footprint keeps an agent that has nothing to do small.
//
// # Use
//
//	(&footprint.Keeper{Clock: clock.Real{}, Busy: func() bool { return len(jobs.Running()) > 0 }}).Run(ctx)
//
// # Internals
//
// Once a minute it looks at what the process has in memory, which is one small file of /proc. When that is more than an agent at rest needs, and no job runs, free
// heap goes back to the kernel, and so do the pages of the program's own file: most of them were needed once, at the start or by a job, and whoever needs one again
// finds it in the page cache. What did not help is not done again before there is clearly more.
package footprint

import (
	"context"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock"
)

const (
	every = time.Minute
	// enough is what an agent at rest may have in memory, in bytes: less than that comes back by itself, page by page, and to release it each minute is most of what an idle agent does.
	// slack is how much more than after the last time is worth another.
	enough = 11 << 20
	slack  = 2 << 20
)

// Keeper looks after the memory of this process. Clock and Busy are required.
type Keeper struct {
	Clock clock.Clock
	// Busy tells whether something runs that needs its memory.
	Busy func() bool

	// left is what there was after the last release, in bytes.
	left int64
}

// Run works until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	k.run(ctx, func() { k.look(resident, release) })
}

func (k *Keeper) run(ctx context.Context, look func()) {
	for {
		timer := k.Clock.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C():
		}
		look()
	}
}

// look releases memory when there is more of it than an agent at rest needs. Where it cannot be told how much there is, nothing is done.
func (k *Keeper) look(resident func() (int64, bool), release func()) {
	now, known := resident()
	if !known || now <= max(enough, k.left+slack) || k.Busy() {
		return
	}
	release()
	k.left, _ = resident()
}
