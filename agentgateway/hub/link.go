package hub

import (
	"errors"
	"sync"

	"github.com/restic-manager/restic-manager/api/wire"
)

// MaxQueued bounds the messages that wait for one peer.
const MaxQueued = 256

// Errors of Send.
var (
	// ErrFull: the peer reads too slowly; the message was not taken.
	ErrFull = errors.New("the agent reads too slowly")
	// ErrEnded: the session has ended.
	ErrEnded = errors.New("the session has ended")
)

// Link is the current session of a host with what waits to be sent to it.
type Link struct {
	conn Conn

	mu      sync.Mutex
	set     *wire.SetOffer
	queue   []wire.Message
	writing bool
	ended   bool
}

// Host is whose link it is.
func (l *Link) Host() wire.HostRef { return l.conn.Host() }

// Counter is the session counter.
func (l *Link) Counter() int64 { return l.conn.Counter() }

// Close ends the session with a reason. It does not block.
func (l *Link) Close(e *wire.Error) { l.conn.Close(e) }

// Offer queues a set in place of one that still waits.
func (l *Link) Offer(set *wire.SetOffer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.set = set
	l.startLocked()
}

// Send queues a message.
func (l *Link) Send(m wire.Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ended:
		return ErrEnded
	case len(l.queue) >= MaxQueued:
		return ErrFull
	}
	l.queue = append(l.queue, m)
	l.startLocked()
	return nil
}

func (l *Link) startLocked() {
	if !l.writing {
		l.writing = true
		go l.write()
	}
}

// write sends until nothing waits.
func (l *Link) write() {
	for {
		m := l.next()
		if m == nil {
			return
		}
		// What cannot be sent is lost with its error only when the session is: the connection tells its own reader.
		_ = l.conn.Write(m)
	}
}

// next takes the next message, or ends the writing.
func (l *Link) next() wire.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ended:
	case l.set != nil:
		m := l.set
		l.set = nil
		return m
	case len(l.queue) > 0:
		m := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		return m
	}
	l.queue = nil // an idle link holds no memory for its queue
	l.writing = false
	return nil
}

func (l *Link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.set, l.queue = nil, nil
}
