package pace

import (
	"fmt"
	"testing"
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
