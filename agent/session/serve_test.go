package session

import (
	"testing"
	"time"
)

func TestPingsComeTogetherAndNeverLate(t *testing.T) {
	moment := time.Date(2026, 1, 1, 0, 0, 5, 0, time.UTC)
	for _, test := range []struct {
		name           string
		into           time.Duration // how far after the moment it is
		interval, want time.Duration
	}{
		{"at the moment", 0, 30 * time.Second, 30 * time.Second},
		{"a little after it, as timers are", 300 * time.Microsecond, 30 * time.Second, 30*time.Second - 300*time.Microsecond},
		{"just before the next", 4999 * time.Millisecond, 30 * time.Second, 25*time.Second + time.Millisecond},
		{"an interval that is no multiple", 250 * time.Millisecond, 17 * time.Second, 14750 * time.Millisecond},
		{"one of five seconds", 2 * time.Second, 5 * time.Second, 3 * time.Second},
		{"one of five seconds, most of which is over", 3 * time.Second, 5 * time.Second, 5 * time.Second},
		{"one without such a moment", 0, 20 * time.Millisecond, 20 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := untilPing(moment.Add(test.into), test.interval); got != test.want {
				t.Errorf("the next ping is after %v, want %v", got, test.want)
			}
		})
	}
}
