// Package frozen is an agent as it was at protocol 1 of v0.1.0: it knows WebSockets, JSON and Ed25519, and nothing of api/wire. It is not changed: what it does,
// machines out there do.
package frozen

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// Object is any JSON object.
type Object = map[string]any

// Client is one session.
type Client struct {
	conn      *websocket.Conn
	Challenge Object
}

// Dial opens the WebSocket and reads the challenge.
func Dial(ctx context.Context, url string, config *tls.Config) (*Client, error) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	conn, _, err := websocket.Dial(ctx, url+"/agent/v1/connect", &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(8 << 20)
	c := &Client{conn: conn}
	frame, err := c.Read(ctx)
	if err == nil && frame["type"] != "challenge" {
		err = fmt.Errorf("the session begins with %v", frame["type"])
	}
	if err != nil {
		return nil, errors.Join(err, conn.CloseNow())
	}
	c.Challenge = frame["payload"].(Object)
	return c, nil
}

// Hello signs a recorded hello for this session; changes replace fields of its body. It returns the answer.
func (c *Client) Hello(ctx context.Context, recorded string, seed []byte, changes Object) (Object, error) {
	var frame struct {
		Payload struct {
			Body string `json:"body"`
		} `json:"payload"`
	}
	if err := json.Unmarshal([]byte(recorded), &frame); err != nil {
		return nil, err
	}
	body, err := parse([]byte(frame.Payload.Body))
	if err != nil {
		return nil, err
	}
	body["nonce"], body["serverName"], body["clock"] = c.Challenge["nonce"], c.Challenge["serverName"], time.Now().UTC().Format(time.RFC3339Nano)
	for name, value := range changes {
		body[name] = value
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	hello, err := json.Marshal(Object{"type": "hello", "payload": Object{"body": string(text), "signature": ed25519.Sign(ed25519.NewKeyFromSeed(seed), text)}})
	if err != nil {
		return nil, err
	}
	if err := c.Send(ctx, string(hello)); err != nil {
		return nil, err
	}
	return c.Read(ctx)
}

// Send writes a text frame.
func (c *Client) Send(ctx context.Context, frame string) error {
	return c.conn.Write(ctx, websocket.MessageText, []byte(frame))
}

// Read returns the next text frame.
func (c *Client) Read(ctx context.Context) (Object, error) {
	for {
		kind, raw, err := c.conn.Read(ctx)
		if err != nil {
			return nil, err
		}
		if kind == websocket.MessageText {
			return parse(raw)
		}
	}
}

// Await returns the payload of the next frame of a type.
func (c *Client) Await(ctx context.Context, kind string) (Object, error) {
	for {
		frame, err := c.Read(ctx)
		if err != nil {
			return nil, fmt.Errorf("waiting for %s: %w", kind, err)
		}
		if frame["type"] == kind {
			payload, _ := frame["payload"].(Object)
			return payload, nil
		}
	}
}

// Close ends the session.
func (c *Client) Close() { _ = c.conn.CloseNow() }

// parse keeps numbers as they are written.
func parse(raw []byte) (Object, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var object Object
	return object, decoder.Decode(&object)
}
