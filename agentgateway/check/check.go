package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/restic-manager/restic-manager/api/tlspin"
	"github.com/restic-manager/restic-manager/api/wire"
)

// Options of Once.
type Options struct {
	// URL is where machines find the gateway: https://host[:port].
	URL string
	// Address is dialled in its place where that is not empty, host:port: the Service, from inside the cluster.
	Address string
	// CA are the authorities that machines pin, PEM. Empty: name and validity are looked at alone.
	CA []byte
	// Now is the time at which a certificate must be valid. Zero: now.
	Now time.Time
}

// Once connects once. Its error says what a machine would stumble over, and what to look at.
func Once(ctx context.Context, o Options) error {
	base, err := url.Parse(o.URL)
	if err != nil || base.Scheme != "https" || base.Host == "" {
		return fmt.Errorf("the gateway's URL %q must be https://host[:port]", o.URL)
	}
	config, err := trust(base.Hostname(), o)
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	if o.Address != "" {
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, o.Address)
		}
	}
	conn, response, err := websocket.Dial(ctx, strings.TrimRight(o.URL, "/")+wire.ConnectPath, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	switch {
	case response != nil && response.StatusCode != http.StatusSwitchingProtocols:
		return fmt.Errorf("HTTP %s instead of a WebSocket: is it the gateway that answers there?", response.Status)
	case err != nil:
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(wire.MaxFrame)
	_, frame, err := conn.Read(ctx)
	if err != nil {
		return fmt.Errorf("waiting for the gateway's challenge: %w", err)
	}
	return challenged(frame, base.Hostname())
}

// challenged looks at the first message of a session.
func challenged(frame []byte, host string) error {
	envelope, err := wire.Decode(frame)
	if err != nil {
		return fmt.Errorf("the gateway's challenge: %w", err)
	}
	message, err := envelope.Open()
	if err != nil {
		return fmt.Errorf("the gateway's challenge: %w", err)
	}
	challenge, ok := message.(*wire.Challenge)
	if !ok {
		return fmt.Errorf("the gateway begins with %s, want %s", message.MessageType(), wire.TypeChallenge)
	}
	// An address is no server name, and is not sent.
	if net.ParseIP(host) == nil && !strings.EqualFold(challenge.ServerName, host) {
		return fmt.Errorf("the gateway was asked as %q, machines would ask for %q: something in between changes the name", challenge.ServerName, host)
	}
	return nil
}

// trust is a machine's decision, or without authorities what of it can be decided here.
func trust(host string, o Options) (*tls.Config, error) {
	pins, err := pins(o.CA)
	if err != nil {
		return nil, err
	}
	if len(pins) > 0 {
		return tlspin.Config(host, pins)
	}
	now := o.Now
	if now.IsZero() {
		now = time.Now()
	}
	return &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, VerifyConnection: func(state tls.ConnectionState) error {
		leaf := state.PeerCertificates[0]
		if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
			return x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired}
		}
		return leaf.VerifyHostname(host)
	}}, nil
}

// pins are those of every certificate in a PEM text.
func pins(text []byte) ([]string, error) {
	var found []string
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("the gateway's authorities: certificate %d: %w", len(found)+1, err)
		}
		found = append(found, tlspin.Pin(certificate))
	}
	if len(text) > 0 && len(found) == 0 {
		return nil, errors.New("the gateway's authorities: no PEM certificate")
	}
	return found, nil
}
