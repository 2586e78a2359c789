package query

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/query/querytest"
	"github.com/restic-manager/restic-manager/api/wire"
)

// silentLogs is one job whose bell never rings.
type silentLogs struct {
	noLogs
	path string

	mu     sync.Mutex
	record wire.LogRecord
}

func (l *silentLogs) Log(string) (wire.LogRecord, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.record, true
}
func (l *silentLogs) OpenLog(string) (*os.File, error) { return os.Open(l.path) }

func (l *silentLogs) write(text string, state wire.LogState) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.record.State = state
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

func TestAFollowerLooksAgainThoughNoBellRings(t *testing.T) {
	l := &silentLogs{path: filepath.Join(t.TempDir(), "j.log"), record: wire.LogRecord{JobID: "j"}}
	if err := l.write("one\n", wire.LogRunning); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, func(o *Options) { o.Logs = l })
	a := f.ask(wire.QueryLog, wire.QueryParameters{Log: &wire.LogQuery{JobID: "j", Follow: true}})
	f.clock.BlockUntil(3) // the end of the query, the flush of what waits, and the next look
	f.clock.Advance(flushEvery)
	a.Until("the first line came", func(_ []json.RawMessage, data []byte) bool { return string(data) == "one\n" })
	if err := l.write("two\n", wire.LogEnded); err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(lookAgain)
	if end := a.Wait().End(); end == nil || end.Reason != "" || a.Text() != "one\ntwo\n" {
		t.Errorf("%q, %+v", a.Text(), end)
	}
	records := querytest.Records[wire.LogRecord](a)
	if len(records) != 2 || records[0].Offset != 0 || records[1].Offset != 8 || records[1].State != wire.LogEnded {
		t.Errorf("%+v", records)
	}
}

func TestALogArrivesWholeHoweverFarItShrinks(t *testing.T) {
	random := make([]byte, 1_000_000)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	lines := strings.Repeat("2026-06-01T12:00:00.000Z unchanged /etc/hosts\n", 25_000)
	for name, tt := range map[string]struct {
		log    string
		frames int // at most, with opening, records and end
	}{
		"an empty one":                    {"", 3},
		"a line":                          {"one\n", 4},
		"one that shrinks":                {lines, 3 + len(lines)/maxLog + 1},
		"one that does not":               {string(random), 3 + len(random)/maxPlain + len(random)/maxLog + 2},
		"one of which the beginning does": {lines[:maxLog/2] + string(random), 4 + len(random)/maxPlain + len(random)/maxLog + 2},
	} {
		t.Run(name, func(t *testing.T) {
			l := &silentLogs{path: filepath.Join(t.TempDir(), "j.log"), record: wire.LogRecord{JobID: "j"}}
			if err := l.write(tt.log, wire.LogEnded); err != nil {
				t.Fatal(err)
			}
			f := newFixture(t, func(o *Options) { o.Logs = l })
			a := f.question(wire.QueryLog, wire.QueryParameters{Log: &wire.LogQuery{JobID: "j"}})
			number := f.streams + 1
			a.Grant = func(bytes int64) { f.Credit(&wire.StreamCredit{Stream: number, Bytes: bytes}) }
			f.open(a)
			if end := a.Wait().End(); end == nil || end.Reason != "" || a.Text() != tt.log {
				t.Errorf("%d bytes of %d, %+v", len(a.Text()), len(tt.log), end)
			}
			if a.Frames() > tt.frames {
				t.Errorf("%d frames, expected at most %d", a.Frames(), tt.frames)
			}
		})
	}
}

func TestLinesFromBeforeATimeAreLeftOut(t *testing.T) {
	const (
		early = "2026-06-01T12:00:00.000Z one\n"
		plain = "a line without a time\n"
		late  = "2026-06-01T12:01:00.000Z two\n"
	)
	long := "2026-06-01T12:00:00.000Z " + strings.Repeat("x", 100_000) + "\n"
	for name, tt := range map[string]struct {
		log  string
		want int
	}{
		"an empty log":                        {"", 0},
		"all are newer":                       {late + late, 0},
		"all are older":                       {early + early, 2 * len(early)},
		"some are older":                      {early + late, len(early)},
		"a line without a time after an old":  {early + plain + late, len(early + plain)},
		"a line without a time after a new":   {late + plain, 0},
		"a line longer than any buffer":       {long + late, len(long)},
		"the end of a line, and then older":   {"X one\n" + early + late, len("X one\n" + early)},
		"a time in the middle of a long line": {strings.TrimSuffix(long, "\n") + late + late, len(long) - 1 + len(late)},
		"an older one after a newer one":      {late + early, 0},
	} {
		got, err := olderThan(strings.NewReader(tt.log), begin.Add(30*time.Second))
		if err != nil || got != int64(tt.want) {
			t.Errorf("%s: %d, %v, want %d", name, got, err, tt.want)
		}
	}
}
