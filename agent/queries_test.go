package agent

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/agent/query/querytest"
	"github.com/restic-manager/restic-manager/api/wire"
)

type answersByStream map[uint32]*querytest.Answer

// questions asks the machine of a world.
type questions struct {
	*world
	machine *querytest.Machine
	last    uint32
}

func (w *world) questions() *questions {
	m := querytest.NewMachine(w.t)
	m.Host, m.Identity, m.Signer = w.config.Ref(), w.identity, w.signer
	q := &questions{world: w, machine: m}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = answersByStream{}
	return q
}

// ask has the gateway open a stream for a query, collect all that comes, and give back the credit.
func (q *questions) ask(kind wire.QueryKind, p wire.QueryParameters, change ...func(*wire.HostQuery)) *querytest.Answer {
	q.t.Helper()
	a := q.machine.Ask(kind, p, time.Now().Add(time.Hour), change...)
	q.open(a)
	return a
}

func (q *questions) open(a *querytest.Answer) uint32 {
	q.last++
	number := q.last
	a.Grant = func(bytes int64) { go q.send(&wire.StreamCredit{Stream: number, Bytes: bytes}) }
	q.mu.Lock()
	q.answers[number] = a
	q.mu.Unlock()
	q.send(a.Open(number))
	return number
}

func complete(t *testing.T, a *querytest.Answer) *querytest.Answer {
	t.Helper()
	if end := a.Wait().End(); end == nil || end.Reason != "" {
		t.Fatalf("the answer ends with %+v", end)
	}
	return a
}

func TestPeopleLookIntoTheRepositoryOfAMachine(t *testing.T) {
	w := newWorld(t)
	w.config.Allow.Queries = config.Grant
	w.ready()
	q := w.questions()

	follower := q.ask(wire.QueryLog, wire.QueryParameters{Log: &wire.LogQuery{JobID: "job-1", Follow: true, Verbose: true}})
	follower.Until("it waits for the job", func(records []json.RawMessage, _ []byte) bool { return len(records) == 1 })
	w.send(w.command("1", nil))
	backup := w.finished("job-1")
	complete(t, follower)
	onDisk, err := os.ReadFile(filepath.Join(w.config.StateDir, "logs", "job-1.log"))
	if err != nil || follower.Text() != string(onDisk) || !strings.Contains(follower.Text(), "new "+w.source+"/dir/b.txt") {
		t.Errorf("%v; who followed has\n%s\nthe log is\n%s", err, follower.Text(), onDisk)
	}
	logs := querytest.Records[wire.LogRecord](follower)
	if len(logs) != 3 || logs[0].State != wire.LogWaiting || logs[1].State != wire.LogRunning || logs[2].Outcome != wire.OutcomeSucceeded {
		t.Errorf("the records of the log are %+v", logs)
	}

	snapshots := querytest.Records[wire.SnapshotRecord](complete(t, q.ask(wire.QuerySnapshots, wire.QueryParameters{Snapshots: &wire.SnapshotsQuery{Group: "etc"}})))
	if len(snapshots) != 1 || snapshots[0].ID != backup.Backup.SnapshotID || snapshots[0].Files != 2 || snapshots[0].ResticHost != w.config.Ref().ResticHost() {
		t.Fatalf("snapshots are %+v", snapshots)
	}
	id := snapshots[0].ID
	paths := func(a *querytest.Answer) (out []string) {
		for _, f := range querytest.Records[wire.FileRecord](complete(t, a)) {
			out = append(out, strings.TrimPrefix(f.Path, w.source))
		}
		return out
	}
	files := q.ask(wire.QueryFiles, wire.QueryParameters{Files: &wire.FilesQuery{Snapshot: id, Path: w.source, Recursive: true}})
	if got := paths(files); !slices.Equal(got, []string{"", "/a.txt", "/dir", "/dir/b.txt"}) {
		t.Errorf("the files are %q", got)
	}
	if got := paths(q.ask(wire.QueryFind, wire.QueryParameters{Find: &wire.FindQuery{Pattern: "b.*"}})); !slices.Equal(got, []string{"/dir/b.txt"}) {
		t.Errorf("found %q", got)
	}
	differences := querytest.Records[wire.DiffRecord](complete(t, q.ask(wire.QueryDiff, wire.QueryParameters{Diff: &wire.DiffQuery{From: id, To: id}})))
	if len(differences) != 1 || differences[0].Summary == nil {
		t.Errorf("the differences are %+v", differences)
	}

	content := func(path string, archive bool) *querytest.Answer {
		return q.ask(wire.QueryContent, wire.QueryParameters{Content: &wire.ContentQuery{Snapshot: id, Path: w.source + path, Tar: archive}})
	}
	if got := complete(t, content("/dir/b.txt", false)).Text(); got != strings.Repeat("beta", 1000) {
		t.Errorf("%d bytes of a file came", len(got))
	}
	for path, want := range map[string]string{"/dir": "/dir/b.txt", "/a.txt": "/a.txt"} {
		archive := tar.NewReader(strings.NewReader(complete(t, content(path, true)).Text()))
		header, err := archive.Next()
		if err != nil || "/"+header.Name != w.source+want {
			t.Fatalf("the archive of %s: %+v, %v", path, header, err)
		}
		if _, err := io.Copy(io.Discard, archive); err != nil {
			t.Error(err)
		}
		if _, err := archive.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("the archive of %s does not end: %v", path, err)
		}
	}
	for path, reason := range map[string]wire.AnswerReason{"/none": wire.AnswerNotFound, "/dir": wire.AnswerInvalid} {
		if end := content(path, false).Wait().End(); end == nil || end.Reason != reason {
			t.Errorf("the content of %s: %+v", path, end)
		}
	}

	d := querytest.Records[wire.DiagnosisRecord](complete(t, q.ask(wire.QueryDiagnosis, wire.QueryParameters{})))
	if len(d) != 1 || !d[0].RepositoryChecked || d[0].RepositoryReason != "" || d[0].Restic == "" || len(d[0].Disks) == 0 || d[0].Disks[0].BytesTotal == 0 ||
		d[0].Consent["queries"] != "allow" || d[0].Consent["hooks"] != "deny" || d[0].Revision == "" || d[0].StartTime.IsZero() || len(d[0].Locks) != 0 {
		t.Errorf("the diagnosis is %+v", d)
	}
	if n := strings.Count(w.logs.String(), `msg="a query was answered"`); n != int(q.last) {
		t.Errorf("%d lines for %d queries", n, q.last)
	}
}

