package outbox

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/api/wire"
)

var day = time.Date(2026, 3, 1, 2, 30, 0, 0, time.UTC)

func result(job string) *wire.JobFinished {
	return &wire.JobFinished{
		Job:        wire.JobRef{JobID: job, Kind: wire.JobBackup, SourceGroup: "etc"},
		Outcome:    wire.OutcomeSucceeded,
		FinishedAt: day,
		LogTail:    strings.Repeat("processed a file\n", 100),
	}
}

func repoState(message string) *wire.RepoState {
	return &wire.RepoState{State: wire.RepositoryRetrying, Reason: wire.ReasonUnreachable, Message: message, URL: "rest:https://backup", Time: day}
}

func open(t *testing.T, dir string) *Outbox {
	t.Helper()
	return openWith(t, dir, Options{})
}

func openWith(t *testing.T, dir string, options Options) *Outbox {
	t.Helper()
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	o, err := Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func add(t *testing.T, o *Outbox, reports ...wire.Report) {
	t.Helper()
	for _, r := range reports {
		if err := o.Add(r); err != nil {
			t.Fatal(err)
		}
	}
}

// waiting reads all reports and tells them by job id or message.
func waiting(o *Outbox) []string {
	out := []string{}
	var after int64
	for {
		r, ok := o.Next(after)
		if !ok {
			return out
		}
		after = r.ID().Seq
		switch r := r.(type) {
		case *wire.JobFinished:
			out = append(out, r.Job.JobID)
		case *wire.RepoStats:
			out = append(out, fmt.Sprintf("%d snapshots", r.Stats.Snapshots))
		case *wire.RepoState:
			out = append(out, r.Message)
		}
	}
}

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestReportsAreReadInOrderUntilTheyAreAcknowledged(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir)
	first := result("job-1")
	add(t, o, first, repoState("no route to host"), result("job-2"))
	check(t, "waiting", waiting(o), []string{"job-1", "no route to host", "job-2"})

	read, ok := o.Next(0)
	if !ok {
		t.Fatal("nothing to read")
	}
	check(t, "the report that is read", read, wire.Report(first))

	o = open(t, dir)
	check(t, "waiting after a restart", waiting(o), []string{"job-1", "no route to host", "job-2"})
	pending := o.Pending()
	if err := o.Ack(pending[1]); err != nil {
		t.Fatal(err)
	}
	check(t, "waiting after an acknowledgement", waiting(o), []string{"job-2"})
	o = open(t, dir)
	check(t, "waiting after another restart", waiting(o), []string{"job-2"})
	check(t, "pending", o.Pending(), pending[2:])
	check(t, "length", o.Len(), 1)
}

func TestANumberIsNeverUsedTwice(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir)
	seen := map[int64]bool{}
	for range 3 {
		for range 2 {
			r := result("job")
			add(t, o, r)
			if seen[r.Report.Seq] {
				t.Fatalf("number %d was used twice", r.Report.Seq)
			}
			seen[r.Report.Seq] = true
			if err := o.Ack(r.Report); err != nil {
				t.Fatal(err)
			}
		}
		o = open(t, dir)
		check(t, "length after everything was acknowledged", o.Len(), 0)
	}
}

func TestAnAcknowledgementThatDoesNotFitChangesNothing(t *testing.T) {
	o := open(t, t.TempDir())
	add(t, o, result("job-1"), result("job-2"))
	if err := o.Ack(wire.ReportID{Epoch: "another", Seq: 2}); err != nil {
		t.Fatal(err)
	}
	check(t, "length after an acknowledgement of another epoch", o.Len(), 2)

	if err := o.Ack(wire.ReportID{Epoch: o.Epoch(), Seq: 1000}); err != nil {
		t.Fatal(err)
	}
	check(t, "length after an acknowledgement beyond the end", o.Len(), 0)
	later := result("job-3")
	add(t, o, later)
	check(t, "the next number", later.Report.Seq, int64(3))
	if err := o.Ack(wire.ReportID{Epoch: o.Epoch(), Seq: 2}); err != nil {
		t.Fatal(err)
	}
	check(t, "length after an old acknowledgement", o.Len(), 1)
}

