package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/query/querytest"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestEachAnswerEndsWithWhatBecameOfIt(t *testing.T) {
	content, folder := contentOf("/etc/shadow", false), wire.QueryParameters{Files: &wire.FilesQuery{Snapshot: snapshotID, Path: "/etc"}}
	fails := func(err error) func(f *fixture) {
		return func(f *fixture) { f.restic.list = func(string, bool, func(restic.Node) error) error { return err } }
	}
	of := func(kind string) func(*fixture) {
		return func(f *fixture) {
			f.restic.list = func(path string, _ bool, each func(restic.Node) error) error {
				return each(restic.Node{Path: path, Type: kind})
			}
		}
	}
	for name, tt := range map[string]struct {
		kind    wire.QueryKind
		p       wire.QueryParameters
		prepare func(*fixture)
		deny    bool
		reason  wire.AnswerReason
		says    string
	}{
		"a folder that is listed":             {wire.QueryFiles, folder, fails(nil), false, "", ""},
		"without consent":                     {wire.QueryFiles, folder, nil, true, wire.AnswerNotAllowed, "queries: allow"},
		"content without consent":             {wire.QueryContent, content, nil, true, wire.AnswerNotAllowed, "queries: allow"},
		"a diagnosis without consent":         {wire.QueryDiagnosis, wire.QueryParameters{}, func(f *fixture) { f.restic.probe = exists }, true, "", ""},
		"a log without consent":               {wire.QueryLog, wire.QueryParameters{}, nil, true, wire.AnswerNotFound, "no log"},
		"no such path":                        {wire.QueryFiles, folder, fails(restic.ErrNothingRestored), false, wire.AnswerNotFound, ""},
		"no such snapshot":                    {wire.QueryFiles, folder, fails(restic.ErrNoSuchSnapshot), false, wire.AnswerNotFound, ""},
		"what restic does not take":           {wire.QueryFiles, folder, fails(restic.ErrInvalid), false, wire.AnswerInvalid, ""},
		"a wrong password":                    {wire.QueryFiles, folder, fails(restic.ErrWrongPassword), false, wire.AnswerFailed, ""},
		"a folder as a file":                  {wire.QueryContent, content, of("dir"), false, wire.AnswerInvalid, "tar"},
		"a link as a file":                    {wire.QueryContent, content, of("symlink"), false, wire.AnswerInvalid, "is a symlink"},
		"a device in an archive":              {wire.QueryContent, contentOf("/dev/sda", true), of("dev"), false, wire.AnswerInvalid, "its folder"},
		"the root as a file":                  {wire.QueryContent, contentOf("/", false), nil, false, wire.AnswerInvalid, "is a folder"},
		"a machine without a repository":      {wire.QuerySnapshots, wire.QueryParameters{}, func(f *fixture) { f.o.Repository = noRepository }, false, wire.AnswerFailed, "no schedule set"},
		"a list that is longer than is meant": {wire.QueryFiles, folder, of("file"), false, wire.AnswerTooLarge, "1 GiB"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(o *Options) { o.AllowContent = !tt.deny })
			if tt.prepare != nil {
				tt.prepare(f)
			}
			if tt.reason == wire.AnswerTooLarge {
				f.listing = 1 << 20
				f.restic.list = func(_ string, _ bool, each func(restic.Node) error) error {
					for {
						if err := each(restic.Node{Path: "/" + strings.Repeat("x", 1000)}); err != nil {
							return err
						}
					}
				}
			}
			a := f.ask(tt.kind, tt.p).Wait()
			if end := a.End(); end == nil || end.Reason != tt.reason || !strings.Contains(end.Message, tt.says) {
				t.Errorf("it ends with %+v, want %q and %q", end, tt.reason, tt.says)
			}
			if m := a.Closed(); m.Reason != "" {
				t.Errorf("the gateway hears %q", m.Reason)
			}
		})
	}
}

