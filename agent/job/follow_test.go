package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/query"
	"github.com/restic-manager/restic-manager/agent/query/querytest"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// asking is a fixture with somebody who asks for its logs. Queries live in real time: their clock only bounds them.
type asking struct {
	*fixture
	machine *querytest.Machine
	answers *query.Answers
	streams uint32
}

func newAsking(t *testing.T) *asking {
	t.Helper()
	x := &asking{fixture: newFixture(t), machine: querytest.NewMachine(t)}
	x.answers = query.New(query.Options{Verify: x.machine.Verify, SealingKey: x.machine.SealingKey, Sign: x.machine.Sign, Logs: x.Manager, Logger: x.options.Logger})
	t.Cleanup(x.answers.Stop)
	return x
}

func (x *asking) ask(q wire.LogQuery) *querytest.Answer {
	x.t.Helper()
	a := x.machine.Ask(wire.QueryLog, wire.QueryParameters{Log: &q}, time.Now().Add(time.Hour))
	x.streams++
	number := x.streams
	a.Grant = func(bytes int64) { x.answers.Credit(&wire.StreamCredit{Stream: number, Bytes: bytes}) }
	x.answers.Open(a.Open(number), a)
	return a
}

// hearNothing empties what the observer heard beside results.
func (x *asking) hearNothing() {
	for {
		select {
		case <-x.seen.started:
		case <-x.seen.states:
		case <-x.seen.stats:
		default:
			return
		}
	}
}

func line(text string) restic.Line { return restic.Line{Time: begin, Text: text} }

func states(a *querytest.Answer) string {
	var out []string
	for _, r := range querytest.Records[wire.LogRecord](a) {
		out = append(out, string(r.State))
	}
	return strings.Join(out, " ")
}

// onDisk is the whole log of a job that ended.
func (x *asking) onDisk(id string) string {
	x.t.Helper()
	file, err := x.OpenLog(id)
	if err != nil {
		x.t.Fatal(err)
	}
	defer file.Close()
	raw, err := io.ReadAll(file)
	if err != nil {
		x.t.Fatal(err)
	}
	return string(raw)
}

func TestFollowingALogLosesAndRepeatsNothingWhileTheJobEnds(t *testing.T) {
	x := newAsking(t)
	for i := range 600 {
		id := fmt.Sprintf("job-%d", i)
		followers := []*querytest.Answer{x.ask(wire.LogQuery{JobID: id, Follow: true})}
		x.submit(backupJob(id, "rest:https://backup.example.com/web-1"))
		c := x.next("backup")
		if i%2 == 0 {
			followers = append(followers, x.ask(wire.LogQuery{JobID: id, Follow: true}))
		}
		// From one line to more than what is flushed line by line.
		for n := range i % 150 {
			c.observer.Line(line(fmt.Sprintf("line %d", n)))
		}
		c.done(reply{backup: restic.BackupResult{SnapshotID: "0123456789abcdef", Message: "done"}})
		x.result(id)
		x.hearNothing()
		for n, a := range followers {
			if end := a.Wait().End(); end == nil || end.Reason != "" {
				t.Fatalf("%s, follower %d: the answer ends with %+v", id, n, end)
			}
			if want := x.onDisk(id); a.Text() != want {
				t.Fatalf("%s, follower %d has %d bytes, the log has %d:\n%s", id, n, len(a.Text()), len(want), a.Text())
			}
			records := querytest.Records[wire.LogRecord](a)
			if last := records[len(records)-1]; last.State != wire.LogEnded || last.Outcome != wire.OutcomeSucceeded || last.Group != "etc" {
				t.Fatalf("%s: the last record is %+v", id, last)
			}
		}
	}
}