func TestACrashBetweenTheStepsOfAnAcknowledgementIsHarmless(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir)
	add(t, o, result("job-1"), result("job-2"), result("job-3"))
	// The crash comes after outbox.json and before the removal of any file.
	if err := o.saveState(o.Epoch(), 2); err != nil {
		t.Fatal(err)
	}
	o = open(t, dir)
	check(t, "waiting", waiting(o), []string{"job-3"})
	if _, err := os.Stat(o.path(1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of an acknowledged report is still there: %v", err)
	}
}

func TestACrashInTheMiddleOfAnAddLeavesNoReport(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir)
	add(t, o, result("job-1"))
	leftover := filepath.Join(dir, atomicfile.TempPrefix+"0000000000000000002.json-77")
	if err := os.WriteFile(leftover, []byte(`{"sha`), 0o600); err != nil {
		t.Fatal(err)
	}
	o = open(t, dir)
	check(t, "waiting", waiting(o), []string{"job-1"})
	if _, err := os.Stat(leftover); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file is still there: %v", err)
	}
}

func TestADamagedReportIsSetAsideAndBlocksNothing(t *testing.T) {
	damages := map[string]func(t *testing.T, path string){
		"is empty":          func(t *testing.T, path string) { overwrite(t, path, nil) },
		"is not JSON":       func(t *testing.T, path string) { overwrite(t, path, []byte("\x00\x00")) },
		"was cut":           func(t *testing.T, path string) { overwrite(t, path, contentOf(t, path)[:40]) },
		"has a flipped bit": func(t *testing.T, path string) { replace(t, path, "Succeeded", "Succeedee") },
		"has no known type": func(t *testing.T, path string) { reseal(t, path, `{"type":"no.such"}`) },
		"is no report":      func(t *testing.T, path string) { reseal(t, path, `{"type":"heartbeat"}`) },
		"is of another seq": func(t *testing.T, path string) {
			overwrite(t, path, contentOf(t, filepath.Join(filepath.Dir(path), "0000000000000000001.json")))
		},
	}
	for name, damage := range damages {
		t.Run("a file that "+name, func(t *testing.T) {
			dir := t.TempDir()
			o := open(t, dir)
			add(t, o, result("job-1"), result("job-2"), result("job-3"))
			damage(t, o.path(2))

			check(t, "waiting while the process runs on", waiting(o), []string{"job-1", "job-3"})
			check(t, "set aside", o.SetAside(), []string{"0000000000000000002.json.corrupt"})
			if err := os.Rename(o.path(2)+corruptSuffix, o.path(2)); err != nil {
				t.Fatal(err)
			}

			var logged bytes.Buffer
			o = openWith(t, dir, Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
			check(t, "waiting after a restart", waiting(o), []string{"job-1", "job-3"})
			check(t, "set aside after a restart", o.SetAside(), []string{"0000000000000000002.json.corrupt"})
			if !strings.Contains(logged.String(), "damaged") {
				t.Errorf("the log does not tell it: %q", logged.String())
			}
			if _, err := os.Stat(o.path(2) + corruptSuffix); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestADamagedLastReportStillKeepsItsNumber(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir)
	add(t, o, result("job-1"), result("job-2"))
	overwrite(t, o.path(2), nil)
	for range 2 {
		o = open(t, dir)
	}
	next := result("job-3")
	add(t, o, next)
	check(t, "the next number", next.Report.Seq, int64(3))
}

func TestADamagedStateFileTakesTheEpochFromTheReports(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir)
	add(t, o, result("job-1"), result("job-2"))
	epoch := o.Epoch()
	if err := o.Ack(wire.ReportID{Epoch: epoch, Seq: 1}); err != nil {
		t.Fatal(err)
	}
	overwrite(t, filepath.Join(dir, stateFile), []byte("{"))
	o = open(t, dir)
	check(t, "epoch", o.Epoch(), epoch)
	check(t, "waiting", waiting(o), []string{"job-2"})
	check(t, "set aside", o.SetAside(), []string{"outbox.json.corrupt"})

	if err := o.Ack(wire.ReportID{Epoch: epoch, Seq: 2}); err != nil {
		t.Fatal(err)
	}
	overwrite(t, filepath.Join(dir, stateFile), nil)
	o = open(t, dir)
	if o.Epoch() == epoch || o.Epoch() == "" {
		t.Errorf("epoch is %q, want a new one: numbers of the old one may have been used", o.Epoch())
	}
}

func TestAFullDiskIsToldAndLosesNothing(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir)
	add(t, o, result("job-1"))
	o.write = func(string, []byte) error { return syscall.ENOSPC }
	lost := result("job-2")
	if err := o.Add(lost); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("error is %v, want no space left", err)
	}
	check(t, "waiting while the disk is full", waiting(o), []string{"job-1"})

	o.write = atomicfile.Write
	add(t, o, lost)
	check(t, "waiting after the second attempt", waiting(o), []string{"job-1", "job-2"})
	if lost.Report.Seq <= 2 {
		t.Errorf("number is %d: that of the failed attempt was used again", lost.Report.Seq)
	}
}

func TestAnAcknowledgementFreesAFullDiskAndStillKeepsTheNumbers(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir)
	add(t, o, result("job-1"), result("job-2"))
	o.write = func(string, []byte) error { return syscall.ENOSPC }
	if err := o.Add(result("job-3")); err == nil {
		t.Fatal("a report was stored on a full disk")
	}
	if err := o.Ack(wire.ReportID{Epoch: o.Epoch(), Seq: 2}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("error is %v, want no space left", err)
	}
	check(t, "waiting: the last file is kept as the witness of its number", waiting(o), []string{"job-2"})
	o = open(t, dir)
	next := result("job-4")
	add(t, o, next)
	if next.Report.Seq <= 2 {
		t.Errorf("number %d was used twice", next.Report.Seq)
	}
	if err := o.Ack(next.Report); err != nil {
		t.Fatal(err)
	}
	check(t, "length once there is space", o.Len(), 0)
}

