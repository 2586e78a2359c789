package cron

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/api/cronspec"
	"github.com/restic-manager/restic-manager/api/wire"
)

// maxWait is the longest wait before the wall clock is looked at again.
const maxWait = 30 * time.Second

// Cron hands out fires. See the package documentation.
type Cron struct {
	host    wire.HostRef
	file    atomicfile.File
	handler Handler
	clock   clock.Clock
	logger  *slog.Logger
	wake    chan struct{}

	mu       sync.Mutex
	revision string
	cursors  map[key]*cursor
	entries  map[key]*entry
}

// entry is an active schedule and group.
type entry struct {
	cursor   *cursor
	spec     *cronspec.Spec
	jitter   time.Duration
	schedule wire.Schedule
	// from is how far fires were handed out: the cursor's time, or later where fires are not settled yet.
	from time.Time
	// unsettled are the nominal times handed out and not settled, oldest first and bounded like the cursor's.
	unsettled []string
	next      cronspec.Fire
}

// Open reads the state file. An unreadable one is set aside with an error in the log.
func Open(options Options) (*Cron, error) {
	c := &Cron{host: options.Host, handler: options.Handler, clock: options.Clock, logger: options.Logger,
		wake: make(chan struct{}, 1), entries: make(map[key]*entry), file: options.File}
	if c.file == nil {
		c.file = atomicfile.At(options.Path)
	}
	if c.clock == nil {
		c.clock = clock.Real{}
	}
	if c.logger == nil {
		c.logger = slog.Default()
	}
	cursors, err := load(c.file)
	if errors.Is(err, errCorrupt) {
		c.logger.Error("fires that were missed before this start are not caught up", "error", err)
	} else if err != nil {
		return nil, fmt.Errorf("cron state: %w", err)
	}
	c.cursors = cursors
	return c, nil
}

// Update puts a set in force; nil means that there is none (yet). It returns an error when an expression is not understood, which stops the fires of that
// schedule alone, or when the state file cannot be written.
func (c *Cron) Update(set *wire.ScheduleSet) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.poke()
	before := c.entries
	c.entries = make(map[key]*entry)
	if set == nil {
		return nil
	}
	now := c.now()
	c.revision = set.Revision
	var errs []error
	kept := make(map[key]*cursor)
	if !set.Tombstone {
		for _, schedule := range set.Schedules {
			if err := c.add(schedule, set.Suspended, before, kept, now); err != nil {
				errs = append(errs, err)
			}
		}
	}
	c.cursors = kept
	return errors.Join(append(errs, c.saveLocked())...)
}

func (c *Cron) add(schedule wire.Schedule, hostSuspended bool, before map[key]*entry, kept map[key]*cursor, now time.Time) error {
	spec, err := cronspec.Parse(schedule.Cron, schedule.TimeZone)
	if err != nil {
		return fmt.Errorf("schedule %s does not fire: %w", schedule.Name, err)
	}
	suspended := hostSuspended || schedule.Suspended
	jitter := cronspec.Jitter(cronspec.JitterKey(c.host.Namespace, c.host.Name, schedule.Name), time.Duration(schedule.JitterSeconds)*time.Second)
	for _, group := range schedule.Groups {
		k := key{schedule.Name, group}
		e := &entry{spec: spec, jitter: jitter, schedule: schedule}
		cur := c.cursors[k]
		switch {
		case cur == nil:
			cur = &cursor{Schedule: schedule.Name, Group: group, At: now}
		case cur.Cron != schedule.Cron || cur.TimeZone != schedule.TimeZone || cur.Suspended:
			cur.At = now
		default:
			if old := before[k]; old != nil {
				e.from, e.unsettled = old.from, old.unsettled
			}
		}
		cur.Cron, cur.TimeZone, cur.Suspended = schedule.Cron, schedule.TimeZone, suspended
		kept[k] = cur
		if suspended {
			continue
		}
		e.cursor = cur
		if e.from.Before(cur.At) {
			e.from = cur.At
		}
		e.plan()
		c.entries[k] = e
	}
	return nil
}

func (e *entry) plan() { e.next, _ = e.spec.Next(e.from) }

// Next is when the next fire is due; false when none is planned.
func (c *Cron) Next() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var next time.Time
	for _, e := range c.entries {
		if e.next.At.IsZero() {
			continue
		}
		if due := e.next.At.Add(e.jitter); next.IsZero() || due.Before(next) {
			next = due
		}
	}
	return next.UTC(), !next.IsZero()
}

// Run hands out fires until ctx ends, and returns its error.
func (c *Cron) Run(ctx context.Context) error {
	for {
		fires, wait := c.due()
		for _, f := range fires {
			c.handler.Fire(f)
		}
		timer := c.clock.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-c.wake:
			timer.Stop()
		case <-timer.C():
		}
	}
}

