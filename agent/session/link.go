package session

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/internal/gather"
)

// link is one WebSocket and when it was last heard of.
type link struct {
	conn *websocket.Conn
	// socket gathers what large frames are made of; nil where it does not.
	socket *gather.Conn
	clock  clock.Clock
	// last keeps the monotonic reading, so that a jump of the wall clock does not end a session.
	last atomic.Pointer[time.Time]
}

func newLink(c clock.Clock) *link {
	l := &link{clock: c}
	l.heard()
	return l
}

func (l *link) heard() {
	now := l.clock.Now()
	l.last.Store(&now)
}

func (l *link) silence() time.Duration { return l.clock.Now().Sub(*l.last.Load()) }

// notAMessage is the error for a peer that does not speak the protocol at all.
type notAMessage struct{ err error }

func (e *notAMessage) Error() string { return e.err.Error() }
func (e *notAMessage) Unwrap() error { return e.err }

// invalidMessage is a message of a known type that does not hold what it must.
type invalidMessage struct {
	kind wire.Type
	err  error
}

func (e *invalidMessage) Error() string { return e.err.Error() }
func (e *invalidMessage) Unwrap() error { return e.err }

// read returns the next message. Errors: wire.ErrUnknownType and *invalidMessage leave the link usable, all others end it.
func (l *link) read(ctx context.Context) (wire.Message, error) {
	kind, frame, err := l.conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	l.heard()
	if kind != websocket.MessageText {
		return nil, &notAMessage{fmt.Errorf("it sent a binary frame")}
	}
	envelope, err := wire.Decode(frame)
	if err != nil {
		return nil, &notAMessage{fmt.Errorf("it sent something that is no message: %w", err)}
	}
	message, err := envelope.Open()
	if err != nil && wire.New(envelope.Type) != nil {
		return nil, &invalidMessage{envelope.Type, err}
	}
	return message, err
}

// write sends a frame.
func (l *link) write(ctx context.Context, frame outgoing) error {
	write := func() error { return l.conn.Write(ctx, frame.kind, frame.frame) }
	if frame.kind != websocket.MessageBinary {
		return write()
	}
	return l.socket.Together(ctx, write)
}

// closeGently says goodbye and waits a moment for the answer.
func (l *link) closeGently(reason string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.conn.Close(websocket.StatusNormalClosure, reason)
	}()
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		_ = l.conn.CloseNow()
		<-done
	}
}
