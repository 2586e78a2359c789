package metrics

import (
	"time"

	"github.com/restic-manager/restic-manager/api/cronspec"
)

// maxIntervals bounds what is remembered; a fleet has few expressions.
const maxIntervals = 4096

// expression is a cron expression in a zone.
type expression struct{ cron, zone string }

// known is the interval of an expression, which holds until its next run.
type known struct {
	interval time.Duration
	until    time.Time
}

type intervals map[expression]known

// interval is the time from the next run of an expression to the one after it; 0 for one that does not parse.
func (s *scrape) interval(cron, zone string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := expression{cron, zone}
	if k, ok := s.intervals[key]; ok && s.now.Before(k.until) {
		return k.interval
	}
	if len(s.intervals) >= maxIntervals {
		clear(s.intervals)
	}
	k := known{until: s.now.Add(time.Hour)}
	if spec, err := cronspec.Parse(cron, zone); err == nil {
		if next, ok := spec.Next(s.now); ok {
			k.until = next.At
			if after, ok := spec.Next(next.At); ok {
				k.interval = after.At.Sub(next.At)
			}
		}
	}
	s.intervals[key] = k
	return k.interval
}
