package coalesce

import (
	"context"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	testingclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

var name = types.NamespacedName{Namespace: "shop", Name: "etc"}

// over is a summary over so many, of which none is behind.
func over(members int) *v1alpha1.FleetSummary {
	return &v1alpha1.FleetSummary{HostsMatched: int32(members), HostsApplied: int32(members)}
}

func TestTheLastThatIsWaitedForIsLookedAtSooner(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var c Coalescer
	c.Ran(name, now, &v1alpha1.FleetSummary{HostsMatched: 1000, HostsApplied: 997})
	for i, want := range []time.Duration{2 * time.Second, 2 * time.Second, 500 * time.Millisecond, 2 * time.Second} {
		if got := c.After(name, Acks, now); got != want {
			t.Errorf("event %d waits %v, want %v", i+1, got, want)
		}
	}
	c.Ran(name, now, &v1alpha1.FleetSummary{HostsMatched: 1000, HostsApplied: 999})
	if got := c.After(name, Acks, now.Add(time.Second)); got != 0 {
		t.Errorf("a second later it waits %v", got)
	}
	if got := c.After(name, Results, now); got != 5*time.Second {
		t.Errorf("a result, which is no ack, waits %v", got)
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
				c.Ran(name, test.ran, over(1000))
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
		c.Ran(name, now.Add(-time.Minute), over(members))
		if got := c.After(name, Acks, now); got != want {
			t.Errorf("with %d members, the first news after a pause wait %v, want %v", members, got, want)
		}
	}
}

func TestTheMoreAnObjectSumsUpOverTheLongerItWaits(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for members, want := range map[int]time.Duration{0: 0, 1: 20 * time.Millisecond, 50: time.Second, 100: 2 * time.Second, 1000: 2 * time.Second, 2000: 4 * time.Second, 10_000: 20 * time.Second} {
		var c Coalescer
		c.Ran(name, now, over(members))
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
	c.Ran(name, clk.Now(), over(500))
	h.Update(t.Context(), event.UpdateEvent{ObjectOld: old, ObjectNew: new}, q)
	h.Delete(t.Context(), event.DeleteEvent{Object: old}, q)
	if want := []string{"-new", "oldnew", "old-"}; len(seen) != 3 || seen[0] != want[0] || seen[1] != want[1] || seen[2] != want[2] {
		t.Errorf("told %q, want %q", seen, want)
	}
	if len(q.added) != 3 || q.added[0] != 0 || q.added[1] != 2*time.Second || q.added[2] != 2*time.Second {
		t.Errorf("enqueued after %v", q.added)
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
	c.Ran(name, clk.Now(), over(50))
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
