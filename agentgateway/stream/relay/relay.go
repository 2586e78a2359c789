package relay

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/coder/websocket"
	"github.com/restic-manager/restic-manager/agentgateway/stream"
	"github.com/restic-manager/restic-manager/api/tlspin"
	"github.com/restic-manager/restic-manager/api/wire"
)

// Replica is another replica, as its Lease describes it.
type Replica struct {
	// Instance is its id.
	Instance string
	// Address is host:port.
	Address string
	// Pin is the tlspin.Pin of its serving certificate.
	Pin string
}

// Query is the answer that is asked for.
type Query struct {
	Namespace, Name string
	Secret          []byte
}

// Dial begins to collect an answer from another replica. A *wire.Error is the replica's own.
func Dial(ctx context.Context, replica Replica, query Query) (*Source, error) {
	transport := &http.Transport{TLSClientConfig: trust(replica.Pin), DisableKeepAlives: true}
	conn, response, err := websocket.Dial(ctx, address(replica, query), &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		HTTPHeader: http.Header{
			wire.StreamSecretHeader: {base64.StdEncoding.EncodeToString(query.Secret)},
			stream.RelayHeader:      {replica.Instance},
		},
	})
	if err != nil {
		return nil, failure(response, err)
	}
	conn.SetReadLimit(wire.MaxChunk + wire.ChunkOverhead)
	return &Source{conn: conn}, nil
}

func address(replica Replica, query Query) string {
	u := url.URL{Scheme: "https", Host: replica.Address, Path: wire.QueryPath + "/" + query.Namespace + "/" + query.Name}
	return u.String()
}

// trust takes the one key, whatever its certificate says.
func trust(pin string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // #nosec G402 -- VerifyConnection does it, by the key
		VerifyConnection: func(state tls.ConnectionState) error {
			if pin == "" || subtle.ConstantTimeCompare([]byte(tlspin.Pin(state.PeerCertificates[0])), []byte(pin)) != 1 {
				return errors.New("the certificate of the other replica is not the one in its Lease")
			}
			return nil
		},
	}
}

// failure is what the other replica said, if it said anything.
func failure(response *http.Response, err error) error {
	var said wire.Error
	if response != nil && response.Body != nil {
		if raw, readErr := io.ReadAll(io.LimitReader(response.Body, 4<<10)); readErr == nil && json.Unmarshal(raw, &said) == nil && said.Validate() == nil {
			return &said
		}
	}
	return fmt.Errorf("dialling the other replica: %w", err)
}

// Source is an answer by way of another replica. It is a stream.Source.
type Source struct {
	conn   *websocket.Conn
	buffer []byte
	once   sync.Once
}

// Next implements stream.Source.
func (s *Source) Next(ctx context.Context) ([]byte, error) {
	kind, frame, err := s.conn.Reader(ctx)
	if err == nil {
		s.buffer, err = wire.ReadFrame(frame, s.buffer)
	}
	var closed websocket.CloseError
	switch {
	case ctx.Err() != nil:
		return nil, stream.CauseOf(ctx)
	case errors.As(err, &closed):
		return nil, stream.ParseEnd(closed.Reason)
	case err != nil || kind != websocket.MessageBinary:
		return nil, stream.Lost
	}
	return s.buffer, nil
}

// Taken implements stream.Source: the other replica grants credit as this one reads.
func (s *Source) Taken([]byte) {}

// Close implements stream.Source.
func (s *Source) Close() { s.once.Do(func() { _ = s.conn.CloseNow() }) }
