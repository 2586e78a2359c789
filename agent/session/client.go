package session

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/agent/transport"
	"github.com/restic-manager/restic-manager/api/wire"
)

// Handler is told what happens on the sessions. All calls come from the goroutine of Run, one at a time, and must return soon.
type Handler interface {
	// Connected: the gateway accepted the session. Send works from here on.
	Connected(wire.Welcome)
	// Disconnected ends what Connected began.
	Disconnected()
	SetOffered(*wire.SetOffer)
	VerdictGiven(*wire.Verdict)
	CommandGiven(*wire.CommandRun)
	CancelGiven(*wire.CommandCancel)
	ReportAcked(*wire.ReportAck)
	// StreamOpened: somebody waits for an answer, which goes out through the Stream. Numbers of streams are those of this session.
	StreamOpened(*wire.StreamOpen, Stream)
	StreamCredited(*wire.StreamCredit)
	StreamClosed(*wire.StreamClose)
	// WentBack: the gateway knows a session of this machine that the machine does not know, so its disk went back in time, and what it counts on
	// disk may be taken. Called between sessions, and again before the next dial as long as it returns an error: nothing is dialled then.
	WentBack() error
}

// Options of a Client. Host, URL, Key, Counter, Describe and Handler are required.
type Options struct {
	Host wire.HostRef
	// URL of the gateway, https://host[:port].
	URL string
	// Key signs the hello.
	Key ed25519.PrivateKey
	// Pins gives the TLS pins of the next dial. Nil: none, ever.
	Pins func() []string
	// HTTPClient gives the client of the next dial, for these pins; default: transport.NewClient, a new one each time. Many sessions of one
	// process share theirs here.
	HTTPClient func(pins []string) (*http.Client, error)
	Counter    *Counter
	// Removed tells whether this machine knows that its Host was removed. It then looks rarely whether it is back. Nil: it never was.
	Removed func() bool
	// Describe gives the hello's versions, system, applied set, outbox and jobs; the session fills in the rest.
	Describe func() wire.HelloBody
	Handler  Handler
	// Clock, Random (0 ≤ x < 1) and Logger have defaults.
	Clock  clock.Clock
	Random func() float64
	Logger *slog.Logger
}

// Errors of Send.
var (
	// ErrNotConnected: there is no session; send again after Connected.
	ErrNotConnected = errors.New("not connected to the gateway")
	// ErrQueueFull: the gateway reads too slowly; the message was not taken.
	ErrQueueFull = errors.New("the gateway reads too slowly")
)

// queueLength bounds the messages that wait for the writer.
const queueLength = 64

// Client keeps a session open. Make it with New.
type Client struct {
	o          Options
	serverName string
	process    string
	backoff    backoff
	// rarely is the backoff of a machine whose Host was removed.
	rarely backoff
	ids    atomic.Uint64

	// idle is true while Run waits between two dials.
	idle atomic.Bool

	mu    sync.Mutex
	queue chan []byte // of the open session, nil without one
	link  *link       // of the open session, nil without one

	// lastTold is the failure that was logged last, flapping that the last session was a short one. Both belong to Run.
	lastTold string
	flapping bool
	// behind is the gateway's counter on record after it showed that the disk went back, 0 when that is settled. It belongs to Run.
	behind int64
	// toldLine: since the last stable session the log says that this machine waits in line. It belongs to Run.
	toldLine bool
}

// New checks the options. The client does nothing before Run.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("gateway URL %q is not of the form https://host[:port]", o.URL)
	}
	if len(o.Key) != ed25519.PrivateKeySize || o.Counter == nil || o.Describe == nil || o.Handler == nil {
		return nil, errors.New("session: key, counter, description and handler are required")
	}
	if o.Pins == nil {
		o.Pins = func() []string { return nil }
	}
	if o.HTTPClient == nil {
		o.HTTPClient = func(pins []string) (*http.Client, error) { return transport.NewClient(o.URL, pins) }
	}
	if o.Removed == nil {
		o.Removed = func() bool { return false }
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Random == nil {
		o.Random = mathrand.Float64
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	process := make([]byte, 8)
	if _, err := rand.Read(process); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	return &Client{
		o:          o,
		serverName: u.Hostname(),
		process:    hex.EncodeToString(process),
		backoff:    backoff{random: o.Random},
		rarely:     backoff{random: o.Random},
	}, nil
}

// Send queues m on the open session. It does not block. Nil means queued, not received.
func (c *Client) Send(m wire.Message) error {
	frame, err := wire.Encode(fmt.Sprint(c.ids.Add(1)), m)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue == nil {
		return ErrNotConnected
	}
	select {
	case c.queue <- frame:
		return nil
	default:
		return ErrQueueFull
	}
}

// Connected tells whether there is an accepted session.
func (c *Client) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queue != nil
}

// LastHeard is when the gateway last gave a sign of life on the open session; zero without one.
func (c *Client) LastHeard() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		return time.Time{}
	}
	return *c.link.last.Load()
}

// Run keeps a session open until ctx ends, which is the only way in which it returns.
func (c *Client) Run(ctx context.Context) {
	for ctx.Err() == nil {
		began := c.o.Clock.Now()
		end := c.once(ctx)
		if ctx.Err() != nil {
			return
		}
		stable := end.accepted && c.o.Clock.Now().Sub(began) >= stableAfter
		if stable {
			c.backoff.reset()
			c.lastTold, c.toldLine = "", false
		}
		c.flapping = end.accepted && !stable
		wait := c.waitAfter(&end)
		c.tell(end, wait)
		if !c.sleep(ctx, wait) {
			return
		}
	}
}

// waitAfter is how long to wait before the next dial. Of a machine whose Host was removed it words the ending anew.
func (c *Client) waitAfter(end *ending) time.Duration {
	if !c.o.Removed() {
		c.rarely.reset()
		return c.backoff.next(end.atLeast)
	}
	*end = afterTombstone(*end)
	if end.soon() {
		return c.backoff.next(end.atLeast)
	}
	return c.rarely.nextRarely()
}

// sleep returns false when ctx ended first.
func (c *Client) sleep(ctx context.Context, d time.Duration) bool {
	timer := c.o.Clock.NewTimer(d)
	defer timer.Stop()
	c.idle.Store(true)
	defer c.idle.Store(false)
	select {
	case <-ctx.Done():
		return false
	case <-timer.C():
		return true
	}
}

// tell logs why there is no session: once per reason, so that a gateway that is away for a night costs one line.
func (c *Client) tell(end ending, wait time.Duration) {
	level := end.level
	if end.sentence == c.lastTold {
		level = slog.LevelDebug
	}
	c.lastTold = end.sentence
	c.o.Logger.Log(context.Background(), level, end.sentence, "retryIn", wait.Round(time.Millisecond).String())
}
