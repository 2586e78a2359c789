package transport

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/restic-manager/restic-manager/api/tlspin"
	"github.com/restic-manager/restic-manager/internal/gather"
)

// Timeouts of one connection attempt.
const (
	DialTimeout      = 15 * time.Second
	HandshakeTimeout = 15 * time.Second
	// ResponseTimeout is from the end of the request to the response's header.
	ResponseTimeout = 30 * time.Second
)

// NewClient returns an HTTP client for one gateway: HTTP/1.1 (a WebSocket needs it), the proxy of HTTPS_PROXY and NO_PROXY, no
// redirects, and no connection kept for later.
func NewClient(baseURL string, pins []string) (*http.Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("gateway URL %q is not of the form https://host[:port]", baseURL)
	}
	config, err := tlspin.Config(u.Hostname(), pins)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: DialTimeout, KeepAlive: 30 * time.Second}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dialer.DialContext(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return gather.New(conn), nil
			},
			TLSClientConfig:        config,
			TLSHandshakeTimeout:    HandshakeTimeout,
			ResponseHeaderTimeout:  ResponseTimeout,
			MaxResponseHeaderBytes: 16 << 10,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			ReadBufferSize:         2 << 10,
			WriteBufferSize:        2 << 10,
		},
		// A redirect would carry the dialogue to a server that nobody named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
