package outbox

import (
	"fmt"
	"os"
	"slices"

	"github.com/restic-manager/restic-manager/api/wire"
)

// makeRoom brings the outbox below its bound for one more report of that size, or returns ErrFull.
func (o *Outbox) makeRoom(size int64, kind wire.Type) error {
	if o.bytes+size <= o.maxBytes {
		return nil
	}
	for _, only := range []wire.Type{wire.TypeRepoState, wire.TypeRepoStats} {
		if err := o.keepNewest(only, kind == only); err != nil {
			return err
		}
	}
	for i := 0; i < len(o.entries) && o.bytes+size > o.maxBytes; i++ {
		if err := o.lighten(i); err != nil {
			return err
		}
	}
	if o.bytes+size > o.maxBytes {
		return fmt.Errorf("%w (%d reports, %d bytes)", ErrFull, len(o.entries), o.bytes)
	}
	return nil
}

// keepNewest removes all reports of a type but the newest; that one too when a newer is about to be added.
func (o *Outbox) keepNewest(only wire.Type, newerComes bool) error {
	kept := newerComes
	for i, e := range slices.Backward(o.entries) {
		if e.kind != only {
			continue
		}
		if !kept {
			kept = true
			continue
		}
		if i == len(o.entries)-1 {
			// Its file is the only witness of the greatest number until the newer one is written.
			continue
		}
		if err := os.Remove(o.path(e.seq)); err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
		o.forget(i)
	}
	return nil
}

// lighten leaves the log tail out of a waiting result.
func (o *Outbox) lighten(i int) error {
	e := &o.entries[i]
	if e.light || e.kind != wire.TypeJobFinished {
		return nil
	}
	report, err := o.read(e.seq)
	if err != nil {
		// Next deals with a damaged file.
		return nil
	}
	e.light = true
	finished, ok := report.(*wire.JobFinished)
	if !ok || finished.LogTail == "" {
		return nil
	}
	finished.LogTail = ""
	data, err := encodeEntry(finished)
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	if err := o.write(o.path(e.seq), data); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	o.log.Warn("the outbox is full; the log tail of an old result is left out", "seq", e.seq, "job", finished.Job.JobID)
	o.bytes += int64(len(data)) - e.size
	e.size = int64(len(data))
	return nil
}
