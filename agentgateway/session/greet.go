package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// tooOldRetry is how long an agent that must be upgraded is to stay away, in seconds.
const tooOldRetry = 3600

// maxSkew bounds what a machine's clock can make us write.
const maxSkew = 10 * 365 * 24 * time.Hour

// greet authenticates a connection.
func (s *Server) greet(link *Session, name string) (*wire.HelloBody, error) {
	nonce := make([]byte, wire.NonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	challenge := &wire.Challenge{Nonce: nonce, ServerName: name, MinProtocol: s.o.MinProtocol,
		Protocol: max(wire.Protocol, s.o.MinProtocol)}
	if err := link.Write(challenge); err != nil {
		return nil, err
	}
	hello, err := link.readHello(s.o.HelloTimeout)
	if err != nil {
		return nil, err
	}
	body, key, err := s.verify(hello, challenge)
	if body != nil {
		link.host, link.key = body.Host, key
	}
	if err != nil {
		return nil, err
	}
	now := s.o.Clock.Now()
	link.began = now
	link.counter, link.process, link.applied = body.Session, body.Process, body.AppliedRevision
	if !body.Clock.IsZero() {
		link.skew = min(max(body.Clock.Sub(now), -maxSkew), maxSkew)
	}
	return body, nil
}

// join waits in line until the handler has admitted a session.
func (s *Server) join(link *Session, hello *wire.HelloBody) error {
	expected := s.line.Wait()
	s.line.Enter()
	ctx, cancel := context.WithTimeout(s.accepting, s.o.AdmitTimeout)
	defer cancel()
	place := s.hold(link, expected, cancel)
	err := s.handler.Admit(ctx, link, hello)
	place.leave()
	var refused *wire.Error
	if err == nil || errors.As(err, &refused) && refused.Code != wire.CodeBusy {
		s.line.Leave(s.o.Clock.Now())
		return err
	}
	s.line.GiveUp()
	if refused != nil {
		return err
	}
	begun := !errors.Is(err, ErrNoTime)
	if begun {
		s.o.Logger.Warn("session could not be admitted", "host", link.host.String(), "error", err)
	}
	switch {
	case s.accepting.Err() != nil:
		return goingAway()
	case errors.Is(ctx.Err(), context.Canceled):
		return err // nobody is there to tell
	case !begun, ctx.Err() != nil:
		return s.later("the line is longer than it seemed")
	}
	return asWireError(err)
}

// place is that of one who waits in line, and is told so from time to time.
type place struct {
	link  *Session
	every time.Duration
	end   time.Time
	gone  func()

	mu    sync.Mutex
	timer *time.Timer
	left  bool
}

// hold tells somebody in line to stay, every WaitEvery, until it leaves. gone is called when the peer is.
func (s *Server) hold(link *Session, expected time.Duration, gone func()) *place {
	p := &place{link: link, every: s.o.WaitEvery, end: time.Now().Add(expected), gone: gone}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(p.every, p.tell)
	return p
}

func (p *place) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left {
		return
	}
	seconds := int(time.Until(p.end) / time.Second)
	if err := p.link.Write(&wire.Wait{Seconds: min(max(seconds, 1), 3600)}); err != nil {
		p.gone()
		return
	}
	p.timer.Reset(p.every)
}

// leave returns when nothing is told any more.
func (p *place) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = true
	p.timer.Stop()
}

func (s *Server) welcome(link *Session) error {
	now := s.o.Clock.Now()
	link.last.Store(now.UnixNano())
	return link.Write(&wire.Welcome{HeartbeatSeconds: int(s.o.Heartbeat / time.Second), PingsCount: true, Gateway: s.o.Gateway, Time: now.UTC()})
}

// readHello waits for the hello; the deadline is for all that comes before it.
func (s *Session) readHello(timeout time.Duration) (*wire.Hello, error) {
	deadline := time.Now().Add(timeout)
	for {
		message, err := s.read(time.Until(deadline))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, &wire.Error{Code: wire.CodeBadMessage, Message: fmt.Sprintf("no hello within %s", timeout)}
		}
		if err != nil {
			return nil, err
		}
		switch m := message.(type) {
		case nil: // of a newer protocol
		case *wire.Hello:
			return m, nil
		default:
			return nil, badMessage(fmt.Sprintf("%s where a hello belongs", m.MessageType()))
		}
	}
}

// verify checks everything that a hello claims. The body is returned with an error too, for the log.
func (s *Server) verify(hello *wire.Hello, challenge *wire.Challenge) (*wire.HelloBody, []byte, error) {
	body, err := hello.Claimed()
	if err != nil {
		return nil, nil, badMessage(err.Error())
	}
	if !bytes.Equal(body.Nonce, challenge.Nonce) {
		return &body, nil, &wire.Error{Code: wire.CodeBadSignature, Message: "the hello answers another challenge"}
	}
	if body.ServerName != challenge.ServerName {
		return &body, nil, &wire.Error{Code: wire.CodeBadSignature, Message: "the hello was made for another server"}
	}
	key, known := s.handler.SigningKey(body.Host)
	if !known {
		return &body, nil, &wire.Error{Code: wire.CodeUnknownHost,
			Message: fmt.Sprintf("Host %s does not exist, is not enrolled, or has no schedule set yet", body.Host)}
	}
	if err := hello.Verify(key); err != nil {
		return &body, nil, &wire.Error{Code: wire.CodeBadSignature,
			Message: fmt.Sprintf("the keys of this machine are not those pinned in Host %s", body.Host)}
	}
	if body.Protocol < s.o.MinProtocol {
		return &body, nil, &wire.Error{Code: wire.CodeProtocolTooOld, HelpURL: s.o.HelpURL, RetryAfterSeconds: tooOldRetry,
			Message: fmt.Sprintf("the agent speaks protocol %d, this gateway needs %d or newer: upgrade the agent", body.Protocol, s.o.MinProtocol)}
	}
	return &body, key, nil
}
