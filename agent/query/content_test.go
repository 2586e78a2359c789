package query

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/agent/query/querytest"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestASlowCollectorSlowsResticDownAndCostsNoMemory(t *testing.T) {
	f := newFixture(t)
	const size = 256 << 20
	f.restic.list = aFile(size)
	f.restic.dump = func(_ context.Context, _ string, w io.Writer) error {
		_, err := io.CopyN(w, endless{}, size)
		return err
	}
	a := f.question(wire.QueryContent, contentOf("/big", false))
	var mu sync.Mutex
	var collected, owed int64
	arrived := make(chan struct{}, 1)
	a.OnData = func(p []byte) {
		mu.Lock()
		defer mu.Unlock()
		collected += int64(len(p))
	}
	a.Grant = func(bytes int64) {
		mu.Lock()
		defer mu.Unlock()
		if owed += bytes; owed > wire.StreamWindow {
			t.Errorf("%d bytes are under way, the window is %d", owed, wire.StreamWindow)
		}
		select {
		case arrived <- struct{}{}:
		default:
		}
	}
	number := f.open(a)
	var peak uint64
	var memory runtime.MemStats
	runtime.GC()
	for closed := false; !closed; {
		select {
		case <-arrived:
		case <-time.After(time.Minute):
			t.Fatal("nothing comes any more")
		}
		mu.Lock()
		bytes := owed
		owed = 0
		mu.Unlock()
		if bytes > 0 {
			f.Credit(&wire.StreamCredit{Stream: number, Bytes: bytes})
		}
		if runtime.ReadMemStats(&memory); memory.HeapAlloc > peak {
			peak = memory.HeapAlloc
		}
		closed = a.End() != nil
	}
	if a.Wait(); collected != size {
		t.Errorf("%d bytes came of %d", collected, size)
	}
	if peak > 64<<20 {
		t.Errorf("the heap grew to %d MiB for %d MiB of content", peak>>20, size>>20)
	}
}

func TestClosingAStreamEndsRestic(t *testing.T) {
	f := newFixture(t)
	f.restic.list = aFile(1)
	ended := make(chan error, 1)
	full := make(chan struct{})
	f.restic.dump = func(_ context.Context, _ string, w io.Writer) error {
		_, err := io.CopyN(w, endless{}, wire.StreamWindow/2)
		close(full)
		if err == nil {
			_, err = io.Copy(w, endless{})
		}
		ended <- err
		return err
	}
	a := f.question(wire.QueryContent, contentOf("/big", false))
	number := f.open(a)
	<-full
	f.Close(&wire.StreamClose{Stream: number})
	if err := receive(t, ended, "the end of restic"); !errors.Is(err, errClosed) {
		t.Errorf("restic ended with %v", err)
	}
	f.Stop()
	if a.End() != nil || a.Closed() != nil {
		t.Errorf("somebody was told: %+v, %+v", a.End(), a.Closed())
	}
}

