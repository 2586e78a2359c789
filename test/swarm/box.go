package swarm

import (
	"crypto/rand"
	"fmt"
	"slices"
	"sync"

	"github.com/restic-manager/restic-manager/agent/outbox"
	"github.com/restic-manager/restic-manager/api/wire"
)

// box is an outbox in memory: what package outbox promises of ids, epochs, order and acknowledgements, without files and without a bound.
type box struct {
	changed chan struct{}

	mu    sync.Mutex
	epoch string
	last  int64
	acked int64
	// waiting are the reports that were not acknowledged, in order.
	waiting []wire.Report
}

func newBox() *box { return &box{changed: make(chan struct{}, 1), epoch: rand.Text()} }

// Add implements delivery.Box.
func (b *box) Add(report wire.Report) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		b.epoch = rand.Text()
	}
	report.SetID(wire.ReportID{Epoch: b.epoch, Seq: b.last + 1})
	if err := report.Validate(); err != nil {
		return fmt.Errorf("%w: %w", outbox.ErrInvalid, err)
	}
	b.last++
	b.waiting = append(b.waiting, report)
	select {
	case b.changed <- struct{}{}:
	default:
	}
	return nil
}

// Next implements delivery.Box.
func (b *box) Next(after int64) (wire.Report, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, report := range b.waiting {
		if seq := report.ID().Seq; seq > after {
			report.SetID(wire.ReportID{Epoch: b.epoch, Seq: seq})
			return report, true
		}
	}
	return nil, false
}

// Ack implements delivery.Box.
func (b *box) Ack(id wire.ReportID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id.Epoch != b.epoch {
		return nil
	}
	b.acked = max(b.acked, min(id.Seq, b.last))
	b.waiting = slices.DeleteFunc(b.waiting, func(r wire.Report) bool { return r.ID().Seq <= b.acked })
	if len(b.waiting) == 0 {
		b.waiting = nil // most of the time there is none
	}
	return nil
}

// NewEpoch is that of package outbox.
func (b *box) NewEpoch() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.epoch = rand.Text()
	return nil
}

// Epoch implements delivery.Box.
func (b *box) Epoch() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.epoch
}

// Len implements delivery.Box.
func (b *box) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}

// Changed implements delivery.Box.
func (b *box) Changed() <-chan struct{} { return b.changed }
