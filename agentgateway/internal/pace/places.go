package pace

import (
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
}

// NewPlaces returns limit places.
func NewPlaces(limit int) *Places { return &Places{limit: limit, byAddr: map[netip.Addr]int{}} }

// Take takes a place for a remote address with its port. leave gives it back and may be called more than once.
func (h *Places) Take(remote string) (leave func(), err error) {
	addr := network(remote)
	h.mu.Lock()
	defer h.mu.Unlock()
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
