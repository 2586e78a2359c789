package stream

import (
	"errors"
	"sync"

	"github.com/restic-manager/restic-manager/api/wire"
)

// MaxOpen bounds the streams of one session: one more than an agent answers at once, so that it is the agent who says that there are too many.
const MaxOpen = wire.MaxStreams + 1

// Errors of Open.
var (
	ErrTooMany = errors.New("too many answers of this machine are collected at once")
	ErrEnded   = errors.New("the session of the agent has ended")
)

// Link is the session of an agent, as this package needs it.
type Link interface {
	// Send queues a message and does not block; an error says that it will not be sent.
	Send(wire.Message) error
}

// Table holds the streams of one session.
type Table struct {
	link Link

	mu    sync.Mutex
	last  uint32
	open  map[uint32]*Stream
	ended bool
}

// NewTable returns the table of a session that begins.
func NewTable(link Link) *Table { return &Table{link: link} }

// Open reserves a stream. Whoever calls it calls Start next, and Close in any case.
func (t *Table) Open() (*Stream, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.ended:
		return nil, ErrEnded
	case len(t.open) >= MaxOpen:
		return nil, ErrTooMany
	}
	t.last++
	s := &Stream{table: t, number: t.last, wake: make(chan struct{}, 1)}
	if t.open == nil {
		t.open = map[uint32]*Stream{}
	}
	t.open[s.number] = s
	return s, nil
}

// Data takes the chunk of a data frame. It does not block and keeps no part of chunk.
func (t *Table) Data(number uint32, chunk []byte) {
	if s := t.get(number); s != nil {
		s.put(chunk)
	}
}

// Closed takes a stream.close of the agent.
func (t *Table) Closed(m *wire.StreamClose) {
	s := t.get(m.Stream)
	switch {
	case s == nil:
	case m.Reason != "":
		s.finish(End{Reason: wire.StreamRefused, Refusal: m.Reason}, true)
	default:
		s.finish(Done, true)
	}
}

// End loses every stream: the session is over.
func (t *Table) End() {
	t.mu.Lock()
	t.ended = true
	open := t.open
	t.open = nil
	t.mu.Unlock()
	for _, s := range open {
		s.finish(Lost, true)
	}
}

func (t *Table) get(number uint32) *Stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open[number]
}

func (t *Table) forget(number uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, number)
}
