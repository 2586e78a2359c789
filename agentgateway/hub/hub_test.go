package hub

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

var web1 = wire.HostRef{Namespace: "shop", Name: "web-1"}

type conn struct {
	host    wire.HostRef
	counter int64
	gate    chan struct{} // Write waits for it, when it is not nil

	mu     sync.Mutex
	sent   []string
	closed []wire.Code
	wrote  chan struct{}
}

func newConn(counter int64) *conn {
	return &conn{host: web1, counter: counter, wrote: make(chan struct{}, 10000)}
}

func (c *conn) Host() wire.HostRef { return c.host }
func (c *conn) Counter() int64     { return c.counter }
func (c *conn) Write(m wire.Message) error {
	if c.gate != nil {
		<-c.gate
	}
	c.mu.Lock()
	switch m := m.(type) {
	case *wire.SetOffer:
		c.sent = append(c.sent, "set "+m.Revision)
	case *wire.Verdict:
		c.sent = append(c.sent, m.JobID)
	}
	c.mu.Unlock()
	c.wrote <- struct{}{}
	return nil
}
func (c *conn) Close(e *wire.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = append(c.closed, e.Code)
}

func (c *conn) reasons() []wire.Code {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (c *conn) await(t *testing.T, n int) []string {
	t.Helper()
	for range n {
		select {
		case <-c.wrote:
		case <-time.After(time.Minute):
			t.Fatalf("waiting for %d messages", n)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

func TestTheGreaterSessionCounterWins(t *testing.T) {
	h := New()
	older, newer, late := newConn(1), newConn(2), newConn(1)
	first := h.Add(older)
	second := h.Add(newer)
	if first == nil || second == nil || h.Get(web1) != second {
		t.Fatal("the newer session is not the current one")
	}
	if got := older.reasons(); len(got) != 1 || got[0] != wire.CodeSuperseded {
		t.Errorf("the older session was closed with %v", got)
	}
	if h.Add(late) != nil || h.Get(web1) != second {
		t.Error("a late session with a smaller counter took over")
	}
	if got := late.reasons(); len(got) != 1 || got[0] != wire.CodeSuperseded {
		t.Errorf("the late session was closed with %v", got)
	}
	if h.Add(newConn(2)) != nil {
		t.Error("a session with an equal counter took over")
	}
	if h.Remove(first) || h.Get(web1) != second || h.Len() != 1 {
		t.Error("the end of the older session disconnected the newer")
	}
	if !h.Remove(second) || h.Get(web1) != nil || h.Len() != 0 {
		t.Error("the newer session is still there")
	}
	if len(newer.reasons()) != 0 {
		t.Errorf("the newer session was closed with %v", newer.reasons())
	}
}

func TestOnlyTheNewestSetWaits(t *testing.T) {
	h := New()
	c := newConn(1)
	c.gate = make(chan struct{})
	l := h.Add(c)
	if err := l.Send(&wire.Verdict{JobID: "a"}); err != nil { // occupies the writer, or is still queued
		t.Fatal(err)
	}
	c.gate <- struct{}{}
	c.await(t, 1)
	if err := l.Send(&wire.Verdict{JobID: "b"}); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		l.Offer(&wire.SetOffer{Revision: fmt.Sprint(i)})
	}
	if err := l.Send(&wire.Verdict{JobID: "c"}); err != nil {
		t.Fatal(err)
	}
	close(c.gate)
	got := c.await(t, 3)
	// Whether b or a set was taken first depends on the writer; no more than one older set may have been.
	sets := 0
	for _, s := range got {
		if s == "set 99" {
			sets++
		}
	}
	if sets != 1 || got[0] != "a" || got[len(got)-1] != "c" || len(got) > 5 {
		t.Errorf("sent %q, want the newest set once and the messages in order", got)
	}
}

func TestASlowPeerNeverBlocksNorCostsWithoutBound(t *testing.T) {
	h := New()
	slow, other := newConn(1), newConn(1)
	other.host.Name = "web-2"
	slow.gate = make(chan struct{})
	l, m := h.Add(slow), h.Add(other)
	var err error
	taken := 0
	for ; err == nil && taken < 10*MaxQueued; taken++ {
		err = l.Send(&wire.Verdict{JobID: "x"})
	}
	if !errors.Is(err, ErrFull) || taken > MaxQueued+2 {
		t.Fatalf("%d messages were taken, then %v", taken, err)
	}
	if err := m.Send(&wire.Verdict{JobID: "y"}); err != nil {
		t.Fatal(err)
	}
	if got := other.await(t, 1); got[0] != "y" {
		t.Errorf("the other peer got %q", got)
	}
	h.Remove(l)
	if err := l.Send(&wire.Verdict{JobID: "x"}); !errors.Is(err, ErrEnded) {
		t.Errorf("after the end Send says %v", err)
	}
	close(slow.gate)
}

func TestManySessionsAtOnceLeaveTheNewest(t *testing.T) {
	h := New()
	const sessions = 200
	conns := make([]*conn, sessions)
	for i := range conns {
		conns[i] = newConn(int64(i + 1))
	}
	rand.Shuffle(sessions, func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			l := h.Add(c)
			if l == nil {
				return
			}
			l.Offer(&wire.SetOffer{Revision: "r"})
			_ = l.Send(&wire.Verdict{JobID: "x"})
			if c.counter != sessions {
				h.Remove(l)
			}
		})
	}
	wg.Wait()
	if l := h.Get(web1); l == nil || l.Counter() != sessions || h.Len() != 1 || len(h.Links()) != 1 {
		t.Fatalf("the current session is %+v", l)
	}
	for _, c := range conns {
		if c.counter == sessions && len(c.reasons()) != 0 {
			t.Errorf("the newest session was closed with %v", c.reasons())
		}
	}
}