func TestAReportThatBreaksTheProtocolIsRefusedForGood(t *testing.T) {
	o := open(t, t.TempDir())
	bad := result("job-1")
	bad.LogTail = strings.Repeat("x", wire.MaxLogTail+1)
	if err := o.Add(bad); !errors.Is(err, ErrInvalid) {
		t.Fatalf("error is %v, want ErrInvalid", err)
	}
	check(t, "length", o.Len(), 0)
}

func TestAFullOutboxMergesStatesThenDropsLogTailsAndNeverAResult(t *testing.T) {
	dir := t.TempDir()
	o := openWith(t, dir, Options{MaxBytes: 10_000})
	add(t, o, repoState("first"), result("job-1"), repoState("second"), result("job-2"), repoState("third"), result("job-3"))
	check(t, "waiting below the bound", waiting(o), []string{"first", "job-1", "second", "job-2", "third", "job-3"})

	add(t, o, result("job-4"), result("job-5"))
	check(t, "waiting above the bound", waiting(o), []string{"job-1", "job-2", "third", "job-3", "job-4", "job-5"})
	oldest, _ := o.Next(0)
	if tail := oldest.(*wire.JobFinished).LogTail; tail != "" {
		t.Errorf("the oldest result still has a log tail of %d bytes", len(tail))
	}
	added := []string{}
	var err error
	for i := 0; err == nil && i < 100; i++ {
		if err = o.Add(result("more")); err == nil {
			added = append(added, "more")
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("error is %v, want ErrFull", err)
	}
	if o.bytes > 10_000 {
		t.Errorf("the outbox holds %d bytes, more than its bound", o.bytes)
	}
	want := append([]string{"job-1", "job-2", "third", "job-3", "job-4", "job-5"}, added...)
	check(t, "waiting when full", waiting(o), want)
	check(t, "waiting after a restart", waiting(openWith(t, dir, Options{MaxBytes: 10_000})), want)

	if err := o.Ack(oldest.ID()); err != nil {
		t.Fatal(err)
	}
	small := result("fits now")
	small.LogTail = ""
	add(t, o, small)
}

func TestANewStateReplacesTheOldOnesInAFullOutbox(t *testing.T) {
	dir := t.TempDir()
	o := openWith(t, dir, Options{MaxBytes: 1200})
	for _, m := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
		add(t, o, repoState(m))
	}
	got := waiting(o)
	if len(got) == 0 || len(got) == 8 || got[len(got)-1] != "8" {
		t.Errorf("waiting: %v, want fewer than 8 that end with the newest", got)
	}
	last := repoState("9")
	add(t, open(t, dir), last)
	check(t, "the next number", last.Report.Seq, int64(9))
}

