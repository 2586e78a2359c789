package overdue

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/cronspec"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// day is an hour and minute of a day in March 2026, UTC.
func day(day, hour, minute int) time.Time {
	return time.Date(2026, 3, day, hour, minute, 0, 0, time.UTC)
}

func stored(t time.Time) *metav1.Time { return &metav1.Time{Time: t} }

// nightly fires etc at 02:30 UTC and is expected since the first of March.
func nightly(change ...func(*v1alpha1.HostSchedule)) v1alpha1.HostSchedule {
	s := v1alpha1.HostSchedule{
		Name: "nightly", Cron: "30 2 * * *", TimeZone: "UTC",
		SourceGroups: []v1alpha1.HostScheduleGroup{{Name: "etc", Since: *stored(day(1, 12, 0))}},
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

// succeeded at a time, after some minutes of work.
func succeeded(group string, finished time.Time, minutes int) v1alpha1.SourceGroupResult {
	return v1alpha1.SourceGroupResult{
		Name: group, Result: v1alpha1.ResultSucceeded, LastSuccessTime: stored(finished),
		StartTime: stored(finished.Add(-time.Duration(minutes) * time.Minute)), FinishTime: stored(finished),
	}
}

func TestJudge(t *testing.T) {
	due := func(group, schedule string, at time.Time) []v1alpha1.OverdueBackup {
		return []v1alpha1.OverdueBackup{{SourceGroup: group, Schedule: schedule, DueTime: *stored(at)}}
	}
	for _, test := range []struct {
		name      string
		schedules []v1alpha1.HostSchedule
		results   []v1alpha1.SourceGroupResult
		change    func(*Input)
		now       time.Time
		want      Verdict
	}{
		{
			name: "before the first run nothing is overdue, and the end of its grace is known", schedules: []v1alpha1.HostSchedule{nightly()}, now: day(1, 13, 0),
			want: Verdict{Expected: 1, Waiting: []string{"etc"}, Next: day(2, 8, 30)},
		},
		{
			name: "six hours after a nightly run without any success it is overdue", schedules: []v1alpha1.HostSchedule{nightly()}, now: day(2, 8, 30),
			want: Verdict{Expected: 1, Waiting: []string{"etc"}, Overdue: due("etc", "nightly", day(2, 2, 30))},
		},
		{
			name: "a success after the run covers it", schedules: []v1alpha1.HostSchedule{nightly()}, now: day(2, 9, 0),
			results: []v1alpha1.SourceGroupResult{succeeded("etc", day(2, 2, 31), 0)},
			want:    Verdict{Expected: 1, Next: day(3, 8, 30)},
		},
		{
			name: "a success that ended after the next run had begun covers that too", schedules: []v1alpha1.HostSchedule{nightly()}, now: day(3, 9, 0),
			results: []v1alpha1.SourceGroupResult{succeeded("etc", day(3, 2, 31), 0)},
			want:    Verdict{Expected: 1, Next: day(4, 8, 30)},
		},
		{
			name: "one that took four hours may take them again", schedules: []v1alpha1.HostSchedule{nightly()}, now: day(3, 12, 29),
			results: []v1alpha1.SourceGroupResult{succeeded("etc", day(2, 6, 30), 240)},
			want:    Verdict{Expected: 1, Next: day(3, 12, 30)},
		},
		{
			name: "the oldest run without success is told, however many followed", schedules: []v1alpha1.HostSchedule{nightly()}, now: day(20, 12, 0),
			results: []v1alpha1.SourceGroupResult{succeeded("etc", day(2, 2, 31), 0)},
			want:    Verdict{Expected: 1, Overdue: due("etc", "nightly", day(3, 2, 30))},
		},
		{
			name: "a failure covers nothing", schedules: []v1alpha1.HostSchedule{nightly()}, now: day(2, 9, 0),
			results: []v1alpha1.SourceGroupResult{{Name: "etc", Result: v1alpha1.ResultFailed, StartTime: stored(day(2, 2, 30)), FinishTime: stored(day(2, 2, 30))}},
			want:    Verdict{Expected: 1, Waiting: []string{"etc"}, Overdue: due("etc", "nightly", day(2, 2, 30))},
		},
		{
			name:      "a run starts a machine's own part of the jitter later",
			schedules: []v1alpha1.HostSchedule{nightly(func(s *v1alpha1.HostSchedule) { s.Delay = &metav1.Duration{Duration: 45 * time.Minute} })}, now: day(2, 9, 14),
			want: Verdict{Expected: 1, Waiting: []string{"etc"}, Next: day(2, 9, 15)},
		},
		{
			name:      "and a success between the nominal time and its start does not cover it",
			schedules: []v1alpha1.HostSchedule{nightly(func(s *v1alpha1.HostSchedule) { s.Delay = &metav1.Duration{Duration: 45 * time.Minute} })}, now: day(2, 10, 0),
			results: []v1alpha1.SourceGroupResult{succeeded("etc", day(2, 2, 40), 0)},
			want:    Verdict{Expected: 1, Overdue: due("etc", "nightly", day(2, 3, 15))},
		},
		{
			name:      "a run that began and succeeded within one second is covered",
			schedules: []v1alpha1.HostSchedule{nightly(func(s *v1alpha1.HostSchedule) { s.Delay = &metav1.Duration{Duration: 6244 * time.Millisecond} })}, now: day(2, 10, 0),
			results: []v1alpha1.SourceGroupResult{succeeded("etc", day(2, 2, 30).Add(6*time.Second), 0)},
			want:    Verdict{Expected: 1, Next: day(3, 8, 30).Add(6244 * time.Millisecond)},
		},
		{
			name:      "every five minutes has ten minutes of grace",
			schedules: []v1alpha1.HostSchedule{nightly(func(s *v1alpha1.HostSchedule) { s.Cron = "*/5 * * * *" })}, now: day(1, 12, 14),
			want: Verdict{Expected: 1, Waiting: []string{"etc"}, Next: day(1, 12, 15)},
		},
		{
			name:      "hourly has a quarter of an hour",
			schedules: []v1alpha1.HostSchedule{nightly(func(s *v1alpha1.HostSchedule) { s.Cron = "@hourly" })}, now: day(1, 13, 14),
			want: Verdict{Expected: 1, Waiting: []string{"etc"}, Next: day(1, 13, 15)},
		},
		{
			name: "of two schedules of one group each is judged for itself", now: day(1, 13, 15),
			schedules: []v1alpha1.HostSchedule{nightly(), nightly(func(s *v1alpha1.HostSchedule) { s.Name, s.Cron = "hourly", "@hourly" })},
			want:      Verdict{Expected: 1, Waiting: []string{"etc"}, Overdue: due("etc", "hourly", day(1, 13, 0)), Next: day(2, 8, 30)},
		},
		{
			name: "a suspended schedule expects nothing", schedules: []v1alpha1.HostSchedule{nightly(func(s *v1alpha1.HostSchedule) { s.Suspended = true })}, now: day(20, 0, 0),
			want: Verdict{Suspended: true},
		},
		{name: "no schedule expects nothing", now: day(20, 0, 0)},
		{
			name: "a laptop that is off is late, not overdue", schedules: []v1alpha1.HostSchedule{nightly()}, now: day(2, 8, 30),
			change: func(in *Input) { in.OfflineGrace, in.Since = 72*time.Hour, day(1, 18, 0) },
			want:   Verdict{Expected: 1, Waiting: []string{"etc"}, Late: due("etc", "nightly", day(2, 2, 30)), Next: day(5, 8, 30)},
		},
		{
			name: "so is one that was never switched on", schedules: []v1alpha1.HostSchedule{nightly()}, now: day(2, 8, 30),
			change: func(in *Input) { in.OfflineGrace = 72 * time.Hour },
			want:   Verdict{Expected: 1, Waiting: []string{"etc"}, Late: due("etc", "nightly", day(2, 2, 30)), Next: day(5, 8, 30)},
		},
		{
			name: "until its grace is used up", schedules: []v1alpha1.HostSchedule{nightly()}, now: day(5, 8, 30),
			change: func(in *Input) { in.OfflineGrace, in.Since = 72*time.Hour, day(1, 18, 0) },
			want:   Verdict{Expected: 1, Waiting: []string{"etc"}, Overdue: due("etc", "nightly", day(2, 2, 30))},
		},
		{
			name: "after its return it has the time of any run", schedules: []v1alpha1.HostSchedule{nightly()}, now: day(3, 15, 59),
			change: func(in *Input) { in.OfflineGrace, in.Connected, in.Since = 72*time.Hour, true, day(3, 10, 0) },
			want:   Verdict{Expected: 1, Waiting: []string{"etc"}, Late: due("etc", "nightly", day(2, 2, 30)), Next: day(3, 16, 0)},
		},
		{
			name: "and no more", schedules: []v1alpha1.HostSchedule{nightly()}, now: day(3, 16, 0),
			change: func(in *Input) { in.OfflineGrace, in.Connected, in.Since = 72*time.Hour, true, day(3, 10, 0) },
			want:   Verdict{Expected: 1, Waiting: []string{"etc"}, Overdue: due("etc", "nightly", day(2, 2, 30))},
		},
		{
			name: "one that comes and goes does not put it off for ever", schedules: []v1alpha1.HostSchedule{nightly()}, now: day(5, 8, 30),
			change: func(in *Input) { in.OfflineGrace, in.Connected, in.Since = 72*time.Hour, true, day(5, 8, 0) },
			want:   Verdict{Expected: 1, Waiting: []string{"etc"}, Overdue: due("etc", "nightly", day(2, 2, 30))},
		},
		{
			name: "a server that is off has no such time", schedules: []v1alpha1.HostSchedule{nightly()}, now: day(2, 8, 30),
			change: func(in *Input) { in.Since = day(1, 18, 0) },
			want:   Verdict{Expected: 1, Waiting: []string{"etc"}, Overdue: due("etc", "nightly", day(2, 2, 30))},
		},
		{
			name: "a night that has no 02:30 runs at the end of the gap", now: day(29, 7, 0), // Zurich goes from 02:00 to 03:00, which is 01:00 UTC
			schedules: []v1alpha1.HostSchedule{nightly(func(s *v1alpha1.HostSchedule) { s.TimeZone = "Europe/Zurich" })},
			results:   []v1alpha1.SourceGroupResult{succeeded("etc", day(28, 1, 31), 0)},
			want:      Verdict{Expected: 1, Overdue: due("etc", "nightly", day(29, 1, 0))},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := Input{Schedules: test.schedules, Results: test.results, Connected: false, MinGrace: MinGrace, Now: test.now}
			if test.change != nil {
				test.change(&in)
			}
			if diff := cmp.Diff(test.want, Judge(in)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFiresAreThoseOfTheExpressionInWhateverOrderTheyAreAskedFor(t *testing.T) {
	for _, expression := range []string{"30 2 * * *", "*/20 * * * *", "15 1,2,3 * * 0"} {
		spec, err := cronspec.Parse(expression, "Europe/Zurich")
		if err != nil {
			t.Fatal(err)
		}
		remembering := fires{spec: spec}
		// The clocks are put forward on 29 March and back on 25 October. 37 steps of 23 are every step once, mostly out of order.
		for _, start := range []time.Time{day(28, 22, 0), time.Date(2026, 10, 24, 22, 0, 0, 0, time.UTC)} {
			for i := range 37 {
				instant := start.Add(time.Duration(i*23%37)*10*time.Minute + time.Duration(i%2)*time.Nanosecond)
				want, _ := spec.Next(instant)
				if got, ok := remembering.next(instant); !ok || got != want {
					t.Errorf("after %s %q fires at %v, %v, want %v", instant, expression, got, ok, want)
				}
			}
		}
	}
}

func TestSchedules(t *testing.T) {
	now := day(10, 12, 0)
	compiled := func(change ...func(*wire.Schedule)) wire.Schedule {
		s := wire.Schedule{Name: "nightly", Cron: "30 2 * * *", TimeZone: "UTC", Groups: []string{"etc"}}
		for _, c := range change {
			c(&s)
		}
		return s
	}
	late := []v1alpha1.OverdueBackup{{SourceGroup: "etc", Schedule: "nightly", DueTime: *stored(day(2, 2, 30))}}
	for _, test := range []struct {
		name          string
		before        []v1alpha1.HostSchedule
		overdue       []v1alpha1.OverdueBackup
		compiled      wire.Schedule
		hostSuspended bool
		want          []v1alpha1.HostSchedule
	}{
		{
			name: "a new schedule is expected from now on", compiled: compiled(),
			want: []v1alpha1.HostSchedule{nightly(func(s *v1alpha1.HostSchedule) {
				s.SourceGroups[0].Since, s.NextRunTime = *stored(now), stored(day(11, 2, 30))
			})},
		},
		{
			name: "what does not change is expected since when it was", before: []v1alpha1.HostSchedule{nightly()}, compiled: compiled(),
			want: []v1alpha1.HostSchedule{nightly(func(s *v1alpha1.HostSchedule) { s.NextRunTime = stored(day(11, 2, 30)) })},
		},
		{
			name: "a group that is added is expected from now on", before: []v1alpha1.HostSchedule{nightly()},
			compiled: compiled(func(s *wire.Schedule) { s.Groups = []string{"etc", "home"} }),
			want: []v1alpha1.HostSchedule{nightly(func(s *v1alpha1.HostSchedule) {
				s.SourceGroups = append(s.SourceGroups, v1alpha1.HostScheduleGroup{Name: "home", Since: *stored(now)})
				s.NextRunTime = stored(day(11, 2, 30))
			})},
		},
		{
			name: "another expression counts from now on", before: []v1alpha1.HostSchedule{nightly()}, compiled: compiled(func(s *wire.Schedule) { s.Cron = "@hourly" }),
			want: []v1alpha1.HostSchedule{nightly(func(s *v1alpha1.HostSchedule) {
				s.Cron, s.SourceGroups[0].Since, s.NextRunTime = "@hourly", *stored(now), stored(day(10, 13, 0))
			})},
		},
		{
			name: "but it does not excuse what is overdue", before: []v1alpha1.HostSchedule{nightly()}, overdue: late, compiled: compiled(func(s *wire.Schedule) { s.Cron = "@hourly" }),
			want: []v1alpha1.HostSchedule{nightly(func(s *v1alpha1.HostSchedule) { s.Cron, s.NextRunTime = "@hourly", stored(day(10, 13, 0)) })},
		},
		{
			name: "a suspended host runs nothing", before: []v1alpha1.HostSchedule{nightly()}, compiled: compiled(), hostSuspended: true,
			want: []v1alpha1.HostSchedule{nightly(func(s *v1alpha1.HostSchedule) { s.Suspended, s.SourceGroups[0].Since = true, *stored(now) })},
		},
		{
			name: "what fell due while it was suspended is not expected afterwards", compiled: compiled(),
			before: []v1alpha1.HostSchedule{nightly(func(s *v1alpha1.HostSchedule) { s.Suspended = true })},
			want: []v1alpha1.HostSchedule{nightly(func(s *v1alpha1.HostSchedule) {
				s.SourceGroups[0].Since, s.NextRunTime = *stored(now), stored(day(11, 2, 30))
			})},
		},
		{name: "an expression that nobody understands is left out", before: []v1alpha1.HostSchedule{nightly()}, compiled: compiled(func(s *wire.Schedule) { s.Cron = "x" }), want: []v1alpha1.HostSchedule{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}, Status: v1alpha1.HostStatus{Schedules: test.before, Overdue: test.overdue}}
			got := Schedules(host, &wire.ScheduleSet{Suspended: test.hostSuspended, Schedules: []wire.Schedule{test.compiled}}, now)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheNextRunIsWhenTheAgentFires(t *testing.T) {
	host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}}
	set := &wire.ScheduleSet{Schedules: []wire.Schedule{{Name: "nightly", Cron: "30 2 * * *", TimeZone: "Europe/Zurich", JitterSeconds: 2700, Groups: []string{"etc"}}}}
	delay := cronspec.Jitter(cronspec.JitterKey("shop", "web-1", "nightly"), 45*time.Minute)
	nominal := day(10, 1, 30) // 02:30 in Zurich, in winter
	for _, test := range []struct {
		name string
		now  time.Time
		want time.Time
	}{
		{"before the nominal time", nominal.Add(-time.Hour), nominal.Add(delay)},
		{"between the nominal time and the start", nominal.Add(delay / 2), nominal.Add(delay)},
		{"after the start it is that of the next day", nominal.Add(delay), nominal.Add(24*time.Hour + delay)},
		{"in summer the zone counts", day(30, 12, 0), day(31, 0, 30).Add(delay)},
	} {
		t.Run(test.name, func(t *testing.T) {
			schedules := Schedules(host, set, test.now)
			if got := schedules[0].Delay; got == nil || got.Duration != delay {
				t.Errorf("delay is %v, want %v", got, delay)
			}
			if got := NextRun(schedules); got == nil || !got.Time.Equal(test.want.Truncate(time.Second)) {
				t.Errorf("next run is %v, want %v", got, test.want)
			}
		})
	}
}
