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

func TestAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		test string
		ran  time.Time
		want time.Duration
	}{
		{"what was never looked at is looked at at once", time.Time{}, 0},
		{"so is what was quiet for long", now.Add(-time.Minute), 0},
		{"what was looked at just now waits for the whole spacing", now, 5 * time.Second},
		{"and otherwise for the rest of it", now.Add(-2 * time.Second), 3 * time.Second},
		{"a clock that was set back makes nobody wait longer", now.Add(time.Hour), 5 * time.Second},
	} {
		t.Run(test.test, func(t *testing.T) {
			var c Coalescer
			if !test.ran.IsZero() {
				c.Ran(name, test.ran, 1000)
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

func TestTheMoreAnObjectSumsUpOverTheLongerItWaits(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for members, want := range map[int]time.Duration{0: 0, 1: 20 * time.Millisecond, 50: time.Second, 100: 2 * time.Second, 100_000: 2 * time.Second} {
		var c Coalescer
		c.Ran(name, now, members)
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
	c.Ran(name, clk.Now(), 5000)
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
	c.Ran(name, clk.Now(), 50)
	h.Update(t.Context(), event.UpdateEvent{ObjectOld: old, ObjectNew: new}, q)
	h.Delete(t.Context(), event.DeleteEvent{Object: old}, q)
	if !slices.Equal(asked, []string{"new", "old", "new", "old"}) {
		t.Errorf("asked about %q", asked)
	}
	if !slices.Equal(q.added, []time.Duration{0, time.Second, time.Second, time.Second}) {
		t.Errorf("enqueued after %v", q.added)
	}
}
