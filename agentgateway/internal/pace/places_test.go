package pace

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func TestWhoHoldsPlacesLeavesRoomForOthers(t *testing.T) {
	for name, c := range map[string]struct {
		flood func(i int) string
		quiet string
	}{
		"from one address":           {func(i int) string { return fmt.Sprint("203.0.113.9:", 1000+i) }, "198.51.100.1:1"},
		"from many of one IPv6 site": {func(i int) string { return fmt.Sprintf("[2001:db8:1:2::%x]:1", i) }, "[2001:db8:1:3::1]:1"},
	} {
		t.Run(name, func(t *testing.T) {
			h := NewPlaces(16)
			var held []func()
			for i := range 1000 {
				if done, _ := h.Take(c.flood(i)); done != nil {
					held = append(held, done)
				}
			}
			if len(held) != 8 {
				t.Errorf("the flood holds %d of 16 places, want half", len(held))
			}
			for i := range 100 {
				done, err := h.Take(c.quiet)
				if done == nil {
					t.Fatalf("place %d of another address: %v", i, err)
				}
				done()
			}
			for _, done := range held {
				done()
				done()
			}
			if h.all != 0 || len(h.byAddr) != 0 {
				t.Errorf("when all have left, %d places of %d addresses are taken", h.all, len(h.byAddr))
			}
		})
	}
}

func TestAllPlacesTogetherAreBounded(t *testing.T) {
	h := NewPlaces(16)
	held := 0
	for i := range 1000 {
		if done, _ := h.Take(fmt.Sprintf("10.0.%d.%d:1", i/250, i%250)); done != nil {
			held++
		}
	}
	if held != 16 {
		t.Errorf("%d places of many addresses, want 16", held)
	}
}

func TestWhoWaitsGetsTheFirstPlaceThatItMayHave(t *testing.T) {
	h := NewPlaces(8)
	var held []func()
	for i := range 8 {
		leave, err := h.Take(fmt.Sprintf("10.0.0.%d:1", i))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, leave)
	}
	got := make(chan string, 4)
	wait := func(remote string) {
		queued := h.queued()
		go func() {
			if _, err := h.Wait(t.Context(), remote); err == nil {
				got <- remote
			}
		}()
		for h.queued() == queued {
			time.Sleep(time.Millisecond)
		}
	}
	// That of 10.0.0.7 holds as many as it may, and those behind it do not wait for it.
	wait("10.0.0.7:2")
	wait("10.1.0.1:1")
	wait("10.1.0.2:1")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if leave, err := h.Wait(ended, "10.1.0.3:1"); leave != nil || err != ErrFull {
		t.Errorf("who has no time left is told %v", err)
	}
	held[0]()
	if first := <-got; first != "10.1.0.1:1" {
		t.Errorf("the first place goes to %s", first)
	}
	held[1]()
	if second := <-got; second != "10.1.0.2:1" {
		t.Errorf("the second place goes to %s", second)
	}
	held[7]()
	if third := <-got; third != "10.0.0.7:2" {
		t.Errorf("the place of its own goes to %s", third)
	}
	if n := h.queued(); n != 0 {
		t.Errorf("%d wait still", n)
	}
}

func (h *Places) queued() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiting.Len()
}
