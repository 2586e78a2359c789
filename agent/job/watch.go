package job

import (
	"fmt"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

const (
	progressEvery = time.Second
	flushEvery    = time.Second
	// flushFirst lines are flushed one by one, so that a short log is on disk when the agent is killed.
	flushFirst = 100
)

// watch hears one job's restic: log, progress, and the state of the repository. restic calls it from one goroutine at a time; mu is for the notes of the job's
// own goroutine.
type watch struct {
	manager *Manager
	ref     wire.JobRef
	view    view
	log     *logFile

	mu       sync.Mutex
	last     wire.JobProgress
	lastSent time.Time
	lines    int
	flushed  time.Time
}

var _ restic.Observer = (*watch)(nil)

func (m *Manager) watch(j *Job) *watch {
	return &watch{manager: m, ref: j.Ref, view: m.view(j), log: m.logs.create(j.Ref.JobID), last: wire.JobProgress{Job: j.Ref}}
}

// Progress implements restic.Observer.
func (w *watch) Progress(p restic.Progress) {
	w.mu.Lock()
	retrying, attempt := w.last.Retrying, w.last.Attempt
	w.last = wire.JobProgress{Job: w.ref, FilesDone: count(p.FilesDone), FilesTotal: count(p.FilesTotal), BytesDone: count(p.BytesDone), BytesTotal: count(p.BytesTotal),
		Errors: count(p.Errors), SecondsRemaining: int64(p.Remaining / time.Second), Retrying: retrying, Attempt: attempt}
	w.mu.Unlock()
	w.send()
}

// Retrying implements restic.Observer.
func (w *watch) Retrying(r restic.Retry) {
	w.view.retry(r)
	w.mu.Lock()
	w.last.Retrying = ""
	if !r.Recovered {
		w.last.Retrying = cutText(orElse(r.Reason, string(r.Kind)))
	}
	w.mu.Unlock()
	w.send()
}

// attempt begins the numbers anew.
func (w *watch) attempt(number int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = wire.JobProgress{Job: w.ref}
	if number > 1 {
		w.last.Attempt = int64(number)
	}
}

// waiting is the progress of a job that waits for its next attempt.
func (w *watch) waiting(text string, next int) wire.JobProgress {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last.Retrying, w.last.Attempt = text, int64(next)
	return w.last
}

// send tells the latest numbers, at most once a second; what is held back goes with the next, and restic has numbers every second.
func (w *watch) send() {
	w.mu.Lock()
	now := w.manager.now()
	if since := now.Sub(w.lastSent); since >= 0 && since < progressEvery {
		w.mu.Unlock()
		return
	}
	w.lastSent = now
	p := w.last
	w.mu.Unlock()
	w.manager.options.Observer.Progress(p)
}

// Line implements restic.Observer.
func (w *watch) Line(l restic.Line) {
	mark := ""
	if l.Error {
		mark = "stderr: "
	}
	w.write(l.Time, mark, l.Text)
}

// note is a line of the agent itself.
func (w *watch) note(format string, args ...any) {
	w.write(w.manager.now(), "agent: ", fmt.Sprintf(format, args...))
}

func (w *watch) write(at time.Time, mark, text string) {
	defer w.manager.followers.ring(w.ref.JobID)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log.line(at, mark, text)
	w.lines++
	now := w.manager.now()
	if since := now.Sub(w.flushed); w.lines > flushFirst && since >= 0 && since < flushEvery {
		return
	}
	w.flushed = now
	if err := w.log.flush(); err != nil && w.lines == 1 {
		w.manager.options.Logger.Warn("the log of a job cannot be written", "job", w.ref.JobID, "error", err)
	}
}
