package cronspec

import "time"

// A wall time is what clocks on the wall show, held in a time.Time of UTC: it has the fields of the local time and no zone.

// farthest is more than any zone's offset from UTC plus any jump of a zone (Samoa skipped a whole day).
const farthest = 50 * time.Hour

// longest is more than the longest pause of any expression: from one 29 February to the next around 2100.
const longest = 9 * 366 * 24 * time.Hour

// nextWall is the first wall time after w that the expression names; false when there is none.
func (s *Spec) nextWall(w time.Time) (time.Time, bool) {
	// The library gives up after five years; 29 February is up to eight years away.
	for range 3 {
		if next := s.schedule.Next(w); !next.IsZero() {
			return next, true
		}
		w = w.AddDate(4, 0, 0)
	}
	return time.Time{}, false
}

// lastWall is the last wall time at or before w that the expression names.
func (s *Spec) lastWall(w time.Time) (time.Time, bool) {
	upTo := func(from time.Time) (time.Time, bool) {
		next, ok := s.nextWall(from)
		return next, ok && !next.After(w)
	}
	// Widen the window until something is in it …
	var found time.Time
	for back := time.Hour; ; back *= 4 {
		if n, ok := upTo(w.Add(-min(back, longest))); ok {
			found = n
			break
		}
		if back > longest {
			return time.Time{}, false
		}
	}
	// … then halve it: found is always named, nothing is named in (end, w].
	for end := w; ; {
		n, ok := upTo(found)
		if !ok {
			return found, true
		}
		middle := found.Add(end.Sub(found) / 2)
		if later, ok := upTo(middle); ok {
			found = later
		} else {
			found, end = n, middle
		}
	}
}

// firstShown is the first instant at which the clocks of the zone show w or later: w itself, its first occurrence in a repeated hour, or the end of
// the gap that w lies in. It never decreases with w.
func (s *Spec) firstShown(w time.Time) time.Time {
	at := w.Add(-farthest)
	for {
		start, end, offset := s.segment(at)
		candidate := w.Add(-offset)
		if candidate.Before(start) {
			candidate = start
		}
		if end.IsZero() || candidate.Before(end) {
			return candidate.In(s.location)
		}
		at = end
	}
}

// shownUpTo is the latest wall time that the clocks of the zone have shown up to and including t: later than what they show at t during a
// repeated hour.
func (s *Spec) shownUpTo(t time.Time) time.Time {
	_, _, offset := s.segment(t)
	latest := asWall(t, offset)
	for at := t; ; {
		start, _, _ := s.segment(at)
		if start.IsZero() || t.Sub(start) > farthest {
			return latest
		}
		at = start.Add(-1)
		_, _, offset = s.segment(at)
		if shown := asWall(at, offset); shown.After(latest) {
			latest = shown
		}
	}
}

// segment is the span around t in which the zone's offset from UTC does not change. start and end are zero where it is open.
func (s *Spec) segment(t time.Time) (start, end time.Time, offset time.Duration) {
	local := t.In(s.location)
	start, end = local.ZoneBounds()
	_, seconds := local.Zone()
	return start, end, time.Duration(seconds) * time.Second
}

func asWall(t time.Time, offset time.Duration) time.Time { return t.UTC().Add(offset) }
