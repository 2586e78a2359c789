package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/restic-manager/restic-manager/agent/transport"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/internal/gather"
)

// Timeouts in real time: they bound what the network takes, not what the agent waits for.
const (
	connectTimeout = 45 * time.Second
	// greetTimeout bounds the time from one word of the gateway to the next, up to its welcome.
	greetTimeout = 3 * wire.WaitEvery
	// lineTimeout bounds how long a gateway may have this machine wait for its welcome, and maxGreeting what it says until then.
	lineTimeout  = 10 * time.Minute
	maxGreeting  = 256
	writeTimeout = 30 * time.Second
)

// once dials, greets and serves one session. It always returns an ending.
func (c *Client) once(ctx context.Context) ending {
	if err := c.catchUp(); err != nil {
		return ending{level: slog.LevelError, sentence: fmt.Sprintf("cannot connect: this machine's disk went back in time, and what follows from that "+
			"cannot be stored: %v; free some space or mend the state folder", err)}
	}
	// Durable before the dial: whatever happens to this attempt, its number is never used again.
	counter, err := c.o.Counter.Next()
	if err != nil {
		return ending{level: slog.LevelError, sentence: fmt.Sprintf("cannot connect: %v; free some space or mend the state folder", err)}
	}
	link := newLink(c.o.Clock)
	end, ok := c.dial(ctx, link)
	if !ok {
		return end
	}
	defer link.conn.CloseNow()
	welcome, err := c.greet(ctx, link, counter)
	if err != nil {
		return c.explainGreeting(err, counter)
	}
	end = c.serve(ctx, link, *welcome)
	end.accepted = true
	return end
}

func (c *Client) dial(ctx context.Context, link *link) (ending, bool) {
	client, err := c.o.HTTPClient(c.o.Pins())
	if err != nil {
		return ending{level: slog.LevelError, atLeast: lastWait, sentence: fmt.Sprintf("cannot connect: %v", err)}, false
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) { link.socket = gather.Of(got.Conn) }})
	conn, response, err := websocket.Dial(ctx, strings.TrimRight(c.o.URL, "/")+wire.ConnectPath, &websocket.DialOptions{
		HTTPClient:     client,
		OnPingReceived: func(context.Context, []byte) bool { link.heard(); return true },
		OnPongReceived: func(context.Context, []byte) { link.heard() },
	})
	if err == nil {
		conn.SetReadLimit(wire.MaxFrame)
		link.conn = conn
		return ending{}, true
	}
	if response != nil && response.StatusCode != http.StatusSwitchingProtocols {
		return explainStatus(response), false
	}
	_, sentence := transport.Explain(err, c.o.URL)
	return lost(sentence), false
}

// explainStatus reads a plain HTTP answer: the gateway's own error, or that of something in between.
func explainStatus(response *http.Response) ending {
	var end ending
	if e := bodyError(response); e != nil {
		end = refused(e)
	} else {
		end = lost(fmt.Sprintf("the gateway's address answers HTTP %d to a session: check the URL, and whether a proxy in between passes WebSockets",
			response.StatusCode))
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		end.atLeast = max(end.atLeast, time.Duration(min(seconds, int(maxRetryAfter/time.Second)))*time.Second)
	}
	return end
}

func bodyError(response *http.Response) *wire.Error {
	raw, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	if err != nil || len(raw) == 0 {
		return nil
	}
	return transport.ErrorOf(raw)
}

// errWrongServer ends a session with a gateway that says that it is another one than was dialled.
var errWrongServer = errors.New("wrong server name")

