package lane

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

func take(t *testing.T, c <-chan int) int {
	t.Helper()
	select {
	case n := <-c:
		return n
	case <-time.After(time.Minute):
		t.Fatal("nothing was handled")
		return 0
	}
}

func TestItemsAreHandledInOrder(t *testing.T) {
	handled := make(chan int)
	l := New(3, func(n int) { handled <- n }, nil)
	go func() {
		for n := range 100 {
			if err := l.Put(context.Background(), n); err != nil {
				t.Error(err)
			}
		}
	}()
	for want := range 100 {
		if got := take(t, handled); got != want {
			t.Fatalf("handled %d, want %d", got, want)
		}
	}
}

func TestAFullLaneBlocksUntilTheContextEnds(t *testing.T) {
	handled := make(chan int)
	l := New(1, func(n int) { handled <- n }, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var err error
	for n := 0; err == nil && n < 10; n++ {
		err = l.Put(ctx, n)
	}
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("a full lane says %v", err)
	}
	if got := take(t, handled); got != 0 {
		t.Errorf("handled %d", got)
	}
	l.End()
	if err := l.Put(t.Context(), 1); !errors.Is(err, ErrEnded) {
		t.Errorf("after the end Put says %v", err)
	}
	select {
	case <-handled: // the one that was being handled at the end
	default:
	}
}

func TestWaitingItemsAreMerged(t *testing.T) {
	began, goOn := make(chan int), make(chan struct{})
	l := New(3, func(n int) { began <- n; <-goOn }, func(waiting, next int) bool { return waiting/10 == next/10 })
	put := func(n int) {
		if err := l.Put(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	put(1)
	take(t, began) // 1 is being handled, the others wait
	for _, n := range []int{10, 20, 11, 21, 12} {
		put(n)
	}
	var got []int
	for range 2 {
		goOn <- struct{}{}
		got = append(got, take(t, began))
	}
	goOn <- struct{}{}
	if want := []int{12, 21}; !slices.Equal(got, want) {
		t.Errorf("handled %v, want %v", got, want)
	}
}
