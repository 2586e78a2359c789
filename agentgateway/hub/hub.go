package hub

import (
	"sync"

	"github.com/restic-manager/restic-manager/api/wire"
)

// Conn is a session, as the hub needs it.
type Conn interface {
	Host() wire.HostRef
	// Counter is the machine's session counter: the greater wins.
	Counter() int64
	// Write blocks until the message is sent; an error means that the session has ended, or that the message cannot be sent at all.
	Write(wire.Message) error
	// Close ends the session with a reason. It does not block.
	Close(*wire.Error)
}

// Hub holds the links of this replica.
type Hub struct {
	mu    sync.RWMutex
	links map[wire.HostRef]*Link
}

// New returns an empty hub.
func New() *Hub { return &Hub{links: map[wire.HostRef]*Link{}} }

// Superseded is what the older of two sessions is told.
func Superseded() *wire.Error {
	return &wire.Error{Code: wire.CodeSuperseded, Message: "a newer connection of this host took over"}
}

// Add takes a session in, unless there is one with an equal or greater counter: then it is closed and Add returns nil. A session that
// had a smaller one is closed.
func (h *Hub) Add(c Conn) *Link {
	link := &Link{conn: c}
	h.mu.Lock()
	current := h.links[c.Host()]
	newest := current == nil || current.conn.Counter() < c.Counter()
	if newest {
		h.links[c.Host()] = link
	}
	h.mu.Unlock()
	if !newest {
		c.Close(Superseded())
		return nil
	}
	if current != nil {
		current.Close(Superseded())
	}
	return link
}

// Remove takes a link out and drops what waits in it. It says whether the link was the host's current one.
func (h *Hub) Remove(link *Link) bool {
	h.mu.Lock()
	host := link.conn.Host()
	current := h.links[host] == link
	if current {
		delete(h.links, host)
	}
	h.mu.Unlock()
	link.end()
	return current
}

// Get returns the link of a host, or nil.
func (h *Hub) Get(host wire.HostRef) *Link {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.links[host]
}

// Len is the number of connected hosts.
func (h *Hub) Len() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.links)
}

// Links returns all links of this moment.
func (h *Hub) Links() []*Link {
	h.mu.RLock()
	defer h.mu.RUnlock()
	links := make([]*Link, 0, len(h.links))
	for _, l := range h.links {
		links = append(links, l)
	}
	return links
}