func TestListingsAndStatesAreMergedEachByItself(t *testing.T) {
	listing := func(snapshots int64) *wire.RepoStats {
		return &wire.RepoStats{Stats: wire.RepositoryStats{Time: day, ListedTime: day, Snapshots: snapshots}, URL: "rest:https://backup"}
	}
	o := openWith(t, t.TempDir(), Options{MaxBytes: 10_000})
	add(t, o, repoState("first"), listing(1), result("job-1"), listing(2), repoState("second"), result("job-2"), result("job-3"))
	check(t, "waiting below the bound", waiting(o), []string{"first", "1 snapshots", "job-1", "2 snapshots", "second", "job-2", "job-3"})
	add(t, o, result("job-4"), result("job-5"))
	check(t, "waiting above the bound", waiting(o), []string{"job-1", "2 snapshots", "second", "job-2", "job-3", "job-4", "job-5"})
	for o.bytes < 9_500 {
		small := result("more")
		small.LogTail = ""
		add(t, o, small)
	}
	for snapshots := range int64(5) {
		add(t, o, listing(snapshots+3))
	}
	got := waiting(o)
	if got[len(got)-1] != "7 snapshots" || slices.Contains(got, "2 snapshots") || !slices.Contains(got, "second") {
		t.Errorf("waiting: %v, want the newest listing alone, and the state", got)
	}
}

func TestOldDamagedFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir)
	for range maxCorrupt + 5 {
		r := result("job")
		add(t, o, r)
		overwrite(t, o.path(r.Report.Seq), nil)
	}
	o = open(t, dir)
	files, err := filepath.Glob(filepath.Join(dir, "*"+corruptSuffix))
	if err != nil {
		t.Fatal(err)
	}
	check(t, "damaged files", len(files), maxCorrupt)
	next := result("job")
	add(t, o, next)
	check(t, "the next number", next.Report.Seq, int64(maxCorrupt+6))
}

func TestChangedWakesTheReader(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir)
	select {
	case <-o.Changed():
		t.Fatal("an empty outbox woke its reader")
	default:
	}
	add(t, o, result("job-1"), result("job-2"))
	select {
	case <-o.Changed():
	default:
		t.Fatal("an addition did not wake the reader")
	}
	select {
	case <-open(t, dir).Changed():
	default:
		t.Fatal("an outbox that was opened with reports did not wake the reader")
	}
}

func TestConcurrentAddsGetNumbersOfTheirOwn(t *testing.T) {
	o := open(t, t.TempDir())
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 5 {
				if err := o.Add(result("job")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	for i, id := range o.Pending() {
		check(t, "number", id.Seq, int64(i+1))
	}
	check(t, "length", o.Len(), 40)
}

func contentOf(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func overwrite(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func replace(t *testing.T, path, old, new string) {
	t.Helper()
	data := contentOf(t, path)
	changed := bytes.Replace(data, []byte(old), []byte(new), 1)
	if bytes.Equal(data, changed) {
		t.Fatalf("%s does not hold %s", path, old)
	}
	overwrite(t, path, changed)
}

// reseal writes a frame with its right checksum.
func reseal(t *testing.T, path, frame string) {
	t.Helper()
	overwrite(t, path, []byte(`{"sha256":"`+sum([]byte(frame))+`","frame":`+frame+`}`))
}
