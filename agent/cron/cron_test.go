package cron

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/agent/atomicfile/atomicfiletest"
	"github.com/restic-manager/restic-manager/agent/clock/clocktest"
	"github.com/restic-manager/restic-manager/api/wire"
)

var (
	web1  = wire.HostRef{Namespace: "shop", Name: "web-1"}
	start = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	quiet = slog.New(slog.DiscardHandler)
)

// fixture is a Cron whose fires are taken by hand.
type fixture struct {
	t     *testing.T
	clock *clocktest.Clock
	path  string
	cron  *Cron
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{t: t, clock: clocktest.New(start), path: filepath.Join(t.TempDir(), "cron.json")}
	f.restart()
	return f
}

func (f *fixture) restart() {
	f.t.Helper()
	c, err := Open(Options{Host: web1, Path: f.path, Clock: f.clock, Logger: quiet})
	if err != nil {
		f.t.Fatal(err)
	}
	f.cron = c
}

func (f *fixture) update(set *wire.ScheduleSet) {
	f.t.Helper()
	if err := f.cron.Update(set); err != nil {
		f.t.Fatal(err)
	}
}

// fires takes and settles what is due, as "nominal", "nominal+skipped" or "nominal missed".
func (f *fixture) fires() []string {
	f.t.Helper()
	var out []string
	fires, _ := f.cron.due()
	for _, x := range fires {
		s := x.Schedule + "/" + x.SourceGroup + " " + x.Nominal
		if x.Skipped > 0 {
			s += " +" + string(rune('0'+x.Skipped))
		}
		if x.Missed {
			s += " missed"
		}
		out = append(out, s)
		if err := f.cron.Settle(x); err != nil {
			f.t.Fatal(err)
		}
	}
	return out
}

