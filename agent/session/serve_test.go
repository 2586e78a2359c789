package session

import (
	"testing"
	"time"
)

func TestPingsComeTogetherAndNeverLate(t *testing.T) {
	moment := time.Date(2026, 1, 1, 0, 0, 35, 0, time.UTC)
	for _, test := range []struct {
		name           string
		after          time.Duration // how long after such a moment it is
		interval, want time.Duration
	}{
		{"in the moment", 0, 30 * time.Second, 30 * time.Second},
		{"a little after it, as timers are", 300 * time.Microsecond, 30 * time.Second, 30*time.Second - 300*time.Microsecond},
		{"just before the next", 4999 * time.Millisecond, 30 * time.Second, 25*time.Second + time.Millisecond},
		{"a short interval", 2 * time.Second, 10 * time.Second, 8 * time.Second},
		{"one of which not much would be left", 3 * time.Second, 5 * time.Second, 5 * time.Second},
		{"one in which the next moment does not come", time.Second, time.Second, time.Second},
		{"one beyond all that is allowed", 0, 20 * time.Millisecond, 20 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := untilPing(moment.Add(test.after), test.interval); got != test.want {
				t.Errorf("the next ping is after %v, want %v", got, test.want)
			}
		})
	}
}
