// Package testagent is the least agent that speaks the wire protocol, for tests of the gateway. It does what it is told and nothing by
// itself: no heartbeats, no reconnects, and answers only those streams that it is told to.
package testagent

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// Patience is how long a test waits for something that must come.
const Patience = time.Minute

// Machine has keys and knows where the gateway is.
type Machine struct {
	URL      string // https://…
	Roots    *x509.CertPool
	Host     wire.HostRef
	Key      ed25519.PrivateKey
	Identity wire.Identity
	Process  string
	// Change alters the hello before it is signed.
	Change func(*wire.HelloBody)
}

// NewMachine makes keys.
func NewMachine(t testing.TB, url string, roots *x509.CertPool, host wire.HostRef) *Machine {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sealing, err := seal.NewSealingKey()
	if err != nil {
		t.Fatal(err)
	}
	sealingPublic, err := seal.SealingPublicKey(sealing)
	if err != nil {
		t.Fatal(err)
	}
	return &Machine{URL: url, Roots: roots, Host: host, Key: private, Process: rand.Text(),
		Identity: wire.Identity{SigningKey: public, SealingKey: sealingPublic}}
}

// Base64Keys are both public keys as they stand in objects.
func (m *Machine) Base64Keys() (signing, sealing string) {
	return base64.StdEncoding.EncodeToString(m.Identity.SigningKey), base64.StdEncoding.EncodeToString(m.Identity.SealingKey)
}

// Link is an open connection.
type Link struct {
	t         testing.TB
	Conn      *websocket.Conn
	Challenge *wire.Challenge
	Welcome   *wire.Welcome
}

// Dial opens the WebSocket and reads the challenge.
func (m *Machine) Dial(t testing.TB) (*Link, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: m.Roots, MinVersion: tls.VersionTLS12}}}
	conn, response, err := websocket.Dial(ctx, m.URL+wire.ConnectPath, &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		return nil, response, err
	}
	conn.SetReadLimit(wire.MaxFrame)
	t.Cleanup(func() { _ = conn.CloseNow() })
	link := &Link{t: t, Conn: conn}
	challenge, err := link.Read()
	if err != nil {
		return nil, response, err
	}
	var ok bool
	if link.Challenge, ok = challenge.(*wire.Challenge); !ok {
		return nil, response, fmt.Errorf("got %s, want a challenge", challenge.MessageType())
	}
	return link, response, nil
}

// Hello is the signed answer to a challenge.
func (m *Machine) Hello(t testing.TB, c *wire.Challenge, counter int64) *wire.Hello {
	t.Helper()
	body := wire.HelloBody{Nonce: c.Nonce, ServerName: c.ServerName, Host: m.Host, Protocol: wire.Protocol, Session: counter, Process: m.Process,
		AgentVersion: "v0.1.0", ResticVersion: "0.19.1", System: wire.System{OS: "linux", Arch: "amd64", Hostname: "web-1"},
		Epoch: "epoch-1", Clock: time.Now()}
	if m.Change != nil {
		m.Change(&body)
	}
	hello, err := wire.SignHello(m.Key, body)
	if err != nil {
		t.Fatal(err)
	}
	return hello
}

// TryConnect dials, says hello with a session counter and waits for the welcome, however long the line is. A refusal is a *wire.Error.
func (m *Machine) TryConnect(t testing.TB, counter int64) (*Link, error) {
	t.Helper()
	link, _, err := m.Dial(t)
	if err != nil {
		return nil, err
	}
	link.Send(m.Hello(t, link.Challenge, counter))
	for {
		answer, err := link.Read()
		if err != nil {
			return nil, err
		}
		switch a := answer.(type) {
		case *wire.Wait:
		case *wire.Welcome:
			link.Welcome = a
			return link, nil
		case *wire.Error:
			return nil, a
		default:
			return nil, fmt.Errorf("got %s, want a welcome", answer.MessageType())
		}
	}
}

