package pace

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
)

// Errors of Take.
var (
	ErrFull        = errors.New("too many at once")
	ErrAddressFull = errors.New("too many at once from this address")
)

// Places bounds what peers hold that said nothing yet, all of them and by address. Half of the places are for whoever comes; the rest is
// for addresses that hold few: somebody who opens connections and says nothing takes no more than half, and agents still come in.
// Agents behind one address (NAT, a balancer) share that half, which is plenty: an agent's handshake takes milliseconds.
type Places struct {
	limit int

	mu     sync.Mutex
	all    int
	byAddr map[netip.Addr]int
	// waiting are *waiter, of whom none could have a place now.
	waiting list.List
}

// waiter is one who waits for a place, which it is given as what Take returns.
type waiter struct {
	addr  netip.Addr
	place chan func() // of one
}

// NewPlaces returns limit places.
func NewPlaces(limit int) *Places { return &Places{limit: limit, byAddr: map[netip.Addr]int{}} }

// Take takes a place for a remote address with its port. leave gives it back and may be called more than once.
func (h *Places) Take(remote string) (leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.take(network(remote))
}

// Wait is Take for one who may wait, until ctx ends: it gets the first place that it may have, in the order of arrival. The error is that of Take when it came. The
// caller bounds how many wait.
func (h *Places) Wait(ctx context.Context, remote string) (leave func(), err error) {
	addr := network(remote)
	h.mu.Lock()
	if leave, err = h.take(addr); err == nil {
		h.mu.Unlock()
		return leave, nil
	}
	w := &waiter{addr, make(chan func(), 1)}
	inLine := h.waiting.PushBack(w)
	h.mu.Unlock()
	select {
	case leave = <-w.place:
		return leave, nil
	case <-ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case leave = <-w.place: // in this very moment
		return leave, nil
	default:
		h.waiting.Remove(inLine)
		return nil, err
	}
}

func (h *Places) take(addr netip.Addr) (leave func(), err error) {
	switch {
	case h.all >= h.limit:
		return nil, ErrFull
	case h.all >= max(h.limit/2, 1) && h.byAddr[addr] >= max(h.limit/8, 1):
		return nil, ErrAddressFull
	}
	h.all++
	h.byAddr[addr]++
	return sync.OnceFunc(func() { h.leave(addr) }), nil
}

func (h *Places) leave(addr netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all--
	if h.byAddr[addr]--; h.byAddr[addr] == 0 {
		delete(h.byAddr, addr)
	}
	for next := h.waiting.Front(); next != nil && h.all < h.limit; {
		inLine := next
		next = next.Next()
		w := inLine.Value.(*waiter)
		if leave, err := h.take(w.addr); err == nil {
			h.waiting.Remove(inLine)
			w.place <- leave
		}
	}
}

// network is the address of a peer; of IPv6 the /64, within which one peer may have any. What is no address counts as one.
func network(remote string) netip.Addr {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		return netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return addr
}