func TestAFollowedLineComesAtOnceAlsoWhereTheLogIsNotFlushedYet(t *testing.T) {
	x := newAsking(t)
	a := x.ask(wire.LogQuery{JobID: "j", Follow: true})
	a.Until("it waits", func(records []json.RawMessage, _ []byte) bool { return len(records) == 1 })
	x.submit(backupJob("j", "/repo"))
	c := x.next("backup")
	// The clock of the job stands still: beyond the first lines nothing is flushed by itself.
	for n := range 3 * flushFirst {
		c.observer.Line(line(fmt.Sprint("line ", n)))
	}
	a.Until("the last line came", func(_ []json.RawMessage, data []byte) bool {
		return strings.Contains(string(data), fmt.Sprint("line ", 3*flushFirst-1))
	})
	if got := states(a); got != "Waiting Running" {
		t.Errorf("it said %s before the end", got)
	}
	c.done(reply{})
	if got := states(a.Wait()); got != "Waiting Running Ended" {
		t.Errorf("it said %s", got)
	}
}

func TestALogIsGivenFromWhereItIsAskedFor(t *testing.T) {
	x := newAsking(t)
	x.submit(backupJob("j", "/repo"))
	c := x.next("backup")
	for n := range 10 {
		c.observer.Line(restic.Line{Time: begin.Add(time.Duration(n) * time.Minute), Text: fmt.Sprint("line ", n)})
	}
	c.done(reply{})
	x.result("j")
	whole := x.onDisk("j")
	at := func(n int) int64 {
		return int64(strings.Index(whole, begin.Add(time.Duration(n)*time.Minute).Format("2006-01-02T15:04:05.000Z")))
	}
	since := func(d time.Duration) *time.Time { return new(begin.Add(d)) }
	for name, tt := range map[string]struct {
		q    wire.LogQuery
		from int64
	}{
		"all of it":                    {wire.LogQuery{JobID: "j"}, 0},
		"followed after its end":       {wire.LogQuery{JobID: "j", Follow: true}, 0},
		"from an offset":               {wire.LogQuery{JobID: "j", Offset: at(4)}, at(4)},
		"from the middle of a line":    {wire.LogQuery{JobID: "j", Offset: at(4) + 7}, at(4) + 7},
		"from beyond its end":          {wire.LogQuery{JobID: "j", Offset: 1 << 40}, int64(len(whole))},
		"since a line":                 {wire.LogQuery{JobID: "j", Since: since(3 * time.Minute)}, at(3)},
		"since a time between two":     {wire.LogQuery{JobID: "j", Since: since(150 * time.Second)}, at(3)},
		"since before it began":        {wire.LogQuery{JobID: "j", Since: since(-time.Hour)}, 0},
		"since after it ended":         {wire.LogQuery{JobID: "j", Since: since(time.Hour)}, int64(len(whole))},
		"from an offset and a time":    {wire.LogQuery{JobID: "j", Offset: at(2) + 3, Since: since(0)}, at(3)},
		"of the last job of the group": {wire.LogQuery{Group: "etc"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := x.ask(tt.q).Wait()
			records := querytest.Records[wire.LogRecord](a)
			if a.Text() != whole[tt.from:] || len(records) != 1 || records[0].Offset != tt.from || records[0].State != wire.LogEnded {
				t.Errorf("%+v\n%s\nwant from %d of\n%s", records, a.Text(), tt.from, whole)
			}
		})
	}
}

func TestLogsThatAreNotThere(t *testing.T) {
	x := newAsking(t)
	for name, q := range map[string]wire.LogQuery{
		"no job yet":              {},
		"a job that nobody knows": {JobID: "nobody"},
		"a path":                  {JobID: ".."},
		"a hidden file":           {JobID: ".log"},
		"a group without jobs":    {Group: "home"},
	} {
		if end := x.ask(q).Wait().End(); end == nil || end.Reason != wire.AnswerNotFound || end.Message == "" {
			t.Errorf("%s: %+v", name, end)
		}
	}
	if _, err := x.OpenLog("../ledger/j"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a path as an id: %v", err)
	}
}

