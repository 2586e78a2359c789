package pace

import (
	"testing"
	"time"
)

// lineOf is a line in which so many wait.
func lineOf(count int) *Line {
	l := &Line{}
	for range count {
		l.Enter()
	}
	return l
}

// serve lets so many leave, one each pace.
func serve(l *Line, now *time.Time, count int, pace time.Duration) {
	for range count {
		*now = now.Add(pace)
		l.Leave(*now)
	}
}

func TestALineMeasuresHowLongOneTakes(t *testing.T) {
	var l Line
	now := start
	if got := l.Wait(); got != 0 {
		t.Errorf("an empty line takes %v", got)
	}
	for range 2000 {
		l.Enter()
	}
	if got, want := l.Wait(), 2000*firstEach; got != want {
		t.Errorf("before anybody was served it takes %v, want %v", got, want)
	}
	serve(&l, &now, 1500, 20*time.Millisecond)
	if got, want := l.Wait(), 10*time.Second; got < want*9/10 || got > want*11/10 {
		t.Errorf("500 at 20 ms take %v, want about %v", got, want)
	}
	serve(&l, &now, 500, 20*time.Millisecond)
	if l.Wait() != 0 {
		t.Errorf("with nobody in it, it takes %v", l.Wait())
	}
	// Nobody waited for an hour, which says nothing about the pace.
	l.Enter()
	serve(&l, &now, 1, time.Hour)
	l.Enter()
	if got := l.Wait(); got > 25*time.Millisecond {
		t.Errorf("after a quiet hour one takes %v", got)
	}
}

func TestAStallAndAClockThatIsSetBackDoNotSpoilTheMeasure(t *testing.T) {
	l := lineOf(100)
	now := start
	serve(l, &now, 50, 10*time.Millisecond)
	serve(l, &now, 1, time.Hour)
	serve(l, &now, 1, -time.Hour)
	if got := l.Wait() / 48; got > 100*time.Millisecond || got <= 0 {
		t.Errorf("one takes %v", got)
	}
}

func TestWhoIsSentAwayComesBehindAllOthers(t *testing.T) {
	l := lineOf(100)
	for i := range 100 {
		want := 60*firstEach + time.Duration(i)*(firstEach*overbookedFor/overbooked)
		if got := l.Ticket(start, 40*firstEach, time.Minute); got != want {
			t.Fatalf("ticket %d is %v, want %v", i, got, want)
		}
	}
	if got, want := l.Ticket(start.Add(time.Minute), 0, time.Minute), 100*firstEach; got != want {
		t.Errorf("when all promises have passed, a ticket is %v, want %v", got, want)
	}
}

func TestAFloodOfHandshakesSaysLittleAboutThePace(t *testing.T) {
	l := lineOf(1030)
	now := start
	serve(l, &now, 30, 150*time.Millisecond)
	if got := l.Wait(); got > 30*time.Second {
		t.Errorf("after the first 30, 1000 wait for %v", got)
	}
}

func TestWhoGivesUpDoesNotMakeTheLineFaster(t *testing.T) {
	l := lineOf(5000)
	now := start
	for range 1000 {
		for range 3 {
			l.GiveUp()
		}
		serve(l, &now, 1, 40*time.Millisecond)
	}
	if got, want := l.Wait(), 1000*40*time.Millisecond; got < want*9/10 || got > want*11/10 {
		t.Errorf("1000 at 40 ms take %v, want about %v", got, want)
	}
}

func TestTicketsFollowThePaceOfNow(t *testing.T) {
	l := lineOf(3000)
	now := start
	serve(l, &now, 1000, 100*time.Millisecond)
	var last time.Duration
	for range 100 {
		last = l.Ticket(now, time.Hour, time.Minute)
	}
	serve(l, &now, 1900, time.Millisecond)
	if got := l.Ticket(now, time.Hour, time.Minute); got > last/4 {
		t.Errorf("behind a ticket of %v, which was told at a slow pace, the next one is %v", last, got)
	}
}

func TestWhereThereIsRoomATicketIsForNow(t *testing.T) {
	var l Line
	l.Enter()
	if got := l.Ticket(start, time.Second, time.Minute); got != 0 {
		t.Errorf("a ticket is %v", got)
	}
}

func TestTicketsHaveAnEnd(t *testing.T) {
	var l Line
	spread := map[time.Duration]bool{}
	for range 100_000 {
		got := l.Ticket(start, 0, time.Minute)
		if got > time.Minute {
			t.Fatalf("a ticket is %v", got)
		}
		spread[got.Truncate(time.Second)] = true
	}
	if len(spread) < 55 {
		t.Errorf("100,000 come in %d different seconds", len(spread))
	}
}