func exists(context.Context) (restic.State, error) { return restic.StateExists, nil }

func noRepository(context.Context) (Repository, error) {
	return Repository{}, errors.New("this machine has no schedule set yet")
}

func TestParametersThatAreHostile(t *testing.T) {
	f := newFixture(t)
	folder := wire.QueryParameters{Files: &wire.FilesQuery{Snapshot: snapshotID}}
	other := querytest.NewMachine(t)
	for name, change := range map[string]func(*wire.HostQuery){
		"garbage":                      func(q *wire.HostQuery) { q.Parameters = []byte("garbage") },
		"none where they are needed":   func(q *wire.HostQuery) { q.Parameters = nil },
		"sealed for another kind":      func(q *wire.HostQuery) { q.Kind = wire.QueryContent },
		"sealed for another host":      func(q *wire.HostQuery) { q.Host.Name = "web-2" },
		"sealed for another requester": func(q *wire.HostQuery) { q.PublicKey = other.Identity.SealingKey },
	} {
		a := f.question(wire.QueryFiles, folder, change)
		if name == "sealed for another requester" {
			// Its opening is for somebody else: only the end tells.
			sink := &deaf{closed: make(chan *wire.StreamClose, 1)}
			f.streams++
			f.Open(a.Open(f.streams), sink)
			receive(t, sink.closed, "the end")
			continue
		}
		f.open(a)
		if end := a.Wait().End(); end == nil || end.Reason != wire.AnswerInvalid {
			t.Errorf("%s: %+v", name, end)
		}
	}
	weak := f.question(wire.QueryFiles, folder, func(q *wire.HostQuery) { q.PublicKey = make([]byte, wire.KeySize) })
	f.open(weak)
	if m := weak.Wait().Closed(); m.Reason != wire.RefusalInvalid || weak.Frames() != 0 {
		t.Errorf("a key of zeros: %+v after %d frames", m, weak.Frames())
	}
}

// deaf collects for nobody.
type deaf struct{ closed chan *wire.StreamClose }

func (d *deaf) Data(context.Context, []byte) error { return nil }
func (d *deaf) Finish(_ context.Context, m *wire.StreamClose) error {
	d.Refuse(m)
	return nil
}
func (d *deaf) Refuse(m *wire.StreamClose) { d.closed <- m }

func TestAGatewayThatBreaksTheRulesCostsAStream(t *testing.T) {
	f := newFixture(t)
	began := make(chan struct{}, 10)
	f.restic.list, f.restic.dump = aFile(1), hang(began)
	running := func() (*querytest.Answer, uint32) {
		a := f.question(wire.QueryContent, contentOf("/a", false))
		n := f.open(a)
		receive(t, began, "the work")
		return a, n
	}
	f.Credit(&wire.StreamCredit{Stream: 77, Bytes: 1})
	f.Close(&wire.StreamClose{Stream: 77})

	a, n := running()
	for range maxCredit/wire.StreamWindow + 1 {
		f.Credit(&wire.StreamCredit{Stream: n, Bytes: wire.StreamWindow})
	}
	if a.Wait().End() != nil {
		t.Error("too much credit: the answer goes on")
	}
	a, n = running()
	b := f.question(wire.QueryContent, contentOf("/b", false))
	f.Open(b.Open(n), b)
	if a.Wait(); a.End() != nil || b.Frames() != 0 {
		t.Error("a number that is used already: one of both was answered")
	}
	forged := f.question(wire.QueryContent, contentOf("/c", false))
	forged.Signatures = querytest.NewMachine(t).Signer.Sign("x")
	f.open(forged)
	if m := forged.Wait().Closed(); m.Reason != wire.RefusalBadSignature || forged.Frames() != 0 {
		t.Errorf("a forged query: %+v", m)
	}
	rich := f.question(wire.QueryContent, contentOf("/c", false))
	m := rich.Open(99)
	m.Credit = maxCredit + 1
	f.Open(m, rich)
	if m := rich.Wait().Closed(); m.Reason != wire.RefusalInvalid {
		t.Errorf("an open with too much credit: %+v", m)
	}
}