func TestWhoNamesNoJobGetsTheRunningOneOrElseTheLast(t *testing.T) {
	x := newAsking(t)
	run := func(id, group string) {
		j := backupJob(id, "/repo")
		j.Ref.SourceGroup, j.Backup.Name, j.Backup.Tag = group, group, group
		x.submit(j)
		x.next("backup").done(reply{})
		x.result(id)
		x.clock.Advance(time.Minute)
	}
	run("first", "etc")
	run("second", "home")
	run("third", "etc")
	x.submit(backupJob("fourth", "/repo"))
	c := x.next("backup")
	for _, tt := range []struct {
		group    string
		previous bool
		want     string
	}{{"", false, "fourth"}, {"", true, "third"}, {"etc", false, "fourth"}, {"etc", true, "third"}, {"home", false, "second"}, {"home", true, ""}} {
		if id, _ := x.NewestLog(tt.group, tt.previous); id != tt.want {
			t.Errorf("of group %q, previous %v: %q, want %q", tt.group, tt.previous, id, tt.want)
		}
	}
	c.done(reply{})
	x.result("fourth")
	if id, _ := x.NewestLog("", false); id != "fourth" {
		t.Errorf("after its end %q is the newest", id)
	}
}

func TestABackupIsTalkativeOnlyWhileSomebodyWantsIt(t *testing.T) {
	x := newAsking(t)
	backup := func(id string) bool {
		x.submit(backupJob(id, "/repo"))
		c := x.next("backup")
		defer x.result(id)
		defer c.done(reply{})
		return c.backup.Verbose
	}
	if backup("a") {
		t.Error("nobody wanted it")
	}
	for name, tt := range map[string]struct {
		jobID, group string
		want         bool
	}{"this-job": {"this-job", "", true}, "another job": {"x", "", false}, "the group": {"", "etc", true}, "another group": {"", "home", false}, "any": {"", "", true}} {
		release := x.Verbose(tt.jobID, tt.group)
		if got := backup(strings.ReplaceAll(name, " ", "-")); got != tt.want {
			t.Errorf("somebody wants %s: %v", name, got)
		}
		release()
	}
	if backup("z") {
		t.Error("who wanted it is gone")
	}

	a := x.ask(wire.LogQuery{JobID: "v", Follow: true, Verbose: true})
	a.Until("it waits", func(records []json.RawMessage, _ []byte) bool { return len(records) == 1 })
	if !backup("v") {
		t.Error("a follower wanted it")
	}
	a.Wait()
	x.submit(backupJob("q", "/repo"))
	c := x.next("backup")
	late := x.ask(wire.LogQuery{JobID: "q", Follow: true, Verbose: true})
	plain := x.ask(wire.LogQuery{JobID: "q", Follow: true})
	for _, a := range []*querytest.Answer{late, plain} {
		a.Until("the first record", func(records []json.RawMessage, _ []byte) bool { return len(records) == 1 })
	}
	if r := querytest.Records[wire.LogRecord](late)[0]; !r.NotVerbose || r.State != wire.LogRunning {
		t.Errorf("who comes too late for it hears %+v", r)
	}
	if r := querytest.Records[wire.LogRecord](plain)[0]; r.NotVerbose {
		t.Errorf("who did not ask for it hears %+v", r)
	}
	c.done(reply{})
	late.Wait()
	plain.Wait()
}

func TestWhoLosesAStreamGoesOnFromTheByteThatHeHas(t *testing.T) {
	x := newAsking(t)
	x.submit(backupJob("j", "/repo"))
	c := x.next("backup")
	var text string
	for round := range 20 {
		a := x.ask(wire.LogQuery{JobID: "j", Follow: true, Offset: int64(len(text))})
		for n := range 50 {
			c.observer.Line(line(fmt.Sprintf("round %d line %d", round, n)))
		}
		a.Until("some of the round came", func(_ []json.RawMessage, data []byte) bool { return len(data) > 0 })
		x.answers.SessionEnded()
		text += a.Text() // what comes after the session is lost
	}
	c.done(reply{})
	x.result("j")
	a := x.ask(wire.LogQuery{JobID: "j", Follow: true, Offset: int64(len(text))}).Wait()
	if got, want := text+a.Text(), x.onDisk("j"); got != want {
		t.Errorf("%d bytes came, the log has %d", len(got), len(want))
	}
}
