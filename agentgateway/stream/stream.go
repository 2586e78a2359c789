package stream

import (
	"context"
	"sync"

	"github.com/restic-manager/restic-manager/api/wire"
)

// step is how much is taken before credit is granted again: a message for each chunk would cost more than the chunk.
const step = wire.StreamWindow / 4

// Stream is an answer of an agent of this replica. It is a Source.
type Stream struct {
	table  *Table
	number uint32

	mu     sync.Mutex
	held   buffer
	credit int64 // what the agent may still send
	owed   int64 // taken, and not granted again yet
	end    *End
	// over: the agent sends no more, and need not be told that nobody collects.
	over bool
	wake chan struct{}
}

// Start asks the agent for the answer to a signed query.
func (s *Stream) Start(query string, signatures []wire.Signature) error {
	open := &wire.StreamOpen{Stream: s.number, Query: query, Signatures: signatures, Credit: wire.StreamWindow}
	if err := open.Validate(); err != nil {
		return err
	}
	s.mu.Lock()
	s.credit = open.Credit
	s.mu.Unlock()
	return s.table.link.Send(open)
}

// put takes a chunk of the agent.
func (s *Stream) put(chunk []byte) {
	s.mu.Lock()
	overrun := charge(chunk) > s.credit
	if s.end == nil && !overrun {
		s.credit -= charge(chunk)
		s.held.add(chunk)
	}
	s.mu.Unlock()
	if overrun {
		s.Close()
		return
	}
	s.signal()
}

// finish ends the stream, once. What the agent has sent to its end is still taken; what broke off is dropped.
func (s *Stream) finish(end End, byAgent bool) {
	s.mu.Lock()
	if s.end == nil {
		s.end = &end
		if end == Lost || end == Expired {
			s.held.drop()
		}
	}
	s.over = s.over || byAgent
	s.mu.Unlock()
	s.signal()
}

func (s *Stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default: // Next will look anyway
	}
}

// Next implements Source.
func (s *Stream) Next(ctx context.Context) ([]byte, error) {
	for ctx.Err() == nil {
		chunk, end := s.look()
		switch {
		case chunk != nil:
			return chunk, nil
		case end != nil:
			return nil, *end
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
	}
	return nil, CauseOf(ctx)
}

func (s *Stream) look() ([]byte, *End) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held.next(), s.end
}

// Taken implements Source: what was taken is granted again.
func (s *Stream) Taken(chunk []byte) {
	s.mu.Lock()
	s.owed += charge(chunk)
	grant := s.owed
	if grant < step || s.over || s.end != nil {
		s.mu.Unlock()
		return
	}
	s.owed, s.credit = 0, s.credit+grant
	s.mu.Unlock()
	if err := s.table.link.Send(&wire.StreamCredit{Stream: s.number, Bytes: grant}); err != nil {
		s.Close() // without credit it would hang
	}
}

// Close implements Source.
func (s *Stream) Close() {
	s.table.forget(s.number)
	s.finish(Lost, false)
	s.mu.Lock()
	tell := !s.over
	s.over = true
	s.mu.Unlock()
	if tell {
		// An agent that does not get it runs into its credit.
		_ = s.table.link.Send(&wire.StreamClose{Stream: s.number})
	}
}