func TestAQueryIsNotAnsweredForEver(t *testing.T) {
	f := newFixture(t)
	a := f.question(wire.QueryDiagnosis, wire.QueryParameters{})
	f.restic.probe = exists
	for range maxOpens {
		sink := &deaf{closed: make(chan *wire.StreamClose, 1)}
		f.streams++
		f.Open(a.Open(f.streams), sink)
		if m := receive(t, sink.closed, "the end"); m.Reason != "" {
			t.Fatalf("it was refused with %s", m.Reason)
		}
	}
	f.open(a)
	if m := a.Wait().Closed(); m.Reason != wire.RefusalAlreadyRun {
		t.Errorf("after %d answers: %+v", maxOpens, m)
	}
	f.clock.Advance(2 * time.Hour)
	f.open(f.question(wire.QueryDiagnosis, wire.QueryParameters{}))
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.opens) != 1 {
		t.Errorf("%d queries are remembered after their time", len(f.opens))
	}
}

func TestAFloodOfRefusedQueriesFillsNoLog(t *testing.T) {
	f := newFixture(t)
	a := f.question(wire.QueryDiagnosis, wire.QueryParameters{})
	a.Signatures = nil
	for n := range uint32(10 * quotaSize) {
		f.Open(a.Open(n), &deaf{closed: make(chan *wire.StreamClose, 1)})
	}
	if n := f.logged("\n"); n != quotaSize {
		t.Errorf("%d lines for %d refusals", n, 10*quotaSize)
	}
}

func TestNoMoreAnswersThanTheMachineMayGive(t *testing.T) {
	f := newFixture(t)
	began := make(chan struct{}, 10)
	f.restic.list, f.restic.dump = aFile(1), hang(began)
	all := map[uint32]*querytest.Answer{}
	for range wire.MaxStreams {
		a := f.question(wire.QueryContent, contentOf("/a", false))
		all[f.open(a)] = a
		if len(all) <= maxChildren {
			receive(t, began, "the work")
		}
	}
	over := f.ask(wire.QueryDiagnosis, wire.QueryParameters{})
	if end := over.Wait().End(); end == nil || end.Reason != wire.AnswerBusy {
		t.Errorf("one too many: %+v", end)
	}
	select {
	case <-began:
		t.Errorf("more than %d restics run for queries", maxChildren)
	default:
	}
	f.Close(&wire.StreamClose{Stream: 1})
	receive(t, began, "the next restic, when one has ended")
	f.Stop()
	delete(all, 1)
	for number, a := range all {
		if end := a.Wait().End(); end == nil || end.Reason != wire.AnswerFailed || !strings.Contains(end.Message, "stopping") {
			t.Errorf("stream %d at the end of the agent: %+v", number, end)
		}
	}
}

