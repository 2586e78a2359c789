package query

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/restic-manager/restic-manager/api/tlspin"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

const (
	dialTimeout = 15 * time.Second
	// unseen is how long a gateway may not have seen a query that is signed already, and again how soon it is asked anew.
	unseen = 10 * time.Second
	again  = 250 * time.Millisecond
	// maxRefusal bounds the body of an HTTP error.
	maxRefusal = 16 << 10
)

// dial opens the WebSocket on which the answer comes.
func (a *Asker) dial(ctx context.Context, query *v1alpha1.HostQuery, s *secrets) (*websocket.Conn, error) {
	client, err := HTTPClient(*query.Status.Gateway, a.GatewayAddress)
	if err != nil {
		return nil, err
	}
	address := strings.TrimRight(query.Status.Gateway.URL, "/") + wire.QueryPath + "/" + url.PathEscape(query.Namespace) + "/" + url.PathEscape(query.Name)
	header := http.Header{wire.StreamSecretHeader: {base64.StdEncoding.EncodeToString(s.stream)}}
	deadline := a.Clock.Now().Add(unseen)
	for {
		conn, response, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: client, HTTPHeader: header})
		if err == nil {
			conn.SetReadLimit(wire.MaxChunk + wire.ChunkOverhead)
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		refused := a.explainDial(query, s.host, response, err)
		if ProblemOf(refused) != ProblemUnknown || !a.Clock.Now().Before(deadline) {
			return nil, refused
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-a.Clock.After(again):
		}
	}
}

// HTTPClient trusts a gateway as its endpoint says. address, where set, is dialled in place of the URL's.
func HTTPClient(endpoint v1alpha1.GatewayEndpoint, address string) (*http.Client, error) {
	u, err := url.Parse(endpoint.URL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("the gateway's URL %q is not of the form https://host[:port]: --gateway-url of the controllers is wrong", endpoint.URL)
	}
	config, err := tlspin.Config(u.Hostname(), endpoint.TLSPins)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, TLSHandshakeTimeout: dialTimeout,
		ResponseHeaderTimeout: 2 * dialTimeout, DisableKeepAlives: true, DisableCompression: true,
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	transport.DialContext = dialer.DialContext
	if address != "" {
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		}
	}
	// A redirect would carry the secret to a server that nobody named.
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// explainDial turns a connection that did not come about into an *Error.
func (a *Asker) explainDial(query *v1alpha1.HostQuery, host wire.HostRef, response *http.Response, err error) error {
	if response == nil {
		return a.explainUnreachable(query, err)
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxRefusal))
	_ = response.Body.Close()
	refusal := wire.Error{}
	if json.Unmarshal(body, &refusal) != nil || refusal.Code == "" {
		return problem(ProblemUnreachable, err, "%s answers with HTTP %s, which is not a restic-manager gateway's answer: a proxy or another service stands there",
			query.Status.Gateway.URL, response.Status)
	}
	switch refusal.Code {
	case wire.CodeUnknownQuery:
		return problem(ProblemUnknown, err, "the gateway does not know the question: it serves another cluster, or watches other namespaces than %s", host.Namespace)
	case wire.CodeNotConnected:
		return problem(ProblemNotConnected, err, "machine %s is not connected: is it running, and its agent (systemctl status restic-manager-agent there)? kubectl restic doctor %s -n %s tells more",
			host, host.Name, host.Namespace)
	}
	if refusal.Code == wire.CodeBusy {
		return problem(ProblemBusy, err, "the gateway has too much to do (%s): try again in %d s", refusal.Message, max(1, refusal.RetryAfterSeconds))
	}
	return problem(ProblemRefused, err, "the gateway refuses: %s", refusal.Message)
}

func (a *Asker) explainUnreachable(query *v1alpha1.HostQuery, err error) error {
	where := query.Status.Gateway.URL
	if a.GatewayAddress != "" {
		where = a.GatewayAddress
	}
	if pin, is := errors.AsType[*tlspin.Error](err); is {
		return problem(ProblemForged, err, "%s is not the gateway that the controllers name: %v", where, pin)
	}
	return problem(ProblemUnreachable, err, "the gateway %s cannot be reached from here: %v. Where its address is not for you, forward a port and name it: "+
		"kubectl -n restic-manager-system port-forward deployment/restic-manager-gateway 8443, then --gateway-address localhost:8443", where, innermost(err))
}

// innermost is what a person reads of a network error.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		if _, is := inner.(net.Error); is {
			err = inner
			if _, op := inner.(*net.OpError); op {
				return inner
			}
			continue
		}
		err = inner
	}
}