// Connect is TryConnect that must succeed.
func (m *Machine) Connect(t testing.TB, counter int64) *Link {
	t.Helper()
	link, err := m.TryConnect(t, counter)
	if err != nil {
		t.Fatalf("connecting with session %d: %v", counter, err)
	}
	return link
}

// Send writes a message.
func (l *Link) Send(message wire.Message) {
	l.t.Helper()
	frame, err := wire.Encode("", message)
	if err != nil {
		l.t.Fatal(err)
	}
	l.SendRaw(string(frame))
}

// SendRaw writes a text frame.
func (l *Link) SendRaw(frame string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := l.Conn.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
		l.t.Fatalf("writing: %v", err)
	}
}

// KeepAlive sends heartbeats until the connection or the test ends.
func (l *Link) KeepAlive() {
	l.t.Helper()
	frame, err := wire.Encode("", &wire.Heartbeat{})
	if err != nil {
		l.t.Fatal(err)
	}
	ctx := l.t.Context()
	go func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for l.Conn.Write(ctx, websocket.MessageText, frame) == nil {
			<-tick.C
		}
	}()
}

// SendData writes a data frame.
func (l *Link) SendData(stream uint32, chunk []byte) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := l.Conn.Write(ctx, websocket.MessageBinary, wire.EncodeData(stream, chunk)); err != nil {
		l.t.Fatalf("writing data: %v", err)
	}
}

// Answer seals an answer to the query of a stream and sends it: the opening, the chunks in clear as data, and the end. It heeds no credit.
func (m *Machine) Answer(l *Link, open *wire.StreamOpen, data ...string) {
	l.t.Helper()
	query, err := wire.ParseHostQuery(open.Query)
	if err != nil {
		l.t.Fatal(err)
	}
	opening, sealer, err := seal.NewStreamSealer(query.PublicKey, open.Query, func(b []byte) []byte { return ed25519.Sign(m.Key, b) })
	if err != nil {
		l.t.Fatal(err)
	}
	chunks := [][]byte{}
	for _, d := range data {
		chunks = append(chunks, append([]byte{byte(wire.ChunkData)}, d...))
	}
	l.SendData(open.Stream, opening)
	for _, plaintext := range append(chunks, wire.EndChunk(wire.AnswerEnd{})) {
		l.SendData(open.Stream, sealer.Seal(nil, plaintext))
	}
	l.Send(&wire.StreamClose{Stream: open.Stream})
}

// Read returns the next message.
func (l *Link) Read() (wire.Message, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	_, frame, err := l.Conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	envelope, err := wire.Decode(frame)
	if err != nil {
		return nil, err
	}
	return envelope.Open()
}

// Expect reads the next message, which must be of type M.
func Expect[M wire.Message](l *Link) M {
	l.t.Helper()
	message, err := l.Read()
	if err != nil {
		l.t.Fatalf("waiting for a message: %v", err)
	}
	m, ok := message.(M)
	if !ok {
		var want M
		l.t.Fatalf("got %s %+v, want %s", message.MessageType(), message, want.MessageType())
	}
	return m
}

// ExpectEnd reads until the gateway ends the session with an error of this code, and answers its close frame.
func (l *Link) ExpectEnd(code wire.Code) *wire.Error {
	l.t.Helper()
	for {
		message, err := l.Read()
		if err != nil {
			l.t.Fatalf("waiting for error %s: %v", code, err)
		}
		if e, ok := message.(*wire.Error); ok {
			if e.Code != code {
				l.t.Fatalf("the session ended with %v, want %s", e, code)
			}
			l.ExpectClosed()
			return e
		}
	}
}

// ExpectClosed reads until the connection has ended.
func (l *Link) ExpectClosed() {
	l.t.Helper()
	for {
		if _, err := l.Read(); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				l.t.Fatal("the connection was not closed")
			}
			return
		}
	}
}

// Close says goodbye.
func (l *Link) Close() { _ = l.Conn.Close(websocket.StatusNormalClosure, "") }