// due collects what is due now, and says how long to wait before looking again.
func (c *Cron) due() ([]Fire, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	wait := maxWait
	var fires []Fire
	for _, e := range c.entries {
		e.rewind(now)
		if f, ok := c.take(e, now); ok {
			fires = append(fires, f)
		}
		if !e.next.At.IsZero() {
			wait = min(wait, e.next.At.Add(e.jitter).Sub(now))
		}
	}
	slices.SortFunc(fires, func(a, b Fire) int {
		return cmp.Or(a.Due.Compare(b.Due), compareKeys(key{a.Schedule, a.SourceGroup}, key{b.Schedule, b.SourceGroup}))
	})
	return fires, max(wait, 0)
}

// rewind follows a clock that jumped back, maybe up to maxWait ago. Smaller corrections are sat out: the clock is back soon.
func (e *entry) rewind(now time.Time) {
	if e.from.Sub(now) <= maxWait {
		return
	}
	e.from = now.Add(-maxWait)
	if e.cursor.At.After(e.from) {
		e.cursor.At = e.from
	}
	e.plan()
}

// take hands out the latest fire of e that is due and was not handed out before.
func (c *Cron) take(e *entry, now time.Time) (Fire, bool) {
	if e.next.At.IsZero() || e.next.At.Add(e.jitter).After(now) {
		return Fire{}, false
	}
	latest, ok := e.spec.Prev(now.Add(-e.jitter))
	if !ok || !latest.At.After(e.from) {
		latest = e.next
	}
	skipped := 0
	for _, f := range e.spec.Between(e.from, latest.At.Add(-1), maxSkipped) {
		if !e.handedOut(f.Nominal) {
			skipped++
		}
	}
	e.from = latest.At
	e.plan()
	if e.handedOut(latest.Nominal) {
		return Fire{}, false
	}
	e.unsettled = append(e.unsettled, latest.Nominal)
	if n := len(e.unsettled) - maxHandedOut; n > 0 {
		e.unsettled = slices.Delete(e.unsettled, 0, n)
	}
	return c.fire(e, latest, skipped, now), true
}

// maxSkipped bounds the counting.
const maxSkipped = 1000

func (e *entry) handedOut(nominal string) bool {
	return e.cursor.handedOut(nominal) || slices.Contains(e.unsettled, nominal)
}

func (c *Cron) fire(e *entry, at cronspec.Fire, skipped int, now time.Time) Fire {
	k := e.cursor.key()
	f := Fire{
		Fire: wire.Fire{
			JobID:    wire.FireID(c.host, k.schedule, k.group, at.Nominal),
			Schedule: k.schedule, SourceGroup: k.group, Nominal: at.Nominal,
			Due: at.At.Add(e.jitter).UTC(), Revision: c.revision,
		},
		At:               at.At.UTC(),
		Skipped:          skipped,
		WhenDisconnected: e.schedule.WhenDisconnected,
		StartingDeadline: time.Duration(e.schedule.StartingDeadlineSeconds) * time.Second,
	}
	late := now.Sub(f.Due)
	if f.StartingDeadline > 0 && late > f.StartingDeadline {
		f.Missed = true
		f.Message = fmt.Sprintf("The backup of %s (%s) did not start in time: the agent did not run, or the machine slept, until %v after it was due, and schedule %s allows %v. "+
			"The next one runs as planned; a longer startingDeadline lets the agent catch up.",
			f.Nominal, e.schedule.TimeZone, late.Round(time.Second), k.schedule, f.StartingDeadline)
	}
	log := c.logger.With("schedule", k.schedule, "group", k.group, "nominal", at.Nominal, "job", f.JobID)
	switch {
	case f.Missed:
		log.Warn("a fire was missed", "late", late.String(), "earlierOnes", skipped)
	case skipped > 0 || late > maxWait:
		log.Info("a fire is caught up", "late", late.String(), "earlierOnes", skipped)
	}
	return f
}

// Settle remembers durably that f needs no more care: it is in the ledger, was refused, or was reported as missed. An error means that a
// restart would hand it out again.
func (c *Cron) Settle(f Fire) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	cur := c.cursors[key{f.Schedule, f.SourceGroup}]
	if cur == nil {
		return nil // removed meanwhile
	}
	cur.handOut(f.Nominal)
	// After a jump back f may lie in the future; it must not hold up what comes before it.
	if f.At.After(cur.At) && !f.At.After(c.now()) {
		cur.At = f.At
	}
	if e := c.entries[cur.key()]; e != nil {
		e.unsettled = slices.DeleteFunc(e.unsettled, func(n string) bool { return n == f.Nominal })
	}
	return c.saveLocked()
}

func (c *Cron) saveLocked() error {
	raw, err := encode(c.cursors)
	if err == nil {
		err = c.file.Write(raw)
	}
	if err != nil {
		return fmt.Errorf("cron state: %w", err)
	}
	return nil
}

// now is the wall clock without its monotonic reading, which would hide jumps.
func (c *Cron) now() time.Time { return c.clock.Now().Round(0) }

func (c *Cron) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.schedule, b.schedule), cmp.Compare(a.group, b.group))
}
