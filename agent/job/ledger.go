package job

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/api/wire"
)

// State of a job in the ledger.
type State string

// The states, in their order.
const (
	StateAccepted State = "Accepted"
	StateStarted  State = "Started"
	StateFinished State = "Finished"
)

const (
	// keepFinished is how long an id is remembered after its job ended: longer than a fire or command could come again.
	keepFinished = 30 * 24 * time.Hour
	// keepBeyond is how long it is remembered beyond its NotAfter, for clocks that are wrong.
	keepBeyond = 24 * time.Hour
	// maxRecords bounds the ledger; the oldest finished and delivered go first.
	maxRecords = 20_000
)

// record is what the ledger keeps of a job: one file each.
type record struct {
	Job        wire.JobRef       `json:"job"`
	State      State             `json:"state"`
	URL        string            `json:"url"` // redacted
	AcceptedAt time.Time         `json:"acceptedAt"`
	StartedAt  time.Time         `json:"startedAt,omitzero"`
	NotAfter   time.Time         `json:"notAfter,omitzero"`
	Offline    bool              `json:"offline,omitempty"`
	Forever    bool              `json:"forever,omitempty"`
	Result     *wire.JobFinished `json:"result,omitempty"`
	Delivered  bool              `json:"delivered,omitempty"`
}

// entry is what memory keeps of a record.
type entry struct {
	state     State
	delivered bool
	keepUntil time.Time
	forever   bool
}

// ledger remembers job ids durably. Its mutex is held during writes.
type ledger struct {
	dir    string
	logger *slog.Logger

	mu      sync.Mutex
	entries map[string]entry
}

// A job id is a file name, and nothing else in a path.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$`)

const recordSuffix = ".json"

// openLedger reads the folder. A damaged record still holds its id by its name: that id is never run again.
func openLedger(dir string, logger *slog.Logger) (*ledger, error) {
	if err := atomicfile.MkdirAll(dir); err != nil {
		return nil, err
	}
	if err := atomicfile.CleanTemp(dir); err != nil {
		return nil, err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	l := &ledger{dir: dir, logger: logger, entries: make(map[string]entry, len(files))}
	for _, f := range files {
		id, ok := strings.CutSuffix(f.Name(), recordSuffix)
		if !ok || !idPattern.MatchString(id) {
			continue
		}
		r, err := l.read(id)
		if err != nil {
			logger.Error("a record of the job ledger is damaged; its job is not run again", "job", id, "error", err)
			l.entries[id] = entry{state: StateFinished, delivered: true, forever: true}
			continue
		}
		l.entries[id] = r.entry()
	}
	return l, nil
}

func (r *record) entry() entry {
	e := entry{state: r.State, delivered: r.Delivered, forever: r.Forever}
	if r.Result != nil {
		e.keepUntil = r.Result.FinishedAt.Add(keepFinished)
	}
	if until := r.NotAfter.Add(keepBeyond); !r.NotAfter.IsZero() && until.After(e.keepUntil) {
		e.keepUntil = until
	}
	return e
}

func (l *ledger) path(id string) string { return filepath.Join(l.dir, id+recordSuffix) }

func (l *ledger) read(id string) (*record, error) {
	raw, err := os.ReadFile(l.path(id))
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, err
	}
	if r.Job.JobID != id || r.State == "" {
		return nil, errors.New("it is about another job")
	}
	return &r, nil
}

func (l *ledger) write(r *record) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(l.path(r.Job.JobID), append(raw, '\n')); err != nil {
		return fmt.Errorf("the job ledger cannot be written: %w", err)
	}
	l.entries[r.Job.JobID] = r.entry()
	return nil
}

// accept adds an id, or returns ErrKnown.
func (l *ledger) accept(r *record) error {
	if !idPattern.MatchString(r.Job.JobID) {
		return fmt.Errorf("job id %q has characters other than letters, digits, dot, dash and underscore", r.Job.JobID)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.entries[r.Job.JobID]; known {
		return ErrKnown
	}
	r.State = StateAccepted
	return l.write(r)
}

func (l *ledger) start(r *record, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.State, r.StartedAt = StateStarted, now
	return l.write(r)
}

func (l *ledger) finish(r *record, result wire.JobFinished) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.State, r.Result = StateFinished, &result
	return l.write(r)
}

// delivered keeps the result without its log tail: the log itself is on disk, and thousands of tails would be most of the ledger.
func (l *ledger) delivered(r *record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Delivered = true
	brief, result := *r, *r.Result
	result.LogTail = ""
	brief.Result = &result
	return l.write(&brief)
}

func (l *ledger) lookup(id string) (entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[id]
	return e, ok
}

// get reads a record back.
func (l *ledger) get(id string) (*record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.entries[id]; !ok {
		return nil, ErrUnknown
	}
	return l.read(id)
}

// open lists what is not finished, or not delivered, oldest first.
func (l *ledger) open() []*record {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*record
	for id, e := range l.entries {
		if e.state == StateFinished && e.delivered {
			continue
		}
		if r, err := l.read(id); err == nil {
			out = append(out, r)
		} else {
			l.logger.Error("a record of the job ledger cannot be read", "job", id, "error", err)
		}
	}
	slices.SortFunc(out, func(a, b *record) int {
		return cmp.Or(a.AcceptedAt.Compare(b.AcceptedAt), strings.Compare(a.Job.JobID, b.Job.JobID))
	})
	return out
}

// prune forgets ids whose time is over, and the oldest beyond maxRecords.
func (l *ledger) prune(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var over []string
	for id, e := range l.entries {
		if e.state == StateFinished && e.delivered && !e.forever && now.After(e.keepUntil) {
			over = append(over, id)
		}
	}
	if excess := len(l.entries) - len(over) - maxRecords; excess > 0 {
		var done []string
		for id, e := range l.entries {
			if e.state == StateFinished && e.delivered && !e.forever && !now.After(e.keepUntil) {
				done = append(done, id)
			}
		}
		slices.SortFunc(done, func(a, b string) int { return l.entries[a].keepUntil.Compare(l.entries[b].keepUntil) })
		over = append(over, done[:min(excess, len(done))]...)
	}
	for _, id := range over {
		if err := os.Remove(l.path(id)); err != nil {
			l.logger.Warn("an old record of the job ledger cannot be removed", "job", id, "error", err)
			continue
		}
		delete(l.entries, id)
	}
}
