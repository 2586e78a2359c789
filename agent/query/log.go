package query

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// lookAgain is how long one who follows a log waits at most for its bell.
const lookAgain = 10 * time.Second

// Logs are the logs of the machine's jobs; job.Manager has them.
type Logs interface {
	// NewestLog is the job that runs, or else the one that began last; previous is the one before it.
	NewestLog(group string, previous bool) (id string, found bool)
	// Log tells where a job stands. Once it says Ended, the log is whole.
	Log(id string) (wire.LogRecord, bool)
	OpenLog(id string) (*os.File, error)
	// FlushLog puts what a running job has said by now into its log.
	FlushLog(id string)
	// Follow rings after each line, and when the job began or ended.
	Follow(id string) (bell <-chan struct{}, stop func())
	// Verbose has backups that begin before release say a line per file.
	Verbose(jobID, group string) (release func())
}

// reading is one who reads a log.
type reading struct {
	*task
	q  *wire.LogQuery
	id string
	// file is nil until the log was begun.
	file   *os.File
	offset int64
	told   wire.LogState
}

func (t *task) log(q *wire.LogQuery) error {
	logs := t.answers.o.Logs
	if q.Follow && q.Verbose {
		defer logs.Verbose(q.JobID, q.Group)()
	}
	r := &reading{task: t, q: q, id: q.JobID}
	if r.id == "" {
		id, found := logs.NewestLog(q.Group, q.Previous)
		if !found {
			return &refusal{wire.AnswerNotFound, "there is no log of such a job on this machine"}
		}
		r.id = id
	}
	bell, stop := logs.Follow(r.id)
	defer stop()
	defer r.close()
	for {
		ended, err := r.advance()
		if err != nil || ended || !q.Follow {
			return err
		}
		if err := r.await(bell); err != nil {
			return err
		}
	}
}

// advance says what is new. Where the job stands is asked before its log is read to the end: what ended has nothing more to say then.
func (r *reading) advance() (ended bool, err error) {
	record, known := r.answers.o.Logs.Log(r.id)
	switch {
	case !known && !r.q.Follow:
		return false, &refusal{wire.AnswerNotFound, fmt.Sprintf("this machine knows no job %s", r.id)}
	case !known:
		record = wire.LogRecord{JobID: r.id, State: wire.LogWaiting}
	}
	ended = record.State == wire.LogEnded
	r.answers.o.Logs.FlushLog(r.id)
	if r.file == nil && record.State != wire.LogWaiting {
		if err := r.open(); errors.Is(err, fs.ErrNotExist) {
			return ended, r.without(record)
		} else if err != nil {
			return false, fmt.Errorf("the log cannot be read on the machine: %w", err)
		}
	}
	if wasRunning := r.told == wire.LogRunning; !wasRunning || !ended {
		if err := r.tell(record); err != nil {
			return false, err
		}
	}
	if err := r.copy(); err != nil {
		return false, err
	}
	return ended, r.tell(record)
}

// tell says where the job stands, when it has not been said.
func (r *reading) tell(record wire.LogRecord) error {
	if r.told == record.State {
		return nil
	}
	r.told = record.State
	record.Offset = r.offset
	record.NotVerbose = record.NotVerbose && r.q.Verbose
	return r.answer.record(record)
}

// without is the answer for a job that has no log: one that never began, one whose log cannot be written, and one whose log was removed to make room.
func (r *reading) without(record wire.LogRecord) error {
	if err := r.tell(record); err != nil {
		return err
	}
	if record.State == wire.LogEnded && record.StartTime != nil {
		return &refusal{wire.AnswerNotFound, fmt.Sprintf("the log of job %s is not on the machine any more", r.id)}
	}
	return nil
}

// open begins where the query says.
func (r *reading) open() error {
	file, err := r.answers.o.Logs.OpenLog(r.id)
	if err != nil {
		return err
	}
	r.file = file
	info, err := file.Stat()
	if err != nil {
		return err
	}
	r.offset = min(r.q.Offset, info.Size())
	if r.q.Since != nil {
		older, err := olderThan(io.NewSectionReader(file, r.offset, info.Size()-r.offset), *r.q.Since)
		if err != nil {
			return err
		}
		r.offset += older
	}
	_, err = file.Seek(r.offset, io.SeekStart)
	return err
}

// copy says what is in the log by now.
func (r *reading) copy() error {
	if r.file == nil {
		return nil
	}
	n, err := r.answer.readAll(r.file)
	r.offset += n
	return err
}

func (r *reading) await(bell <-chan struct{}) error {
	timer := r.answers.o.Clock.NewTimer(lookAgain)
	defer timer.Stop()
	select {
	case <-bell:
	case <-timer.C():
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
	return nil
}

func (r *reading) close() {
	if r.file != nil {
		_ = r.file.Close()
	}
}

// stamp is how each line of a log begins.
const stamp = "2006-01-02T15:04:05.000Z"

// olderThan is how many bytes at the beginning of a log are lines from before since. A line without a time belongs to the one before it.
func olderThan(log io.Reader, since time.Time) (int64, error) {
	var older int64
	lineBegins := true
	for lines := bufio.NewReader(log); ; {
		piece, err := lines.ReadSlice('\n')
		if lineBegins && len(piece) >= len(stamp) {
			if at, bad := time.Parse(stamp, string(piece[:len(stamp)])); bad == nil && !at.Before(since) {
				return older, nil
			}
		}
		older += int64(len(piece))
		switch {
		case errors.Is(err, io.EOF):
			return older, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return older, err
		}
		lineBegins = err == nil
	}
}
