package pace

import (
	"fmt"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

func TestTheTableOfLimitsIsBounded(t *testing.T) {
	l := New(1, 1)
	for i := range 3 * MaxKeys {
		l.Allow(fmt.Sprint(i), start)
	}
	if l.Len() > MaxKeys {
		t.Errorf("%d entries", l.Len())
	}
	if !l.Allow("new", start) || l.Allow("new", start) {
		t.Error("a new key does not have its burst, or more")
	}
}

func TestManyNewKeysCostAFewLooksEach(t *testing.T) {
	const keys = 10 * MaxKeys
	l := New(1, 1)
	for i := range keys {
		l.Allow(fmt.Sprint(i), start) // none is ever full again
	}
	if l.looks > 10*keys {
		t.Errorf("%d looks at the table for %d keys", l.looks, keys)
	}
	before := l.looks
	l.Allow("next", start.Add(time.Minute))
	for i := 0; l.looks == before; i++ {
		l.Allow(fmt.Sprint("later ", i), start.Add(time.Minute))
	}
	if l.Len() > MaxKeys/4 {
		t.Errorf("%d keys are remembered, though most have their burst again", l.Len())
	}
}

func TestOneKeyDoesNotSpendWhatIsAnothers(t *testing.T) {
	l := New(2, 3)
	for i := range 3 {
		if wait := l.Reserve("loud", start); wait != 0 {
			t.Errorf("%d within the burst waits %v", i, wait)
		}
	}
	for i := 1; i < 4; i++ {
		if got, want := l.Reserve("loud", start), time.Duration(i)*time.Second/2; got != want {
			t.Errorf("%d beyond the burst waits %v, want %v", i, got, want)
		}
	}
	if l.Allow("loud", start) {
		t.Error("a key that is in debt is allowed more")
	}
	if wait := l.Reserve("quiet", start); wait != 0 {
		t.Errorf("another key waits %v", wait)
	}
}
