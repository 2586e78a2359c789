package job

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

func testLedger(t *testing.T, dir string) *ledger {
	t.Helper()
	l, err := openLedger(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// finished adds a job that ended at the given time and was delivered.
func finished(t *testing.T, l *ledger, r record, at time.Time) {
	t.Helper()
	r.AcceptedAt = at
	for _, err := range []error{l.accept(&r), l.start(&r, at), l.finish(&r, wire.JobFinished{Job: r.Job, Outcome: wire.OutcomeSucceeded, FinishedAt: at}), l.delivered(&r)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func ref(id string) wire.JobRef { return wire.JobRef{JobID: id, Kind: wire.JobBackup} }

func TestIdsAreForgottenOnlyWhenTheyCannotComeAgain(t *testing.T) {
	l := testLedger(t, t.TempDir())
	finished(t, l, record{Job: ref("old")}, begin)
	finished(t, l, record{Job: ref("valid-for-long"), NotAfter: begin.Add(keepFinished + 48*time.Hour)}, begin)
	finished(t, l, record{Job: ref("init"), Forever: true}, begin)
	finished(t, l, record{Job: ref("new")}, begin.Add(48*time.Hour))
	if err := l.accept(&record{Job: ref("waiting"), AcceptedAt: begin}); err != nil {
		t.Fatal(err)
	}
	l.prune(begin.Add(keepFinished + time.Hour))
	for id, want := range map[string]bool{"old": false, "valid-for-long": true, "init": true, "new": true, "waiting": true} {
		if _, known := l.lookup(id); known != want {
			t.Errorf("%s is known: %v, want %v", id, known, want)
		}
	}
	again := testLedger(t, l.dir)
	if len(again.entries) != 4 {
		t.Errorf("on disk are %v", again.entries)
	}
}

func TestADamagedRecordStillHoldsItsId(t *testing.T) {
	dir := t.TempDir()
	for id, content := range map[string]string{"job-1": "", "job-2": "{\"job\":", "job-3": `{"job":{"jobID":"job-4"},"state":"Accepted"}`} {
		if err := os.WriteFile(filepath.Join(dir, id+recordSuffix), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := testLedger(t, dir)
	for _, id := range []string{"job-1", "job-2", "job-3"} {
		if err := l.accept(&record{Job: ref(id)}); !errors.Is(err, ErrKnown) {
			t.Errorf("%s was accepted again: %v", id, err)
		}
	}
	if open := l.open(); len(open) != 0 {
		t.Errorf("damaged records were taken up: %+v", open)
	}
}

func TestLogsAreBoundedAndThoseInUseStay(t *testing.T) {
	l, err := openLogs(t.TempDir(), 3, 250, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		path := l.path(fmt.Sprint("job-", i))
		if err := os.WriteFile(path, make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, begin, begin.Add(time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	l.prune(func(id string) bool { return id == "job-0" })
	left, err := filepath.Glob(l.dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(left, " "); len(left) != 3 || !strings.Contains(got, "job-0") || !strings.Contains(got, "job-4") || !strings.Contains(got, "job-5") {
		t.Errorf("left are %s, want job-0 (in use), job-4 and job-5 (within 250 bytes)", got)
	}
}

func TestTheTailOfALogIsBoundedAndBeginsWithALine(t *testing.T) {
	l, err := openLogs(t.TempDir(), 3, 1<<30, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f := l.create("job-1")
	for i := range 5000 {
		f.line(begin, "", fmt.Sprintf("line %d with a letter ü", i))
	}
	memory := f.tail()
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	for where, tail := range map[string]string{"memory": memory, "disk": l.tail("job-1")} {
		if len(tail) > wire.MaxLogTail || len(tail) < wire.MaxLogTail-100 || !strings.HasPrefix(tail, "2026-06-01T12:00:00.000Z line ") || !strings.HasSuffix(tail, "line 4999 with a letter ü\n") {
			t.Errorf("%s: %d bytes: %.60q … %q", where, len(tail), tail, tail[len(tail)-40:])
		}
	}
	f = l.create("job-2")
	f.line(begin, "", strings.Repeat("ü", wire.MaxLogTail))
	if tail := f.tail(); len(tail) > wire.MaxLogTail || strings.ContainsRune(tail, '\uFFFD') {
		t.Errorf("a very long line leaves %d bytes beginning with %q", len(tail), tail[:4])
	}
	for range 3000 {
		f.line(begin, "", strings.Repeat("x", 32<<10))
	}
	f.line(begin, "", "the end")
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(l.path("job-2")); err != nil || info.Size() > maxLogFile+1000 {
		t.Errorf("the log has %v bytes, %v", info.Size(), err)
	}
	if !strings.HasSuffix(f.tail(), "the end\n") {
		t.Error("the tail stopped with the file")
	}
	if l.tail("job-9") != "" {
		t.Error("a log that is not there has a tail")
	}
}
