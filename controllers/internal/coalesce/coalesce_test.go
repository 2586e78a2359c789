package coalesce

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	testingclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/status"
)

var name = types.NamespacedName{Namespace: "shop", Name: "etc"}

// looked notes a look at name that took no time, over so many, of which some are waited for.
func looked(c *Coalescer, at time.Time, members int, waiting ...string) {
	c.Began(name, at)
	c.Ran(name, at, members, waiting)
}

func TestTheLastThatIsWaitedForIsLookedAtSooner(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const spacing, soon = 2 * time.Second, 100 * time.Millisecond
	for _, test := range []struct {
		test    string
		waiting []string
		events  []string // of Hosts; with a question mark, that one is behind
		want    []time.Duration
	}{
		{"the last of two", []string{"a", "b"}, []string{"b", "a"}, []time.Duration{spacing, soon}},
		{"one tells twice", []string{"a", "b"}, []string{"b", "b"}, []time.Duration{spacing, spacing}},
		{"one that is not waited for", []string{"a", "b"}, []string{"c", "a", "b"}, []time.Duration{spacing, spacing, soon}},
		{"a set is only published", []string{"a"}, []string{"a?", "a"}, []time.Duration{spacing, soon}},
		{"another falls behind", []string{"a"}, []string{"b?", "a", "b"}, []time.Duration{spacing, spacing, soon}},
		{"what comes after the last", []string{"a"}, []string{"a", "b?", "b"}, []time.Duration{soon, spacing, spacing}},
		{"nobody was waited for", nil, []string{"a?", "a"}, []time.Duration{spacing, spacing}},
	} {
		t.Run(test.test, func(t *testing.T) {
			var c Coalescer
			looked(&c, now, 1000, test.waiting...)
			for i, event := range test.events {
				host, behind := strings.CutSuffix(event, "?")
				if got := c.AfterProgress(name, host, behind, now); got != test.want[i] {
					t.Errorf("%s waits %v, want %v", event, got, test.want[i])
				}
			}
		})
	}
	var c Coalescer
	looked(&c, now, 1000, "a")
	if got := c.AfterProgress(name, "a", false, now.Add(time.Second)); got != 0 {
		t.Errorf("a second later it waits %v", got)
	}
}

func TestWhatComesWhileALookReads(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		test     string
		events   []string
		waiting  []string // in the eyes of the look
		soon     time.Duration
		thenLast string
	}{
		{"it saw that nobody is waited for", []string{"a"}, nil, 0, ""},
		{"an ack that it missed", []string{"a"}, []string{"a", "b"}, 0, "b"},
		{"an ack that it saw", []string{"a"}, []string{"b"}, 0, "b"},
		{"all acks that it waits for, missed", []string{"a", "b"}, []string{"a", "b"}, 50 * time.Millisecond, ""},
		{"one that fell behind, missed", []string{"a", "c?"}, []string{"a"}, 0, "c"},
		{"one that fell behind and acked", []string{"c?", "c"}, []string{"a"}, 0, "a"},
	} {
		t.Run(test.test, func(t *testing.T) {
			var c Coalescer
			looked(&c, now.Add(-time.Minute), 1000, "a")
			c.Began(name, now)
			for _, event := range test.events {
				host, behind := strings.CutSuffix(event, "?")
				if got := c.AfterProgress(name, host, behind, now); got != 2*time.Second {
					t.Errorf("%s waits %v, not until the next look", event, got)
				}
			}
			if got := c.Ran(name, now.Add(50*time.Millisecond), 1000, test.waiting); got != test.soon {
				t.Errorf("the next look is in %v, want %v", got, test.soon)
			}
			if test.thenLast == "" {
				return
			}
			if got := c.AfterProgress(name, test.thenLast, false, now.Add(50*time.Millisecond)); got != 50*time.Millisecond {
				t.Errorf("the last ack, of %s, waits %v", test.thenLast, got)
			}
		})
	}
}

// wave is a change that Hosts ack one after another, and a queue with one object that sums up over them.
type wave struct {
	hosts int
	// every is the time between two acks, takes what a look takes; lag is how long after the cache an event comes.
	every, takes, lag time.Duration
}

