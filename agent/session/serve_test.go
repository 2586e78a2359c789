package session

import (
	"testing"
	"time"
)

func TestPingsComeWithTheSecondAndNeverLate(t *testing.T) {
	second := time.Date(2026, 1, 1, 0, 0, 7, 0, time.UTC)
	for _, test := range []struct {
		name           string
		into           time.Duration // how far into a second it is
		interval, want time.Duration
	}{
		{"on the second", 0, 30 * time.Second, 30 * time.Second},
		{"a little after it, as timers are", 300 * time.Microsecond, 30 * time.Second, 30*time.Second - 300*time.Microsecond},
		{"just before it", 999 * time.Millisecond, 30 * time.Second, 29*time.Second + time.Millisecond},
		{"a short interval", 250 * time.Millisecond, 3 * time.Second, 2750 * time.Millisecond},
		{"one of a second", 400 * time.Millisecond, time.Second, 600 * time.Millisecond},
		{"one of a second, most of which is over", 700 * time.Millisecond, time.Second, time.Second},
		{"none of a whole second", 0, 20 * time.Millisecond, 20 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := untilPing(second.Add(test.into), test.interval); got != test.want {
				t.Errorf("the next ping is after %v, want %v", got, test.want)
			}
		})
	}
}
