package collect

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/restic-manager/restic-manager/agentgateway/internal/pace"
	"github.com/restic-manager/restic-manager/agentgateway/stream"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/internal/gather"
	"k8s.io/utils/clock"
)

// Defaults of Options.
const (
	defaultWait       = 10 * time.Second
	defaultMaxWaiting = 256
	defaultMaxStreams = 128
)

// retryAfter is when those who were turned away may come again, in seconds.
const retryAfter = 5

// Meter counts what happens.
type Meter interface {
	// Collected counts bytes of chunks that a collector took.
	Collected(bytes int)
	// Ended counts an answer that was collected, by the way it ended: done, lost, expired, refused, or left by the collector.
	Ended(how string)
}

// Agents opens answers.
type Agents interface {
	// Open asks the agent of a query for its answer. Its error is a *wire.Error for the collector.
	Open(ctx context.Context, request Request) (stream.Source, error)
}

// Request is somebody who has shown the secret of a query.
type Request struct {
	Query  Query
	Secret []byte
	// Relayed is the instance that the request was passed on to by another replica; empty for one that comes from outside.
	Relayed string
}

// Options of a Handler. Queries, Agents, Clock, Meter and Logger are required.
type Options struct {
	Queries Queries
	Agents  Agents
	Clock   clock.WithTicker
	Meter   Meter
	Logger  *slog.Logger

	// Wait is how long a query may take to get here. Default 10 s.
	Wait time.Duration
	// MaxWaiting bounds those who wait, MaxStreams the answers at once. Default 256 and 128.
	MaxWaiting, MaxStreams int
}

// Handler lets people collect answers.
type Handler struct {
	o       Options
	waiting *pace.Places
	streams atomic.Int64
	left    chan struct{}
	// ending ends when the replica goes away.
	ending context.Context
	stop   context.CancelCauseFunc
}

// New returns a Handler.
func New(o Options) *Handler {
	if o.Wait == 0 {
		o.Wait = defaultWait
	}
	if o.MaxWaiting == 0 {
		o.MaxWaiting = defaultMaxWaiting
	}
	if o.MaxStreams == 0 {
		o.MaxStreams = defaultMaxStreams
	}
	ending, stop := context.WithCancelCause(context.Background())
	return &Handler{o: o, waiting: pace.NewPlaces(o.MaxWaiting), left: make(chan struct{}, 1), ending: ending, stop: stop}
}

// Len is the number of answers that are being collected.
func (h *Handler) Len() int { return int(h.streams.Load()) }

// Stop ends every answer, and takes no more.
func (h *Handler) Stop() { h.stop(stream.Lost) }

// Wait returns when no answer is left, or ctx ends. Call Stop first.
func (h *Handler) Wait(ctx context.Context) {
	for h.Len() > 0 {
		select {
		case <-h.left:
		case <-ctx.Done():
			return
		}
	}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, end := h.until(r.Context())
	defer end(nil)
	if h.ending.Err() != nil {
		h.refuse(w, r, goingAway())
		return
	}
	secret, _ := secretOf(r) // without one no query is found
	query, err := h.find(ctx, name{r.PathValue("namespace"), r.PathValue("name")}, secret, r.RemoteAddr)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	if h.streams.Add(1) > int64(h.o.MaxStreams) {
		h.leave()
		h.refuse(w, r, busy("this replica hands out as many answers as it may"))
		return
	}
	defer h.leave()
	source, err := h.o.Agents.Open(ctx, Request{Query: query, Secret: secret, Relayed: r.Header.Get(stream.RelayHeader)})
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	defer source.Close()
	catcher := &hijackCatcher{ResponseWriter: w}
	conn, err := websocket.Accept(catcher, r, nil)
	if err != nil {
		h.o.Logger.Debug("not a WebSocket", "remote", r.RemoteAddr, "error", err)
		return
	}
	// The context of the request says of a connection that was taken over only that it was alive then.
	ctx, end = h.until(context.WithoutCancel(ctx))
	defer end(nil)
	go h.guard(ctx, end, query)
	h.collect(ctx, collector{conn: conn, socket: gather.Of(catcher.conn), remote: r.RemoteAddr, query: query}, source)
}

// hijackCatcher keeps the socket below a WebSocket.
type hijackCatcher struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack implements http.Hijacker.
func (h *hijackCatcher) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.conn = conn
	return conn, buffers, err
}

// until is a context that ends with the replica too.
func (h *Handler) until(parent context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, end := context.WithCancelCause(parent)
	stop := context.AfterFunc(h.ending, func() { end(stream.Lost) })
	return ctx, func(cause error) {
		end(cause)
		stop()
	}
}

func (h *Handler) leave() {
	h.streams.Add(-1)
	select {
	case h.left <- struct{}{}:
	default: // Wait, if there is one, looks again anyway
	}
}

// statuses are the HTTP statuses of the errors; 503 for the others.
var statuses = map[wire.Code]int{wire.CodeUnknownQuery: http.StatusNotFound}

func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var e *wire.Error
	if !errors.As(err, &e) {
		e = busy("the gateway could not do its part; try again")
	}
	h.o.Logger.Debug("collector turned away", "remote", r.RemoteAddr, "code", string(e.Code), "reason", err)
	status, ok := statuses[e.Code]
	if !ok {
		status = http.StatusServiceUnavailable
	}
	if e.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(e.RetryAfterSeconds))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(e) // the peer may be gone
}

func goingAway() *wire.Error { return busy("this replica is going away") }

func busy(why string) *wire.Error {
	return &wire.Error{Code: wire.CodeBusy, Message: why, RetryAfterSeconds: retryAfter}
}
