package pace

import (
	"math"
	"sync"
	"time"
)

const (
	// firstEach is what one takes before anything was measured.
	firstEach = 5 * time.Millisecond
	// maxEach bounds what a stall adds to the measure.
	maxEach = time.Second / 4
	// overbooked tickets are given out for the time of overbookedFor: an empty line costs more than a long one, and not all come back in time.
	overbooked, overbookedFor = 3, 2
	// weight of what is known against one more measurement. While a fleet shakes hands all at once nearly nobody is served; who is told a time by that comes when the line has
	// long been empty.
	weight = 255
)

// Line is where those wait who are served one after another, or some at once, at a rate that nobody knows beforehand. It measures that rate and tells how
// long it takes. The zero value is ready. Safe for concurrent use.
type Line struct {
	mu      sync.Mutex
	waiting int
	each    time.Duration
	// last is when one left while others waited, zero when nobody did.
	last time.Time
	// tickets is how many slots lay ahead at told, with those who wait: in numbers, not in time, so that the next one is told what the pace of now makes of it.
	tickets float64
	told    time.Time
}

// Enter counts one more who waits or is served.
func (l *Line) Enter() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting++
}

// Leave counts one who was served.
func (l *Line) Leave(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() {
		took := min(max(now.Sub(l.last), 0), maxEach)
		l.each = (l.pace()*weight + took) / (weight + 1)
	}
	l.last = now
	l.left()
}

// GiveUp counts one who leaves without having been served, which says nothing about the pace.
func (l *Line) GiveUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left()
}

func (l *Line) left() {
	if l.waiting--; l.waiting == 0 {
		l.last = time.Time{}
	}
}

func (l *Line) pace() time.Duration {
	if l.each == 0 {
		return firstEach
	}
	return l.each
}

// Len is how many wait or are served.
func (l *Line) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting
}

// Wait is how long one who comes now waits until all are served who came before.
func (l *Line) Wait() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Duration(l.waiting) * l.pace()
}

// Ticket is for one who is sent away: in how long it may come, when the line is down to what takes room, and behind those who were sent away before, by the pace of now. Never more than
// most; from there on tickets begin anew in the second half of that time, since promises that far ahead are guesses.
func (l *Line) Ticket(now time.Time, room, most time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot := max(l.pace()*overbookedFor/overbooked, time.Microsecond)
	ahead := max(l.tickets-max(float64(now.Sub(l.told))/float64(slot), 0), 0)
	in := max(time.Duration(math.Round(ahead*float64(slot))), min(time.Duration(l.waiting)*l.pace()-room, most/2), 0)
	if in > most {
		in = most / 2
	}
	l.tickets, l.told = float64(in)/float64(slot)+1, now
	return in
}
