package query_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/cli/query"
	"github.com/restic-manager/restic-manager/test/collector"
)

// jobLog is a log on a machine that grows until its job ends.
type jobLog struct {
	mu      sync.Mutex
	changed *sync.Cond
	text    []byte
	ended   bool
}

func newJobLog() *jobLog {
	l := &jobLog{}
	l.changed = sync.NewCond(&l.mu)
	return l
}

func (l *jobLog) write(line string, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text, l.ended = append(l.text, line...), last
	l.changed.Broadcast()
}

// after waits for what comes after offset, or the end.
func (l *jobLog) after(offset int64) (piece []byte, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for int64(len(l.text)) <= offset && !l.ended {
		l.changed.Wait()
	}
	return bytes.Clone(l.text[offset:]), l.ended
}

func (l *jobLog) record(offset int64) wire.LogRecord {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := wire.LogRecord{JobID: "job-1", Kind: wire.JobBackup, Offset: offset, State: wire.LogRunning}
	if l.ended {
		r.State, r.Outcome = wire.LogEnded, wire.OutcomeSucceeded
	}
	return r
}

// follow answers as a machine does; cut says when and how the stream ends before that, in bytes.
func (l *jobLog) follow(w *collector.Writer, from int64, cut int64, how error) error {
	if err := w.Record(l.record(from)); err != nil {
		return err
	}
	offset := from
	for {
		if cut >= 0 && offset-from >= cut {
			return how
		}
		piece, ended := l.after(offset)
		if most := cut - (offset - from); cut >= 0 && int64(len(piece)) > most {
			piece, ended = piece[:most], false
		}
		if err := w.Data(piece); err != nil {
			return err
		}
		offset += int64(len(piece))
		if ended {
			if cut == offset-from { // all is told, but for the end
				return how
			}
			return w.Record(l.record(offset))
		}
	}
}

// Each race is a log that is written while it is followed, over streams that break off anywhere, in each way in which streams do.
func TestAFollowedLogLosesAndRepeatsNothing(t *testing.T) {
	const races, atOnce = 500, 10
	c := newClient()
	var mu sync.Mutex
	logs := map[string]*jobLog{}
	cuts := map[string]int{}
	machine := collector.Start(t, c, func(q *wire.HostQuery, p wire.QueryParameters, w *collector.Writer) error {
		mu.Lock()
		l := logs[q.Host.Name]
		cuts[q.Host.Name]--
		cut := int64(-1)
		if cuts[q.Host.Name] > 0 {
			cut = rand.Int64N(400)
		}
		mu.Unlock()
		// A machine may begin at an earlier line than it was asked for.
		from := max(0, p.Log.Offset-rand.Int64N(2)*rand.Int64N(20))
		return l.follow(w, from, cut, []error{collector.ErrDrop, collector.ErrLost, collector.ErrExpired}[rand.IntN(3)])
	})
	slots := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	for i := range races {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			l, name := newJobLog(), fmt.Sprintf("host-%d", i)
			mu.Lock()
			logs[name], cuts[name] = l, 1+rand.IntN(5)
			mu.Unlock()
			go func() {
				lines := 1 + rand.IntN(60)
				for n := range lines {
					l.write(fmt.Sprintf("line %d %s\n", n, strings.Repeat("x", rand.IntN(30))), n == lines-1)
				}
			}()
			host := newHost(machine)
			host.Name = name
			var out bytes.Buffer
			asker := &query.Asker{Client: c, Clock: hurried{}}
			last, err := asker.Log(t.Context(), host, query.LogOptions{Query: wire.LogQuery{Follow: true}}, &out)
			switch {
			case err != nil:
				t.Errorf("race %d: %v", i, err)
			case last.State != wire.LogEnded || last.Outcome != wire.OutcomeSucceeded:
				t.Errorf("race %d: the last record is %+v, expected that the job succeeded", i, last)
			case out.String() != string(l.text):
				t.Errorf("race %d: the log differs:\n%s\nexpected:\n%s", i, out.String(), l.text)
			}
		})
	}
	running.Wait()
	noQueries(t, c)
}

func TestALogIsTakenUpAgainAsTheSameJob(t *testing.T) {
	c := newClient()
	asked := 0
	machine := collector.Start(t, c, func(_ *wire.HostQuery, p wire.QueryParameters, w *collector.Writer) error {
		asked++
		if asked == 1 {
			if p.Log.Group != "etc" || !p.Log.Previous || p.Log.JobID != "" {
				return collector.End{Reason: wire.AnswerInvalid, Message: fmt.Sprintf("first asked for %+v", *p.Log)}
			}
			_ = w.Record(wire.LogRecord{JobID: "job-7", Offset: 100, State: wire.LogEnded})
			_ = w.Data([]byte("one\n"))
			return collector.ErrLost
		}
		if p.Log.Group != "" || p.Log.Previous || p.Log.JobID != "job-7" || p.Log.Offset != 104 {
			return collector.End{Reason: wire.AnswerInvalid, Message: fmt.Sprintf("then asked for %+v", *p.Log)}
		}
		_ = w.Record(wire.LogRecord{JobID: "job-7", Offset: 104, State: wire.LogEnded})
		return w.Data([]byte("two\n"))
	})
	var out strings.Builder
	var notices []string
	asker := &query.Asker{Client: c, Clock: hurried{}, Notice: func(s string) { notices = append(notices, s) }}
	_, err := asker.Log(t.Context(), newHost(machine), query.LogOptions{Query: wire.LogQuery{Group: "etc", Previous: true}}, &out)
	if err != nil || out.String() != "one\ntwo\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	if len(notices) != 1 || !strings.Contains(notices[0], "taking it up again") {
		t.Errorf("the person was told %q, expected one notice", notices)
	}
}

