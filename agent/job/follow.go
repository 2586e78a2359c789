package job

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// Log tells where the job of a log stands; false when neither the job nor a log of it is known. Offset is left to the reader.
func (m *Manager) Log(id string) (wire.LogRecord, bool) {
	if !idPattern.MatchString(id) {
		return wire.LogRecord{}, false
	}
	// The ledger is asked before the tasks: what it holds as started, and is no task afterwards, has ended.
	e, known := m.ledger.lookup(id)
	m.mu.Lock()
	if t := m.tasks[id]; t != nil {
		defer m.mu.Unlock()
		r := logRecord(t.job.Ref, wire.LogWaiting, t.started)
		if !t.started.IsZero() {
			r.State, r.NotVerbose = wire.LogRunning, t.quiet
		}
		return r, true
	}
	m.mu.Unlock()
	if !known {
		_, err := os.Stat(m.logs.path(id))
		return wire.LogRecord{JobID: id, State: wire.LogEnded}, err == nil
	}
	record, err := m.ledger.get(id)
	switch {
	case err != nil:
		return wire.LogRecord{JobID: id, State: wire.LogEnded}, true
	case e.state == StateAccepted: // on its way into the queue, or out of it
		return logRecord(record.Job, wire.LogWaiting, time.Time{}), true
	}
	r := logRecord(record.Job, wire.LogEnded, record.StartedAt)
	if record.Result != nil {
		r.Outcome = record.Result.Outcome
	}
	return r, true
}

func logRecord(job wire.JobRef, state wire.LogState, started time.Time) wire.LogRecord {
	r := wire.LogRecord{JobID: job.JobID, Kind: job.Kind, Group: job.SourceGroup, Schedule: job.Schedule, State: state}
	if !started.IsZero() {
		r.StartTime = new(started.UTC())
	}
	return r
}

// NewestLog is the job whose log a person means who names none: the one that runs, or else the one that began last; previous is the one before it. A group
// narrows it to its backups.
func (m *Manager) NewestLog(group string, previous bool) (id string, found bool) {
	type begun struct {
		id      string
		at      time.Time
		running bool
	}
	var all []begun
	m.mu.Lock()
	for id, t := range m.tasks {
		if !t.started.IsZero() && (group == "" || t.job.Ref.SourceGroup == group) {
			all = append(all, begun{id, t.started, true})
		}
	}
	m.mu.Unlock()
	running := slices.Clone(all)
	for id, written := range m.logs.list() {
		if slices.ContainsFunc(running, func(b begun) bool { return b.id == id }) {
			continue
		}
		r, err := m.ledger.get(id)
		switch {
		case err == nil && (group == "" || r.Job.SourceGroup == group):
			all = append(all, begun{id: id, at: r.StartedAt})
		case errors.Is(err, ErrUnknown) && group == "":
			all = append(all, begun{id: id, at: written})
		}
	}
	slices.SortFunc(all, func(a, b begun) int {
		if a.running != b.running {
			if a.running {
				return -1
			}
			return 1
		}
		return b.at.Compare(a.at)
	})
	if previous && len(all) > 0 {
		all = all[1:]
	}
	if len(all) == 0 {
		return "", false
	}
	return all[0].id, true
}

// list gives the ids that have a log, and when it was last written.
func (l *logs) list() map[string]time.Time {
	files, err := os.ReadDir(l.dir)
	if err != nil {
		l.logger.Warn("the folder of the logs cannot be read", "error", err)
		return nil
	}
	out := map[string]time.Time{}
	for _, f := range files {
		id, ok := strings.CutSuffix(f.Name(), logSuffix)
		if info, err := f.Info(); ok && err == nil && info.Mode().IsRegular() {
			out[id] = info.ModTime()
		}
	}
	return out
}

// OpenLog opens what is there of a job's log; fs.ErrNotExist when there is none.
func (m *Manager) OpenLog(id string) (*os.File, error) {
	if !idPattern.MatchString(id) {
		return nil, &fs.PathError{Op: "open", Path: filepath.Join(m.logs.dir, "(no job id)"), Err: fs.ErrNotExist}
	}
	return os.Open(m.logs.path(id))
}

// FlushLog puts what a running job has said by now into its log.
func (m *Manager) FlushLog(id string) { m.logs.flush(id) }

// Follow gives a bell that rings after each line of a job's log, and when the job was accepted, began and ended. It rings once for all that happened since it
// was last heard. The job need not be known yet.
func (m *Manager) Follow(id string) (bell <-chan struct{}, stop func()) { return m.followers.add(id) }

// followers are those who follow logs. Its zero value is ready.
type followers struct {
	mu    sync.Mutex
	bells map[*follower]struct{}
}

type follower struct {
	id   string
	bell chan struct{}
}

func (f *followers) add(id string) (bell <-chan struct{}, stop func()) {
	one := &follower{id, make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bells == nil {
		f.bells = map[*follower]struct{}{}
	}
	f.bells[one] = struct{}{}
	return one.bell, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.bells, one)
	}
}

func (f *followers) ring(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for one := range f.bells {
		if one.id != id {
			continue
		}
		select {
		case one.bell <- struct{}{}:
		default: // it has not been heard since it rang last
		}
	}
}