func TestQueriesThatAMachineRefuses(t *testing.T) {
	w := newWorld(t)
	w.ready()
	q := w.questions()
	folder := wire.QueryParameters{Files: &wire.FilesQuery{Snapshot: "0123456789abcdef"}}
	if end := q.ask(wire.QueryFiles, folder).Wait().End(); end == nil || end.Reason != wire.AnswerNotAllowed || !strings.Contains(end.Message, "queries: allow") {
		t.Errorf("without consent: %+v", end)
	}
	stranger := newSigner(t)
	for name, tt := range map[string]struct {
		change func(*wire.HostQuery)
		sign   bool
		want   wire.RefusalReason
	}{
		"for another host":     {func(q *wire.HostQuery) { q.Host.Name = "web-2" }, false, wire.RefusalWrongHost},
		"for other keys":       {func(q *wire.HostQuery) { q.IdentityHash = "00" }, false, wire.RefusalWrongIdentity},
		"with its time over":   {func(q *wire.HostQuery) { q.NotAfter = time.Now().Add(-time.Second) }, false, wire.RefusalExpired},
		"signed as a command":  {func(q *wire.HostQuery) { q.Label = wire.JobCommandLabel }, false, wire.RefusalInvalid},
		"signed by a stranger": {func(*wire.HostQuery) {}, true, wire.RefusalBadSignature},
	} {
		a := q.machine.Ask(wire.QueryDiagnosis, wire.QueryParameters{}, time.Now().Add(time.Hour), tt.change)
		if tt.sign {
			a.Signatures = stranger.Sign(a.Open(0).Query)
		}
		q.open(a)
		if m := a.Wait().Closed(); m.Reason != tt.want || a.Frames() != 0 {
			t.Errorf("a query %s: %+v", name, m)
		}
	}
	w.apply(func(s *wire.ScheduleSet) {
		*s = wire.ScheduleSet{Label: s.Label, Host: s.Host, IdentityHash: s.IdentityHash, Serial: s.Serial, Revision: s.Revision, SigningKeys: s.SigningKeys, Tombstone: true}
	})
	if m := q.ask(wire.QueryDiagnosis, wire.QueryParameters{}).Wait().Closed(); m.Reason != wire.RefusalWrongHost {
		t.Errorf("a machine whose Host was removed: %+v", m)
	}
}

func TestAStreamThatNobodyCollectsEndsItsRestic(t *testing.T) {
	w := newWorld(t)
	w.config.Allow.Queries = config.Grant
	w.big()
	stop := w.ready()
	q := w.questions()
	w.send(w.command("1", nil))
	id := w.finished("job-1").Backup.SnapshotID
	a := q.machine.Ask(wire.QueryContent, wire.QueryParameters{Content: &wire.ContentQuery{Snapshot: id, Path: "/", Tar: true}}, time.Now().Add(time.Hour))
	number := q.open(a)
	a.Grant = nil // it stands still after one window
	a.Until("the window is full", func(_ []json.RawMessage, data []byte) bool { return len(data) > wire.StreamWindow-2*wire.MaxChunk })
	w.send(&wire.StreamClose{Stream: number})
	w.until("restic has ended", func() bool { return strings.Contains(w.logs.String(), "nobody collects it any more") })
	stop()
	if n := strings.Count(w.logs.String(), "command=dump exitCode"); n != 1 {
		t.Errorf("restic ended %d times", n)
	}
	if got := len(a.Text()); got > wire.StreamWindow {
		t.Errorf("%d bytes came with a window of %d", got, wire.StreamWindow)
	}
}

// takeData hands a binary frame to the one who collects it.
func (w *world) takeData(frame []byte) {
	stream, _, err := wire.DecodeData(frame)
	w.mu.Lock()
	a := w.answers[stream]
	w.mu.Unlock()
	if err != nil || a == nil {
		w.t.Errorf("a frame for nobody, stream %d: %v", stream, err)
		return
	}
	_ = a.Data(context.Background(), frame)
}

// takeClose tells whether a message ends a stream that somebody collects.
func (w *world) takeClose(m wire.Message) bool {
	end, ok := m.(*wire.StreamClose)
	if !ok {
		return false
	}
	w.mu.Lock()
	a := w.answers[end.Stream]
	w.mu.Unlock()
	if a != nil {
		a.Refuse(end)
	}
	return true
}
