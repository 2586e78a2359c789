package cronspec

import "time"

// NominalLayout is the layout of Fire.Nominal, equal to that of the wire.
const NominalLayout = "2006-01-02T15:04"

// Fire is one time that an expression names.
type Fire struct {
	// Nominal is the local wall time in NominalLayout: the fire's identity.
	Nominal string
	// At is the instant, in the zone of the expression.
	At time.Time
}

// Next is the first fire after t. It is false only beyond the calendar: an expression that Parse accepts fires at least every eight years.
func (s *Spec) Next(t time.Time) (Fire, bool) {
	w, ok := s.nextWall(s.shownUpTo(t.Round(0)))
	if !ok {
		return Fire{}, false
	}
	at := s.firstShown(w)
	// Nominal times in and at the end of a gap fall on one instant: the last one names it.
	for {
		later, ok := s.nextWall(w)
		if !ok || !s.firstShown(later).Equal(at) {
			return Fire{Nominal: w.Format(NominalLayout), At: at}, true
		}
		w = later
	}
}

// Prev is the last fire at or before t.
func (s *Spec) Prev(t time.Time) (Fire, bool) {
	w, ok := s.lastWall(s.shownUpTo(t.Round(0)))
	if !ok {
		return Fire{}, false
	}
	return Fire{Nominal: w.Format(NominalLayout), At: s.firstShown(w)}, true
}

// Between lists the fires after "after" and up to and including "until", in order, the first limit of them.
func (s *Spec) Between(after, until time.Time, limit int) []Fire {
	var fires []Fire
	for len(fires) < limit {
		f, ok := s.Next(after)
		if !ok || f.At.After(until) {
			break
		}
		fires = append(fires, f)
		after = f.At
	}
	return fires
}
