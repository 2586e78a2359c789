package session

import (
	"context"
	"fmt"

	"github.com/coder/websocket"

	"github.com/restic-manager/restic-manager/api/wire"
)

// Stream is the way out for one answer, in the session that asked for it and in no later one. Its methods may be called from any goroutine; after the end of
// the session they return ErrNotConnected.
type Stream struct{ session *session }

// Data sends a binary frame. It waits until the frame is being written, behind all heartbeats and messages: whoever produces is as fast as the gateway reads,
// and nothing piles up.
func (s Stream) Data(ctx context.Context, frame []byte) error {
	return s.push(ctx, outgoing{websocket.MessageBinary, frame})
}

// Finish sends a message after all data for which Data returned. It waits as Data does.
func (s Stream) Finish(ctx context.Context, m *wire.StreamClose) error {
	frame, err := wire.Encode(fmt.Sprint(s.session.ids.Add(1)), m)
	if err != nil {
		return err
	}
	return s.push(ctx, outgoing{websocket.MessageText, frame})
}

// Refuse ends a stream on which nothing was sent. It does not block; a refusal for which there is no room is lost, and the gateway gives the stream up when
// the query's time is over.
func (s Stream) Refuse(m *wire.StreamClose) {
	frame, err := wire.Encode(fmt.Sprint(s.session.ids.Add(1)), m)
	if err != nil {
		return
	}
	select {
	case s.session.queue <- frame:
	default:
	}
}

func (s Stream) push(ctx context.Context, next outgoing) error {
	select {
	case s.session.slow <- next:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.session.over:
		return ErrNotConnected
	}
}