func TestAnAnswerEndsWithItsTime(t *testing.T) {
	f := newFixture(t)
	f.restic.list = aFile(1)
	blocked := make(chan struct{})
	f.restic.dump = func(_ context.Context, _ string, w io.Writer) error {
		close(blocked)
		_, err := io.Copy(w, endless{})
		return err
	}
	a := f.question(wire.QueryContent, contentOf("/a", false)) // and nobody gives credit
	f.open(a)
	<-blocked
	f.clock.BlockUntil(2) // the end of the query, and the flush of what waits
	f.clock.Advance(time.Hour)
	if end := a.Wait().End(); end == nil || end.Reason != wire.AnswerExpired {
		t.Errorf("it ends with %+v", end)
	}
	if f.logged("end=Expired") != 1 {
		t.Errorf("the machine's log:\n%s", f.log)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestNobodyListensAfterTheSession(t *testing.T) {
	f := newFixture(t)
	began := make(chan struct{}, 10)
	f.restic.list, f.restic.dump = aFile(1), hang(began)
	before, after := f.question(wire.QueryContent, contentOf("/a", false)), f.question(wire.QueryContent, contentOf("/a", false))
	f.Open(before.Open(1), before)
	receive(t, began, "the work")
	f.SessionEnded()
	f.Open(after.Open(1), after)
	receive(t, began, "the work in the next session")
	f.Close(&wire.StreamClose{Stream: 1})
	f.Stop()
	for _, a := range []*querytest.Answer{before, after} {
		if a.Frames() != 1 || a.Closed() != nil {
			t.Errorf("%d frames, then %+v", a.Frames(), a.Closed())
		}
	}
	for _, end := range []string{errLost.Error(), errClosed.Error()} {
		if f.logged(fmt.Sprintf("end=%q", end)) != 1 {
			t.Errorf("the machine's log does not say %q:\n%s", end, f.log)
		}
	}
}

func TestTheMachinesLogTellsWhoAskedForWhat(t *testing.T) {
	f := newFixture(t)
	f.restic.list = aFile(3)
	f.restic.dump = func(_ context.Context, _ string, w io.Writer) error {
		_, err := io.WriteString(w, "abc")
		return err
	}
	f.restic.find = func(restic.FindOptions, func(string, restic.Node) error) error { return nil }
	f.restic.diff = func(func(restic.Difference) error) (restic.DiffSummary, error) { return restic.DiffSummary{}, nil }
	for _, p := range []struct {
		kind wire.QueryKind
		p    wire.QueryParameters
		says string
	}{
		{wire.QueryContent, contentOf("/etc/my secret", false), `path="/etc/my secret"`},
		{wire.QueryFiles, wire.QueryParameters{Files: &wire.FilesQuery{Snapshot: snapshotID, Path: "/home"}}, "path=/home"},
		{wire.QueryFind, wire.QueryParameters{Find: &wire.FindQuery{Pattern: "*.key"}}, "pattern=*.key"},
		{wire.QueryDiff, wire.QueryParameters{Diff: &wire.DiffQuery{From: snapshotID, To: "89abcdef"}}, "to=89abcdef"},
	} {
		f.ask(p.kind, p.p).Wait()
		if f.logged(p.says) != 1 || f.logged(fmt.Sprintf("kind=%s hostQuery=q uid=uid-%d ", p.kind, f.streams)) != 1 {
			t.Errorf("%s is not told:\n%s", p.kind, f.log)
		}
	}
	if n := f.logged("\n"); n != 4 || f.logged("end=complete") != 4 {
		t.Errorf("%d lines for 4 queries:\n%s", n, f.log)
	}
}

func TestRecordsTravelTogether(t *testing.T) {
	f := newFixture(t)
	waits, more := make(chan struct{}), make(chan struct{})
	f.restic.list = func(_ string, _ bool, each func(restic.Node) error) error {
		var err error
		for i := range 1000 {
			err = errors.Join(err, each(restic.Node{Path: fmt.Sprint("/", i), Type: "file"}))
		}
		close(waits)
		<-more
		return errors.Join(err, each(restic.Node{Path: "/last"}))
	}
	a := f.ask(wire.QueryFiles, wire.QueryParameters{Files: &wire.FilesQuery{Snapshot: snapshotID}})
	<-waits
	f.clock.BlockUntil(2)
	f.clock.Advance(flushEvery)
	a.Until("the first records came in their time", func(records []json.RawMessage, _ []byte) bool { return len(records) == 1000 })
	close(more)
	if got := a.Wait().Chunks(); got != "RRE" {
		t.Errorf("the chunks are %s", got)
	}
	files := querytest.Records[wire.FileRecord](a)
	if len(files) != 1001 || files[999].Path != "/999" || files[1000].Path != "/last" || slices.ContainsFunc(files, func(r wire.FileRecord) bool { return r.Path == "" }) {
		t.Errorf("%d records", len(files))
	}
}