// greet answers the challenge and waits for the welcome.
func (c *Client) greet(ctx context.Context, link *link, counter int64) (*wire.Welcome, error) {
	ctx, cancel := context.WithTimeout(ctx, lineTimeout)
	defer cancel()
	message, err := hear(ctx, link)
	if err != nil {
		return nil, err
	}
	challenge, ok := message.(*wire.Challenge)
	if !ok {
		return nil, misplaced(message, wire.TypeChallenge)
	}
	if !sameName(challenge.ServerName, c.serverName) {
		return nil, fmt.Errorf("%w: it calls itself %q and was dialled as %q", errWrongServer, challenge.ServerName, c.serverName)
	}
	if challenge.MinProtocol > wire.Protocol {
		return nil, &wire.Error{Code: wire.CodeProtocolTooOld, Message: fmt.Sprintf("protocol %d or newer is needed, this agent speaks %d",
			challenge.MinProtocol, wire.Protocol)}
	}
	body := c.o.Describe()
	body.Nonce = challenge.Nonce
	body.ServerName = challenge.ServerName
	body.Host = c.o.Host
	body.Protocol = min(wire.Protocol, challenge.Protocol)
	body.Session = counter
	body.Process = c.process
	body.Clock = c.o.Clock.Now().UTC()
	hello, err := wire.SignHello(c.o.Key, body)
	if err != nil {
		return nil, err
	}
	frame, err := wire.Encode("", hello)
	if err != nil {
		return nil, err
	}
	writing, done := context.WithTimeout(ctx, writeTimeout)
	defer done()
	if err := link.conn.Write(writing, websocket.MessageText, frame); err != nil {
		return nil, err
	}
	return c.stayInLine(ctx, link)
}

// stayInLine waits for the welcome, for as long as the gateway says that there is a line.
func (c *Client) stayInLine(ctx context.Context, link *link) (*wire.Welcome, error) {
	for range maxGreeting {
		message, err := hear(ctx, link)
		if err != nil {
			return nil, err
		}
		switch m := message.(type) {
		case *wire.Welcome:
			return m, nil
		case *wire.Wait:
			if !c.toldLine {
				c.o.Logger.Info("the gateway lets others in first; waiting in line", "about", (time.Duration(m.Seconds) * time.Second).String())
			}
			c.toldLine = true
		default:
			return nil, misplaced(message, wire.TypeWelcome)
		}
	}
	return nil, errors.New("the gateway has this machine wait without end")
}

func misplaced(message wire.Message, want wire.Type) error {
	return fmt.Errorf("the gateway sent %s where %s belongs", message.MessageType(), want)
}

// sameName compares DNS names or addresses; a gateway that only knows the Host header may add the port.
func sameName(said, dialled string) bool {
	if host, _, err := net.SplitHostPort(said); err == nil {
		said = host
	}
	return strings.EqualFold(strings.TrimSuffix(said, "."), strings.TrimSuffix(dialled, "."))
}

// hear returns the next message of a gateway that greets; unknown types are skipped, an Error is returned as such.
func hear(ctx context.Context, link *link) (wire.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	for range 16 {
		message, err := link.read(ctx)
		if errors.Is(err, wire.ErrUnknownType) {
			continue
		}
		if refusal, ok := message.(*wire.Error); ok && err == nil {
			return nil, refusal
		}
		return message, err
	}
	return nil, errors.New("the gateway sends nothing that this agent knows")
}

// catchUp settles that the disk went back. The counter is raised last: after a crash in between, the gateway says it again.
func (c *Client) catchUp() error {
	if c.behind == 0 {
		return nil
	}
	if err := c.o.Handler.WentBack(); err != nil {
		return err
	}
	c.o.Counter.Raise(c.behind)
	c.behind = 0
	return nil
}

func (c *Client) explainGreeting(err error, counter int64) ending {
	var e *wire.Error
	switch {
	case errors.As(err, &e):
		// Each dial has a number of its own: that of this one is on record only when another future of this disk had it.
		if e.Code == wire.CodeStaleSession && e.Session >= counter {
			c.behind = e.Session
		}
		return refused(e)
	case errors.Is(err, errWrongServer):
		return ending{level: slog.LevelError, atLeast: lastWait, sentence: "the session was refused by this machine: the gateway answers to " +
			"another name (" + err.Error() + "); correct gateway.url in agent.yaml or the gateway's server name"}
	case errors.Is(err, context.DeadlineExceeded):
		return lost("the gateway accepts the connection and then stays silent")
	default:
		return lost("the gateway did not accept the session: " + transportText(err))
	}
}

// transportText is an error without the addresses and ports that change with each attempt.
func transportText(err error) string {
	if status := websocket.CloseStatus(err); status != -1 {
		return fmt.Sprintf("it closed the connection (%v)", status)
	}
	var op *net.OpError
	if errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the connection broke"
	}
	if errors.Is(err, websocket.ErrMessageTooBig) {
		return fmt.Sprintf("it sent a frame of more than %d bytes", wire.MaxFrame)
	}
	return err.Error()
}
