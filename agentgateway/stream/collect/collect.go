package collect

import (
	"context"
	"errors"
	"time"

	"github.com/coder/websocket"
	"github.com/restic-manager/restic-manager/agentgateway/stream"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/internal/gather"
)

// linger is how much longer than its answer what is being written may take, so that the reason of the end can follow it.
const linger = 2 * time.Second

// pingInterval is how often a connection shows that it lives: balancers cut off what is silent for a minute, as the log of a quiet job is.
const pingInterval = 30 * time.Second

// collector is somebody who takes an answer.
type collector struct {
	conn   *websocket.Conn
	socket *gather.Conn // nil for one that does not gather
	remote string
	query  Query
}

// errLeft: the collector is gone.
var errLeft = errors.New("the collector left")

// guard ends an answer with the time of its query, or with the query.
func (h *Handler) guard(ctx context.Context, end context.CancelCauseFunc, query Query) {
	changes, stop := h.o.Queries.Changes(query.Namespace, query.Name)
	defer stop()
	timer := h.o.Clock.NewTimer(query.Expires.Sub(h.o.Clock.Now()))
	defer timer.Stop()
	for {
		if now, ok := h.o.Queries.Query(query.Namespace, query.Name); !ok || now.UID != query.UID || now.Document != query.Document {
			end(stream.Expired)
			return
		}
		select {
		case <-changes:
		case <-timer.C():
			end(stream.Expired)
			return
		case <-ctx.Done():
			return
		}
	}
}

// collect copies an answer until it or the collector ends, and tells the collector how.
func (h *Handler) collect(ctx context.Context, c collector, source stream.Source) {
	log := h.o.Logger.With("host", c.query.Host.String(), "query", c.query.Name, "remote", c.remote)
	log.Info("answer is collected")
	go h.keepAlive(ctx, c.conn)
	bytes, err := h.copy(ctx, c, source)
	var end stream.End
	if !errors.As(err, &end) {
		_ = c.conn.CloseNow() // nobody is there
		h.o.Meter.Ended("left")
		log.Info("answer ended", "end", "left", "bytes", bytes)
		return
	}
	// Before the farewell, which waits for the peer.
	source.Close()
	h.o.Meter.Ended(result(end))
	log.Info("answer ended", "end", end.Text(), "bytes", bytes)
	_ = c.conn.Close(status(end), end.Text())
}

// keepAlive pings until the answer ends.
func (h *Handler) keepAlive(ctx context.Context, conn *websocket.Conn) {
	ticker := h.o.Clock.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			// It waits for the pong, which a slow collector sends late, or for the end of the connection. A context that ends would end the connection too.
			_ = conn.Ping(context.WithoutCancel(ctx))
		}
	}
}

// copy returns how many bytes were taken, and a stream.End or errLeft.
func (h *Handler) copy(ctx context.Context, c collector, source stream.Source) (bytes int, err error) {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	go func() {
		// A collector has nothing to say: whatever comes, it leaves.
		_, _, _ = c.conn.Reader(context.Background())
		leave(errLeft)
	}()
	writing, cut := context.WithCancel(context.Background())
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(linger, cut) })()
	for {
		chunk, err := source.Next(ctx)
		switch {
		case errors.Is(context.Cause(ctx), errLeft):
			return bytes, errLeft
		case err != nil:
			return bytes, err
		}
		write := func() error { return c.conn.Write(writing, websocket.MessageBinary, chunk) }
		if err := c.socket.Together(writing, write); err != nil {
			return bytes, errLeft
		}
		source.Taken(chunk)
		bytes += len(chunk)
		h.o.Meter.Collected(len(chunk))
	}
}

// status is that of the close frame.
func status(end stream.End) websocket.StatusCode {
	switch end.Reason {
	case wire.StreamDone:
		return websocket.StatusNormalClosure
	case wire.StreamLost:
		return websocket.StatusGoingAway
	}
	return websocket.StatusPolicyViolation
}

// result is an end for the meter, which takes values of this program only.
func result(end stream.End) string {
	if end.Reason == wire.StreamRefused {
		return "refused"
	}
	return string(end.Reason)
}