// run returns when each look began, and when the last ended, that saw all acks, after the start of the wave.
func (w wave) run() (looks []time.Duration, end time.Duration) {
	const tick = time.Millisecond
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var c Coalescer
	var waiting []string
	for i := range w.hosts {
		waiting = append(waiting, strconv.Itoa(i))
	}
	looked(&c, start, w.hosts, waiting...)
	told, due, began := 0, time.Duration(-1), time.Duration(-1)
	enqueue := func(at time.Duration) {
		if due < 0 || at < due {
			due = at
		}
	}
	for at := time.Duration(0); at < time.Hour; at += tick {
		now := start.Add(at)
		for ; told < w.hosts && time.Duration(told+1)*w.every+w.lag <= at; told++ {
			enqueue(at + c.AfterProgress(name, strconv.Itoa(told), false, now))
		}
		if began >= 0 && at >= began+w.takes {
			seen := min(int((began+w.takes/2)/w.every), w.hosts) // as if it had read all of them halfway
			soon := c.Ran(name, now, w.hosts, waiting[seen:])
			if began = -1; seen == w.hosts {
				return looks, at
			}
			if soon > 0 {
				enqueue(at + soon)
			}
		}
		if began < 0 && due >= 0 && due <= at {
			due, began = -1, at
			looks = append(looks, at)
			c.Began(name, now)
		}
	}
	return looks, time.Hour
}

func TestAWaveIsLookedAtOncePerSpacingAndAtItsEnd(t *testing.T) {
	for _, test := range []struct {
		test string
		wave wave
		most int           // looks
		end  time.Duration // after the last ack
	}{
		{"a thousand", wave{1000, 17 * time.Millisecond, 50 * time.Millisecond, 0}, 9, 60 * time.Millisecond},
		{"a thousand, and events come late", wave{1000, 17 * time.Millisecond, 50 * time.Millisecond, 30 * time.Millisecond}, 9, 90 * time.Millisecond},
		{"a thousand, and looks take long", wave{1000, 17 * time.Millisecond, time.Second, 0}, 9, 2 * time.Second},
		{"ten", wave{10, 20 * time.Millisecond, time.Millisecond, 0}, 3, 12 * time.Millisecond},
		{"one", wave{1, 20 * time.Millisecond, time.Millisecond, 0}, 1, time.Millisecond},
	} {
		t.Run(test.test, func(t *testing.T) {
			looks, end := test.wave.run()
			end -= time.Duration(test.wave.hosts) * test.wave.every
			t.Logf("looks at %v, the last ends %v after the last ack", looks, end)
			if len(looks) > test.most || end > test.end {
				t.Errorf("%d looks, %v after the last ack; want at most %d, %v", len(looks), end, test.most, test.end)
			}
		})
	}
}

func TestAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		test string
		ran  time.Time
		want time.Duration
	}{
		{"what was never looked at is looked at at once", time.Time{}, 0},
		{"what was quiet for long waits for what else may come", now.Add(-time.Minute), 1250 * time.Millisecond},
		{"what was looked at just now waits for the whole spacing", now, 5 * time.Second},
		{"and otherwise for the rest of it", now.Add(-2 * time.Second), 3 * time.Second},
		{"a clock that was set back makes nobody wait longer", now.Add(time.Hour), 5 * time.Second},
	} {
		t.Run(test.test, func(t *testing.T) {
			var c Coalescer
			if !test.ran.IsZero() {
				looked(&c, test.ran, 1000)
			}
			if got := c.After(name, Results, now); got != test.want {
				t.Errorf("waits %v, want %v", got, test.want)
			}
			c.Forget(name)
			if got := c.After(name, Results, now); got != 0 {
				t.Errorf("after it was forgotten it waits %v", got)
			}
		})
	}
}

func TestNewsAboutOneAreLookedAtAtOnce(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for members, want := range map[int]time.Duration{0: 0, 1: 0, 2: 5 * time.Millisecond, 11: 50 * time.Millisecond, 1000: 500 * time.Millisecond} {
		var c Coalescer
		looked(&c, now.Add(-time.Minute), members)
		if got := c.After(name, Acks, now); got != want {
			t.Errorf("with %d members, the first news after a pause wait %v, want %v", members, got, want)
		}
	}
}