func TestAnArchiveOfOneFileIsOne(t *testing.T) {
	f := newFixture(t)
	const name = "/etc/ünï/" + "a very long name that no old archive would hold, since they end at one hundred bytes, and this one does not.txt"
	text := strings.Repeat("content ", 100_000)
	f.restic.list = aFile(uint64(len(text)))
	f.restic.dump = func(_ context.Context, path string, w io.Writer) error {
		if path != name {
			t.Errorf("restic is asked for %s", path)
		}
		_, err := io.WriteString(w, text)
		return err
	}
	a := f.ask(wire.QueryContent, contentOf(name, true)).Wait()
	archive := tar.NewReader(bytes.NewReader([]byte(a.Text())))
	header, err := archive.Next()
	if err != nil || header.Name != name[1:] || header.Mode != 0o640 || !header.ModTime.Equal(begin) {
		t.Fatalf("%+v, %v", header, err)
	}
	if raw, err := io.ReadAll(archive); err != nil || string(raw) != text {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
	if _, err := archive.Next(); !errors.Is(err, io.EOF) {
		t.Error("the archive does not end:", err)
	}
}

func TestAFileThatIsNotAsLongAsItIsListedIsNoCompleteArchive(t *testing.T) {
	f := newFixture(t)
	f.restic.list = aFile(100)
	f.restic.dump = func(_ context.Context, _ string, w io.Writer) error {
		_, err := io.WriteString(w, "short")
		return err
	}
	if end := f.ask(wire.QueryContent, contentOf("/a", true)).Wait().End(); end == nil || end.Reason != wire.AnswerFailed {
		t.Errorf("%+v", end)
	}
}

func TestWhatResticSaysBecomesRecords(t *testing.T) {
	f := newFixture(t)
	node := restic.Node{Path: "/etc/a", Type: "file", Size: 5, Mode: 0o640, UID: 1, GID: 2, ModTime: begin}
	file := wire.FileRecord{Path: "/etc/a", Type: "file", Size: 5, Mode: 0o640, UID: 1, GID: 2, MTime: begin}
	f.restic.snapshots = func(filter restic.SnapshotFilter, each func(restic.Snapshot) error) error {
		return each(restic.Snapshot{ID: filter.Host + " " + filter.Tag, Time: begin, Hostname: "h", Tags: []string{"t"},
			Paths: []string{"/etc", strings.Repeat("x", maxPaths)}, Parent: "p", TotalFiles: 1, TotalBytes: 2, BytesAdded: 3})
	}
	f.restic.list = func(path string, recursive bool, each func(restic.Node) error) error {
		n := node
		n.Path = path
		if recursive {
			n.Path += " and all below"
		}
		return each(n)
	}
	f.restic.find = func(o restic.FindOptions, each func(string, restic.Node) error) error {
		if o.Filter.Host != "shop/web-1" || o.Filter.Tag != "tag-of-etc" || o.Pattern != "a*" || !o.IgnoreCase {
			t.Errorf("searched with %+v", o)
		}
		return each("s1", node)
	}
	f.restic.diff = func(each func(restic.Difference) error) (restic.DiffSummary, error) {
		return restic.DiffSummary{ChangedFiles: 1, FilesAdded: 2, FilesRemoved: 3, BytesAdded: 4, BytesRemoved: 5}, each(restic.Difference{Path: "/a", Modifier: "M"})
	}
	for _, tt := range []struct {
		q    wire.SnapshotsQuery
		want string
	}{{wire.SnapshotsQuery{}, "shop/web-1 "}, {wire.SnapshotsQuery{Group: "etc"}, "shop/web-1 tag-of-etc"}, {wire.SnapshotsQuery{AllHosts: true}, " "},
		{wire.SnapshotsQuery{ResticHost: "shop/db"}, "shop/db "}} {
		want := []wire.SnapshotRecord{{ID: tt.want, Time: begin, ResticHost: "h", Tags: []string{"t"}, Paths: []string{"/etc"}, Parent: "p", Files: 1, Bytes: 2, BytesAdded: 3}}
		if diff := cmp.Diff(want, querytest.Records[wire.SnapshotRecord](f.ask(wire.QuerySnapshots, wire.QueryParameters{Snapshots: &tt.q}).Wait())); diff != "" {
			t.Error(diff)
		}
	}
	for _, tt := range []struct {
		path      string
		recursive bool
		want      string
	}{{"", false, "/"}, {"/", false, "/"}, {"", true, " and all below"}, {"/", true, " and all below"}, {"/etc", false, "/etc"}, {"/etc", true, "/etc and all below"}} {
		file.Path = tt.want
		p := wire.QueryParameters{Files: &wire.FilesQuery{Snapshot: snapshotID, Path: tt.path, Recursive: tt.recursive}}
		if diff := cmp.Diff([]wire.FileRecord{file}, querytest.Records[wire.FileRecord](f.ask(wire.QueryFiles, p).Wait())); diff != "" {
			t.Error(diff)
		}
	}
	file.Path, file.Snapshot = "/etc/a", "s1"
	p := wire.QueryParameters{Find: &wire.FindQuery{Pattern: "a*", IgnoreCase: true, Group: "etc"}}
	if diff := cmp.Diff([]wire.FileRecord{file}, querytest.Records[wire.FileRecord](f.ask(wire.QueryFind, p).Wait())); diff != "" {
		t.Error(diff)
	}
	want := []wire.DiffRecord{{Path: "/a", Modifier: "M"}, {Summary: &wire.DiffSummary{ChangedFiles: 1, FilesAdded: 2, FilesRemoved: 3, BytesAdded: 4, BytesRemoved: 5}}}
	p = wire.QueryParameters{Diff: &wire.DiffQuery{From: snapshotID, To: snapshotID}}
	if diff := cmp.Diff(want, querytest.Records[wire.DiffRecord](f.ask(wire.QueryDiff, p).Wait())); diff != "" {
		t.Error(diff)
	}
}

func TestADiagnosisTellsWhetherTheRepositoryOpens(t *testing.T) {
	lock := restic.Lock{ID: "0123456789abcdef", Time: begin, Exclusive: true, Hostname: "db", User: "root", PID: 7}
	for name, tt := range map[string]struct {
		probe  func(context.Context) (restic.State, error)
		reason wire.Reason
	}{
		"it opens":                         {exists, ""},
		"there is none":                    {func(context.Context) (restic.State, error) { return restic.StateMissing, nil }, wire.ReasonNoRepository},
		"its certificate is not trusted":   {func(context.Context) (restic.State, error) { return "", restic.ErrTLS }, wire.ReasonTLS},
		"the password is another":          {func(context.Context) (restic.State, error) { return "", restic.ErrWrongPassword }, wire.ReasonWrongPassword},
		"nobody answers in time":           {nil, wire.ReasonUnreachable},
		"restic says what nobody has seen": {func(context.Context) (restic.State, error) { return "", errors.New("?") }, wire.ReasonResticFailed},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.restic.locks = []restic.Lock{lock, {ID: "gone"}}
			f.restic.probe = tt.probe
			began := make(chan struct{})
			if tt.probe == nil {
				f.restic.probe = func(ctx context.Context) (restic.State, error) {
					close(began)
					<-ctx.Done()
					return "", &restic.Error{Kind: restic.KindDeadlineExceeded}
				}
			}
			a := f.ask(wire.QueryDiagnosis, wire.QueryParameters{})
			if tt.probe == nil {
				<-began
				f.clock.BlockUntil(2)
				f.clock.Advance(repositoryPatience)
			}
			records := querytest.Records[wire.DiagnosisRecord](a.Wait())
			if len(records) != 1 || records[0].RepositoryReason != string(tt.reason) || (records[0].RepositoryMessage == "") != (tt.reason == "") || !records[0].RepositoryChecked {
				t.Fatalf("%+v", records)
			}
			if tt.reason != "" {
				return
			}
			want := []string{"01234567 exclusive, of process 7 of root on db, refreshed 2026-06-01T12:00:00Z", "gone"}
			if diff := cmp.Diff(want, records[0].Locks); diff != "" {
				t.Error(diff)
			}
		})
	}
}