func (f *fixture) want(when string, want ...string) {
	f.t.Helper()
	if diff := cmp.Diff(want, f.fires()); diff != "" {
		f.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

func (f *fixture) at(clock string) {
	f.t.Helper()
	t, err := time.Parse(wire.NominalLayout, clock)
	if err != nil {
		f.t.Fatal(err)
	}
	f.clock.Set(t)
}

func set(change ...func(*wire.ScheduleSet)) *wire.ScheduleSet {
	s := &wire.ScheduleSet{Revision: "r1", Schedules: []wire.Schedule{{
		Name: "nightly", Cron: "30 2 * * *", TimeZone: "UTC", Groups: []string{"etc"}, WhenDisconnected: wire.WhenDisconnectedRun,
	}}}
	for _, c := range change {
		c(s)
	}
	return s
}

func hourly(s *wire.ScheduleSet)    { s.Schedules[0].Cron = "0 * * * *" }
func suspended(s *wire.ScheduleSet) { s.Schedules[0].Suspended = true }
func deadline(d time.Duration) func(*wire.ScheduleSet) {
	return func(s *wire.ScheduleSet) { s.Schedules[0].StartingDeadlineSeconds = int64(d / time.Second) }
}

func TestAFireComesOnceWhenItIsDue(t *testing.T) {
	f := newFixture(t)
	f.update(set())
	f.at("2026-06-02T02:29")
	f.want("before its time")
	f.at("2026-06-02T02:30")
	f.want("at its time", "nightly/etc 2026-06-02T02:30")
	f.want("right after")
	f.restart()
	f.update(set())
	f.want("after a restart")
	f.at("2026-06-03T02:30")
	f.want("the day after", "nightly/etc 2026-06-03T02:30")
}

func TestAFireCarriesWhatTheAgentNeeds(t *testing.T) {
	f := newFixture(t)
	f.update(set(func(s *wire.ScheduleSet) { s.Schedules[0].JitterSeconds = 2700 }, deadline(time.Hour)))
	f.at("2026-06-02T03:15")
	fires, _ := f.cron.due()
	if len(fires) != 1 {
		t.Fatalf("%d fires, want 1", len(fires))
	}
	got := fires[0]
	nominal := time.Date(2026, 6, 2, 2, 30, 0, 0, time.UTC)
	if got.Due.Before(nominal) || !got.Due.Before(nominal.Add(45*time.Minute)) {
		t.Errorf("due at %v, want within 45 minutes after %v", got.Due, nominal)
	}
	want := Fire{At: nominal, WhenDisconnected: wire.WhenDisconnectedRun, StartingDeadline: time.Hour, Fire: wire.Fire{
		JobID:    wire.FireID(web1, "nightly", "etc", "2026-06-02T02:30"),
		Schedule: "nightly", SourceGroup: "etc", Nominal: "2026-06-02T02:30", Due: got.Due, Revision: "r1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
}

func TestWhatPassedUnseenBecomesOneFire(t *testing.T) {
	for _, c := range []struct {
		name   string
		unseen func(*fixture, *wire.ScheduleSet)
	}{
		{"because the agent was down", func(f *fixture, s *wire.ScheduleSet) { f.clock.Advance(5 * time.Hour); f.restart(); f.update(s) }},
		{"because the machine slept", func(f *fixture, _ *wire.ScheduleSet) { f.clock.Advance(5 * time.Hour) }},
		{"because the clock jumped forward", func(f *fixture, _ *wire.ScheduleSet) { f.clock.Jump(5 * time.Hour) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.update(set(hourly))
			c.unseen(f, set(hourly))
			f.want("at once", "nightly/etc 2026-06-01T17:00 +4")
			f.clock.Advance(time.Hour)
			f.want("an hour later", "nightly/etc 2026-06-01T18:00")
		})
	}
}

func TestAFireThatIsTooLateIsReportedAsMissed(t *testing.T) {
	for _, c := range []struct {
		name     string
		deadline time.Duration
		want     string
	}{
		{"within the deadline", 2 * time.Hour, "nightly/etc 2026-06-02T02:30"},
		{"later than the deadline", time.Hour, "nightly/etc 2026-06-02T02:30 missed"},
		{"without a deadline", 0, "nightly/etc 2026-06-02T02:30"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			s := set(deadline(c.deadline))
			f.update(s)
			f.at("2026-06-02T04:00")
			f.restart()
			f.update(s)
			f.want("at start", c.want)
			f.restart()
			f.update(s)
			f.want("at the next start")
		})
	}
	f := newFixture(t)
	f.update(set(deadline(time.Hour)))
	f.at("2026-06-02T04:00")
	fires, _ := f.cron.due()
	for _, part := range []string{"2026-06-02T02:30", "1h30m0s after it was due", "nightly allows 1h0m0s"} {
		if len(fires) != 1 || !strings.Contains(fires[0].Message, part) {
			t.Errorf("the message does not say %q: %+v", part, fires)
		}
	}
}

func TestAFireThatWasNotSettledComesAgainAfterARestart(t *testing.T) {
	f := newFixture(t)
	f.update(set(hourly))
	f.at("2026-06-01T13:00")
	first, _ := f.cron.due()
	if again, _ := f.cron.due(); len(first) != 1 || len(again) != 0 {
		t.Fatalf("handed out %d and %d fires, want 1 and 0", len(first), len(again))
	}
	f.update(set(hourly)) // the same set again changes nothing
	f.want("after an update")
	f.restart()
	f.update(set(hourly))
	second, _ := f.cron.due()
	if len(second) != 1 || second[0].JobID != first[0].JobID {
		t.Errorf("after the restart %+v, want %+v again", second, first)
	}
}

func TestSchedulesNeverFireForTheTimeBeforeTheyWereInForce(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after *wire.ScheduleSet
		want          []string
	}{
		{"a new schedule", &wire.ScheduleSet{Revision: "r0"}, set(hourly), nil},
		{"a new group", set(hourly), set(hourly, func(s *wire.ScheduleSet) { s.Schedules[0].Groups = []string{"etc", "home"} }), []string{"nightly/etc 2026-06-01T15:00 +2"}},
		{"a schedule that was suspended", set(hourly, suspended), set(hourly), nil},
		{"a host that was suspended", set(hourly, func(s *wire.ScheduleSet) { s.Suspended = true }), set(hourly), nil},
		{"a changed expression", set(), set(hourly), nil},
		{"a changed zone", set(hourly), set(hourly, func(s *wire.ScheduleSet) { s.Schedules[0].TimeZone = "Asia/Kolkata" }), nil},
		{"a changed jitter is the same schedule", set(hourly), set(hourly, func(s *wire.ScheduleSet) { s.Schedules[0].JitterSeconds = 1 }), []string{"nightly/etc 2026-06-01T15:00 +2"}},
	} {
		for _, restarted := range []bool{false, true} {
			f := newFixture(t)
			f.update(c.before)
			f.at("2026-06-01T15:10")
			if restarted {
				f.restart()
			}
			f.update(c.after)
			f.want(c.name, c.want...)
		}
	}
}

func TestNothingFiresWhile(t *testing.T) {
	for name, s := range map[string]*wire.ScheduleSet{
		"the schedule is suspended": set(hourly, suspended),
		"the host is suspended":     set(hourly, func(s *wire.ScheduleSet) { s.Suspended = true }),
		"the host is removed":       set(hourly, func(s *wire.ScheduleSet) { s.Tombstone = true }),
		"there is no set":           nil,
	} {
		f := newFixture(t)
		f.update(set(hourly))
		f.update(s)
		f.at("2026-06-02T12:00")
		f.want(name)
	}
}

func TestAfterAJumpBackNothingComesTwiceAndNothingStops(t *testing.T) {
	f := newFixture(t)
	f.update(set(hourly))
	f.at("2026-06-01T14:00")
	f.want("two hours on", "nightly/etc 2026-06-01T14:00 +1")
	f.at("2026-06-01T15:00")
	f.want("an hour later", "nightly/etc 2026-06-01T15:00")
	f.clock.Jump(-150 * time.Minute) // 12:30
	f.want("after the jump back")
	f.clock.Advance(30 * time.Minute)
	f.want("13:00 was only skipped", "nightly/etc 2026-06-01T13:00")
	f.clock.Advance(time.Hour)
	f.want("14:00 had its turn")
	f.restart()
	f.update(set(hourly))
	f.clock.Advance(time.Hour)
	f.want("15:00 had its turn, after a restart too")
	f.clock.Advance(time.Hour)
	f.want("16:00", "nightly/etc 2026-06-01T16:00")
}

func TestABootInAWrongYearDoesNotSilenceTheMachine(t *testing.T) {
	f := newFixture(t)
	f.at("2026-06-01T12:10")
	f.update(set(hourly))
	f.clock.Jump(10 * 365 * 24 * time.Hour)
	if got := f.fires(); len(got) != 1 {
		t.Fatalf("in the wrong year %v, want one fire", got)
	}
	f.clock.Jump(-10 * 365 * 24 * time.Hour)
	f.restart()
	f.update(set(hourly))
	f.want("back in the right year")
	f.clock.Advance(50 * time.Minute)
	f.want("an hour later", "nightly/etc 2026-06-01T13:00")
}

func TestASmallCorrectionOfTheClockIsSatOut(t *testing.T) {
	f := newFixture(t)
	f.clock.Set(start.Add(5 * time.Second))
	f.update(set(hourly)) // new at 12:00:05
	f.clock.Jump(-10 * time.Second)
	f.clock.Advance(15 * time.Second)
	f.want("12:00 was before the schedule")
}

func TestABadExpressionStopsItsScheduleAlone(t *testing.T) {
	f := newFixture(t)
	s := set(hourly)
	bad := s.Schedules[0]
	bad.Name, bad.Cron = "bad", "TZ=UTC"
	s.Schedules = append(s.Schedules, bad)
	if err := f.cron.Update(s); err == nil || !strings.Contains(err.Error(), "schedule bad does not fire") {
		t.Errorf("error %v, want it to name the schedule", err)
	}
	f.clock.Advance(time.Hour)
	f.want("the good one", "nightly/etc 2026-06-01T13:00")
}

func TestADamagedStateFileIsSetAside(t *testing.T) {
	f := newFixture(t)
	if err := os.WriteFile(f.path, []byte("{not json"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.restart()
	f.update(set(hourly))
	if kept, err := os.ReadFile(f.path + ".damaged-1"); err != nil || string(kept) != "{not json" {
		t.Errorf("the damaged file was not kept: %q, %v", kept, err)
	}
	f.clock.Advance(time.Hour)
	f.want("from now on", "nightly/etc 2026-06-01T13:00")
}

func TestAStateThatCannotBeWrittenIsAnErrorAndFiresGoOn(t *testing.T) {
	f := newFixture(t)
	full := atomicfiletest.New("cron.json")
	full.Fail(syscall.ENOSPC)
	f.cron.file = full
	if err := f.cron.Update(set(hourly)); err == nil {
		t.Error("no error")
	}
	f.clock.Advance(time.Hour)
	if fires, _ := f.cron.due(); len(fires) != 1 || f.cron.Settle(fires[0]) == nil {
		t.Errorf("fires %v, and settling must fail", fires)
	}
}

type channel chan Fire

func (c channel) Fire(f Fire) { c <- f }

func TestRunWaitsAtMostThirtySecondsAndNoticesJumpsAndUpdates(t *testing.T) {
	clock, fires := clocktest.New(start), make(channel, 1)
	c, err := Open(Options{Host: web1, Path: filepath.Join(t.TempDir(), "cron.json"), Clock: clock, Handler: fires, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()

	clock.BlockUntil(1)
	if d, _ := clock.NextTimer(); d != maxWait {
		t.Errorf("idle wait of %v, want %v", d, maxWait)
	}
	clock.Jump(10 * time.Second) // 12:00:10
	if err := c.Update(set(hourly)); err != nil {
		t.Fatal(err)
	}
	clock.Jump(25 * time.Hour)
	clock.Advance(maxWait)
	if f := <-fires; f.Nominal != "2026-06-02T13:00" || f.Skipped != 24 {
		t.Errorf("after the jump %+v", f)
	}
	clock.BlockUntil(1)
	clock.Set(time.Date(2026, 6, 2, 13, 59, 50, 0, time.UTC))
	clock.BlockUntil(1)
	clock.Advance(20 * time.Second)
	if f := <-fires; f.Nominal != "2026-06-02T14:00" || f.Skipped != 0 {
		t.Errorf("the next hour %+v", f)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
}