func TestTheMoreAnObjectSumsUpOverTheLongerItWaits(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for members, want := range map[int]time.Duration{0: 0, 1: 20 * time.Millisecond, 50: time.Second, 100: 2 * time.Second, 1000: 2 * time.Second, 2000: 4 * time.Second, 10_000: 20 * time.Second} {
		var c Coalescer
		looked(&c, now, members)
		if got := c.After(name, Acks, now); got != want {
			t.Errorf("with %d members it waits %v, want %v", members, got, want)
		}
	}
}

// queue notes what is added, with its delay.
type queue struct {
	workqueue.TypedRateLimitingInterface[ctrl.Request]
	added []time.Duration
}

func (q *queue) AddAfter(_ ctrl.Request, after time.Duration) { q.added = append(q.added, after) }

func TestTheHandlerTellsWhatCameAndWhatWent(t *testing.T) {
	clk := testingclock.NewFakePassiveClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	var c Coalescer
	var seen []string
	h := c.Handler(clk, Acks, func(before, after client.Object) []ctrl.Request {
		says := ""
		for _, object := range []client.Object{before, after} {
			if object == nil {
				says += "-"
			} else {
				says += object.GetName()
			}
		}
		seen = append(seen, says)
		return []ctrl.Request{{NamespacedName: name}}
	})
	q := &queue{}
	old, new := &v1alpha1.Host{}, &v1alpha1.Host{}
	old.Name, new.Name = "old", "new"
	h.Create(t.Context(), event.CreateEvent{Object: new}, q)
	looked(&c, clk.Now(), 500)
	h.Update(t.Context(), event.UpdateEvent{ObjectOld: old, ObjectNew: new}, q)
	h.Delete(t.Context(), event.DeleteEvent{Object: old}, q)
	if want := []string{"-new", "oldnew", "old-"}; len(seen) != 3 || seen[0] != want[0] || seen[1] != want[1] || seen[2] != want[2] {
		t.Errorf("told %q, want %q", seen, want)
	}
	if len(q.added) != 3 || q.added[0] != 0 || q.added[1] != 2*time.Second || q.added[2] != 2*time.Second {
		t.Errorf("enqueued after %v", q.added)
	}
}

func TestTheHandlerOfSetsTellsAnAckFromAPublication(t *testing.T) {
	clk := testingclock.NewFakePassiveClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	var c Coalescer
	looked(&c, clk.Now(), 1000, "web-1")
	h, q := c.Sets(clk, status.Groups), &queue{}
	set := func(generation int64, applied string) *v1alpha1.ScheduleSet {
		s := &v1alpha1.ScheduleSet{}
		s.Namespace, s.Name, s.Generation, s.Status.AppliedRevision = name.Namespace, "web-1", generation, applied
		s.Spec.Revision = "r" + strconv.FormatInt(generation, 10)
		s.Spec.Groups = []v1alpha1.ScheduleSetGroup{{Name: name.Name, Generation: generation}}
		return s
	}
	h.Create(t.Context(), event.CreateEvent{Object: set(1, "")}, q)
	h.Update(t.Context(), event.UpdateEvent{ObjectOld: set(1, "r1"), ObjectNew: set(2, "r1")}, q)
	h.Update(t.Context(), event.UpdateEvent{ObjectOld: set(2, "r1"), ObjectNew: set(2, "r2")}, q)
	h.Delete(t.Context(), event.DeleteEvent{Object: set(2, "r2")}, q)
	if want := []time.Duration{2 * time.Second, 2 * time.Second, 100 * time.Millisecond, 2 * time.Second}; !slices.Equal(q.added, want) {
		t.Errorf("enqueued after %v, want %v", q.added, want)
	}
}

