package outbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/api/wire"
)

// DefaultMaxBytes is the bound of an outbox for which none is given.
const DefaultMaxBytes = 64 << 20

// Errors of Add that a caller tells apart. Any other error is the file system's, and worth trying again.
var (
	// ErrFull: the bound is reached although everything that may be left out was. The caller keeps the report and tries again after
	// the next Ack.
	ErrFull = errors.New("the outbox is full: results wait for the gateway to acknowledge them")
	// ErrInvalid: the report breaks the protocol's limits. Trying again does not help.
	ErrInvalid = errors.New("the report is invalid")
)

// Options of an outbox.
type Options struct {
	// MaxBytes bounds the size of all waiting reports; 0 means DefaultMaxBytes.
	MaxBytes int64
	// Logger is told of reports that were set aside; nil means slog.Default().
	Logger *slog.Logger
}

// Outbox holds the reports that were not acknowledged yet.
type Outbox struct {
	dir      string
	maxBytes int64
	log      *slog.Logger
	changed  chan struct{}
	write    func(path string, data []byte) error

	mu       sync.Mutex
	epoch    string
	acked    int64
	last     int64 // the greatest number ever given out
	entries  []entry
	bytes    int64
	setAside []string
}

// entry is the index's view of one file.
type entry struct {
	seq   int64
	size  int64
	kind  wire.Type
	light bool // nothing in it can be left out any more
}

// Open reads the folder, making it on first use. Damaged reports are set aside; only a folder that cannot be used at all is an
// error.
func Open(dir string, options Options) (*Outbox, error) {
	o := &Outbox{
		dir:      dir,
		maxBytes: options.MaxBytes,
		log:      options.Logger,
		changed:  make(chan struct{}, 1),
		write:    atomicfile.Write,
	}
	if o.maxBytes <= 0 {
		o.maxBytes = DefaultMaxBytes
	}
	if o.log == nil {
		o.log = slog.Default()
	}
	if err := atomicfile.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	if err := atomicfile.CleanTemp(dir); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	if err := o.load(); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	if len(o.entries) > 0 {
		o.wake()
	}
	return o, nil
}

// Add gives the report the next id and stores it. When Add returns nil, the report survives a power loss. When it returns an error,
// the report is not in the outbox, and a second Add of it gives it another id.
func (o *Outbox) Add(report wire.Report) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	seq := o.last + 1
	if len(o.entries) == 0 {
		// Nothing is waiting that the gateway may know by the old epoch.
		if err := o.saveState(newEpoch(), o.acked); err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
	}
	report.SetID(wire.ReportID{Epoch: o.epoch, Seq: seq})
	data, err := encodeEntry(report)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := o.makeRoom(int64(len(data)), report.MessageType()); err != nil {
		return err
	}
	// The number is spent even when the write fails: whether its file reached the disk is not known then.
	o.last = seq
	path := o.path(seq)
	if err := o.write(path, data); err != nil {
		if e := os.Remove(path); e != nil && !errors.Is(e, os.ErrNotExist) {
			o.log.Error("cannot remove a report that was not stored; it may be sent twice", "file", path, "error", e)
		}
		return fmt.Errorf("outbox: %w", err)
	}
	o.entries = append(o.entries, entry{seq: seq, size: int64(len(data)), kind: report.MessageType()})
	o.bytes += int64(len(data))
	o.wake()
	return nil
}

// Pending lists the ids of all waiting reports, in order.
func (o *Outbox) Pending() []wire.ReportID {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := make([]wire.ReportID, 0, len(o.entries))
	for _, e := range o.entries {
		out = append(out, wire.ReportID{Epoch: o.epoch, Seq: e.seq})
	}
	return out
}

// Next returns the first waiting report whose number is greater than after (0 for the very first), and false when there is none.
// A report that turns out to be damaged is set aside and passed over. When a file cannot be read for another cause, Next logs it
// and returns false rather than pass it over: acknowledgements are cumulative, so a later report must not be sent before it.
func (o *Outbox) Next(after int64) (wire.Report, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		i := slices.IndexFunc(o.entries, func(e entry) bool { return e.seq > after })
		if i < 0 {
			return nil, false
		}
		report, err := o.read(o.entries[i].seq)
		if err == nil {
			return report, true
		}
		if !errors.Is(err, errDamaged) && !errors.Is(err, os.ErrNotExist) {
			o.log.Error("cannot read a report; it stays in the outbox", "seq", o.entries[i].seq, "error", err)
			return nil, false
		}
		o.putAside(o.entries[i].seq, err)
		o.forget(i)
	}
}

// Ack removes all reports up to id. An id of another epoch, or one that was acknowledged before, changes nothing. On an error some
// of the reports are still waiting, and the next Ack removes them.
func (o *Outbox) Ack(id wire.ReportID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if id.Epoch != o.epoch {
		o.log.Warn("the gateway acknowledged a report of another outbox; ignored", "report", id.String(), "epoch", o.epoch)
		return nil
	}
	through := min(id.Seq, o.last)
	if through <= o.acked && (len(o.entries) == 0 || o.entries[0].seq > through) {
		return nil
	}
	saved := o.saveState(o.epoch, max(through, o.acked))
	for len(o.entries) > 0 && o.entries[0].seq <= through {
		seq := o.entries[0].seq
		if saved != nil && len(o.entries) == 1 {
			// Without outbox.json this file is the only witness of the numbers that were used.
			break
		}
		if err := os.Remove(o.path(seq)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("outbox: %w", err)
		}
		o.forget(0)
	}
	if saved != nil {
		return fmt.Errorf("outbox: %w", saved)
	}
	// Not synced: what a crash brings back is known by outbox.json to be acknowledged.
	return nil
}

// NewEpoch gives all waiting reports, and those to come, the ids of a new epoch, by one write of outbox.json. It is for a machine that went back in
// time: the numbers that it gives out may be taken. No session may be open, since acknowledgements of the old epoch are ignored from here on.
// On an error nothing changed.
func (o *Outbox) NewEpoch() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.saveState(newEpoch(), o.acked); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}

// Epoch names the sequence of numbers that the waiting reports belong to.
func (o *Outbox) Epoch() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.epoch
}

// Len is the number of waiting reports.
func (o *Outbox) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.entries)
}

// SetAside lists the files that were set aside as damaged since Open.
func (o *Outbox) SetAside() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.setAside)
}

// Changed delivers after reports were added, and once after an Open that found some. It is for one reader; several additions may
// come as one.
func (o *Outbox) Changed() <-chan struct{} { return o.changed }

func (o *Outbox) wake() {
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// forget takes an entry out of the index.
func (o *Outbox) forget(i int) {
	o.bytes -= o.entries[i].size
	o.entries = slices.Delete(o.entries, i, i+1)
}

func newEpoch() string { return rand.Text() }