func TestALogThatCannotGoOnSaysWhy(t *testing.T) {
	for _, tt := range []struct {
		name   string
		second func(w *collector.Writer) error
		says   string
	}{
		{"the lines between are gone", func(w *collector.Writer) error {
			_ = w.Record(wire.LogRecord{JobID: "job-1", Offset: 50, State: wire.LogRunning})
			return w.Data([]byte("two\n"))
		}, "46 bytes of the log are not on the machine any more"},
		{"another job answers", func(w *collector.Writer) error {
			return w.Record(wire.LogRecord{JobID: "job-2", Offset: 4, State: wire.LogRunning})
		}, "the log of job job-2"},
		{"the log is gone", func(*collector.Writer) error {
			return collector.End{Reason: wire.AnswerNotFound, Message: "no such log"}
		}, "no such log"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient()
			asked := 0
			machine := collector.Start(t, c, func(_ *wire.HostQuery, _ wire.QueryParameters, w *collector.Writer) error {
				if asked++; asked > 1 {
					return tt.second(w)
				}
				_ = w.Record(wire.LogRecord{JobID: "job-1", State: wire.LogRunning})
				_ = w.Data([]byte("one\n"))
				return collector.ErrDrop
			})
			var out strings.Builder
			asker := &query.Asker{Client: c, Clock: hurried{}}
			_, err := asker.Log(t.Context(), newHost(machine), query.LogOptions{Query: wire.LogQuery{Follow: true}}, &out)
			if err == nil || !strings.Contains(err.Error(), tt.says) || out.String() != "one\n" {
				t.Errorf("got %q, %v; expected that it says %q", out.String(), err, tt.says)
			}
		})
	}
}

// A job that has not begun has no place in its log yet: only what follows tells where the lines since a time begin.
func TestALogSinceATimeIsWaitedForOverLostStreams(t *testing.T) {
	c := newClient()
	since := time.Now().Add(-time.Hour)
	asked := 0
	machine := collector.Start(t, c, func(_ *wire.HostQuery, p wire.QueryParameters, w *collector.Writer) error {
		if want := asked < 2; (p.Log.Since != nil) != want {
			return collector.End{Reason: wire.AnswerInvalid, Message: fmt.Sprintf("question %d: since is %v", asked, p.Log.Since)}
		}
		asked++
		_ = w.Record(wire.LogRecord{JobID: "job-1", State: wire.LogWaiting})
		if asked == 1 {
			return collector.ErrLost
		}
		offset := max(p.Log.Offset, 1000)
		_ = w.Record(wire.LogRecord{JobID: "job-1", State: wire.LogRunning, Offset: offset})
		if asked == 2 {
			_ = w.Data([]byte("one\n"))
			return collector.ErrDrop
		}
		_ = w.Data([]byte("two\n"))
		return w.Record(wire.LogRecord{JobID: "job-1", State: wire.LogEnded, Offset: offset + 4})
	})
	var out strings.Builder
	asker := &query.Asker{Client: c, Clock: hurried{}}
	last, err := asker.Log(t.Context(), newHost(machine), query.LogOptions{Query: wire.LogQuery{JobID: "job-1", Since: &since, Follow: true}}, &out)
	if err != nil || out.String() != "one\ntwo\n" || last.State != wire.LogEnded || asked != 3 {
		t.Errorf("got %q after %d questions, the last record %+v, %v", out.String(), asked, last, err)
	}
}

// full is a terminal that is gone.
type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestAnOutputThatFailsEndsTheLog(t *testing.T) {
	c := newClient()
	machine := collector.Start(t, c, func(_ *wire.HostQuery, _ wire.QueryParameters, w *collector.Writer) error {
		_ = w.Record(wire.LogRecord{JobID: "job-1", State: wire.LogRunning})
		return w.Data([]byte("one\n"))
	})
	asker := &query.Asker{Client: c, Clock: hurried{}}
	if _, err := asker.Log(t.Context(), newHost(machine), query.LogOptions{}, full{}); !errors.Is(err, errFull) {
		t.Errorf("got %v, expected what the output said", err)
	}
}