func TestWhatIsMappedIsAskedAboutBothSidesOfAChange(t *testing.T) {
	clk := testingclock.NewFakePassiveClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	var c Coalescer
	var asked []string
	h := c.Mapped(clk, Acks, func(_ context.Context, object client.Object) []ctrl.Request {
		asked = append(asked, object.GetName())
		return []ctrl.Request{{NamespacedName: name}}
	})
	q := &queue{}
	old, new := &v1alpha1.Host{}, &v1alpha1.Host{}
	old.Name, new.Name = "old", "new"
	h.Create(t.Context(), event.CreateEvent{Object: new}, q)
	looked(&c, clk.Now(), 50)
	h.Update(t.Context(), event.UpdateEvent{ObjectOld: old, ObjectNew: new}, q)
	h.Delete(t.Context(), event.DeleteEvent{Object: old}, q)
	if !slices.Equal(asked, []string{"new", "old", "new", "old"}) {
		t.Errorf("asked about %q", asked)
	}
	if !slices.Equal(q.added, []time.Duration{0, time.Second, time.Second, time.Second}) {
		t.Errorf("enqueued after %v", q.added)
	}
}

func TestWhatFallsBehind(t *testing.T) {
	summary := func(matched, applied int32) *v1alpha1.FleetSummary {
		return &v1alpha1.FleetSummary{HostsMatched: matched, HostsApplied: applied}
	}
	for _, test := range []struct {
		test          string
		before, after *v1alpha1.FleetSummary
		newGeneration bool
		want          bool
	}{
		{"everything is applied", summary(3, 3), summary(3, 3), false, false},
		{"everything is, of a new generation", summary(3, 3), summary(3, 3), true, false},
		{"one is not any more", summary(3, 3), summary(3, 2), false, true},
		{"one has come", summary(3, 3), summary(4, 3), false, true},
		{"one is not, as before", summary(3, 2), summary(3, 2), false, false},
		{"one is not, as before, of a new generation", summary(3, 2), summary(3, 2), true, true},
		{"one more is", summary(3, 1), summary(3, 2), false, false},
		{"one that was behind has gone", summary(3, 2), summary(2, 2), false, false},
	} {
		t.Run(test.test, func(t *testing.T) {
			if got := fallsBehind(test.before, test.after, test.newGeneration); got != test.want {
				t.Errorf("falls behind: %v, want %v", got, test.want)
			}
		})
	}
}

// all is a summary of which nobody is behind, some one of which one is.
var all, some = &v1alpha1.FleetSummary{HostsMatched: 3, HostsApplied: 3}, &v1alpha1.FleetSummary{HostsMatched: 3, HostsApplied: 2}

func TestWhatFallsBehindIsSaidWhenItLasts(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var c Coalescer
	for _, step := range []struct {
		after  time.Duration
		behind bool
		want   time.Duration
	}{
		{0, false, 0},
		{0, true, SettleTime},
		{50 * time.Millisecond, true, SettleTime - 50*time.Millisecond},
		{SettleTime, true, 0},
		{time.Minute, true, 0}, // a wave that goes on
		{time.Minute, false, 0},
		{time.Minute, true, SettleTime},
		{0, true, SettleTime}, // the clock was set back
	} {
		c.Now = func() time.Time { return now.Add(step.after) }
		after := all
		if step.behind {
			after = some
		}
		if got := c.Settle(name, all, after, false); got != step.want {
			t.Errorf("after %v, behind %v: waits %v, want %v", step.after, step.behind, got, step.want)
		}
	}
	c.Forget(name)
	c.Now = func() time.Time { return now.Add(time.Hour) }
	if got := c.Settle(name, all, some, false); got != SettleTime {
		t.Errorf("after it was forgotten it waits %v", got)
	}
}

func TestWhatIsKeptBackDoesNotWaitForTheSpacing(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		members int
		first   time.Duration
	}{{1, 0}, {2, 5 * time.Millisecond}, {11, 50 * time.Millisecond}} {
		c := Coalescer{Now: func() time.Time { return now }}
		looked(&c, now.Add(-time.Minute), test.members)
		for range 2 { // looks
			looked(&c, now, test.members, "a")
			if got := c.Settle(name, all, some, false); got != SettleTime {
				t.Fatalf("it is kept back for %v", got)
			}
			if got := c.AfterProgress(name, "a", true, now); got != test.first {
				t.Errorf("of %d, a set that is published waits %v, want %v", test.members, got, test.first)
			}
		}
		if got := c.AfterProgress(name, "a", false, now); got != 0 {
			t.Errorf("of %d, the last ack waits %v", test.members, got)
		}
	}
}
