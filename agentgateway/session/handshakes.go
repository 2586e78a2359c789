package session

import (
	"net"
	"net/netip"
	"sync"
)

// handshakes counts the connections without a welcome, all of them and by address. Half of the places are for whoever comes; the rest
// is for addresses that hold few: somebody who opens connections and says nothing takes no more than half, and agents still come in.
// Agents behind one address (NAT, a balancer) share that half, which is plenty: an agent's handshake takes milliseconds.
type handshakes struct {
	limit int

	mu     sync.Mutex
	all    int
	byAddr map[netip.Addr]int
}

func newHandshakes(limit int) *handshakes {
	return &handshakes{limit: limit, byAddr: map[netip.Addr]int{}}
}

// begin takes a place, or says why there is none. done gives it back and may be called more than once.
func (h *handshakes) begin(remote string) (done func(), why string) {
	addr := network(remote)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.all >= h.limit:
		return nil, "too many handshakes are under way"
	case h.all >= max(h.limit/2, 1) && h.byAddr[addr] >= max(h.limit/8, 1):
		return nil, "too many handshakes of this address are under way"
	}
	h.all++
	h.byAddr[addr]++
	return sync.OnceFunc(func() { h.end(addr) }), ""
}

func (h *handshakes) end(addr netip.Addr) {
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
