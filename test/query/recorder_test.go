package query

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
)

// recorder is a gateway that keeps all that it learns: it stands before the real ones, ends the TLS of agents and requesters like them, and passes every message
// on, to each replica in turn.
type recorder struct {
	listener net.Listener
	server   *http.Server
	replicas []string
	next     atomic.Uint64
	client   *http.Client

	mu   sync.Mutex
	seen bytes.Buffer
}

// startRecorder serves with a certificate on loopback, before the replicas at these addresses.
func startRecorder(t *testing.T, certificate tls.Certificate, replicas ...string) *recorder {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{listener: listener, replicas: replicas}
	// Whoever stands between the two does not ask whether the replicas are genuine.
	r.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	r.server = &http.Server{Handler: r, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
	go r.server.ServeTLS(listener, "", "") //nolint:errcheck // it ends with the server
	t.Cleanup(func() { _ = r.server.Close() })
	return r
}

func (r *recorder) address() string { return r.listener.Addr().String() }

func (r *recorder) record(parts ...[]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, part := range parts {
		r.seen.Write(part)
		r.seen.WriteByte('\n')
	}
}

// learned is everything that passed, as it was inside TLS.
func (r *recorder) learned() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.seen.Bytes())
}

// ServeHTTP implements http.Handler.
func (r *recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	head, err := httputil.DumpRequest(request, false)
	if err == nil {
		r.record(head)
	}
	target := &url.URL{Scheme: "https", Host: r.replicas[r.next.Add(1)%uint64(len(r.replicas))]}
	if request.Header.Get("Upgrade") == "" {
		proxy := &httputil.ReverseProxy{Transport: r.client.Transport, Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host
		}}
		proxy.ServeHTTP(w, request)
		return
	}
	r.relay(w, request, target.JoinPath(request.URL.Path).String())
}

// relay passes a WebSocket on, and the answer of a replica that refuses it.
func (r *recorder) relay(w http.ResponseWriter, request *http.Request, target string) {
	header := http.Header{}
	for name, values := range request.Header {
		if len(name) > 9 && name[:9] == "Sec-Webso" || name == "Upgrade" || name == "Connection" {
			continue
		}
		header[name] = values
	}
	back, response, err := websocket.Dial(request.Context(), target, &websocket.DialOptions{HTTPClient: r.client, HTTPHeader: header, Host: request.Host})
	if err != nil {
		if response == nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		for name, values := range response.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(response.StatusCode)
		_, _ = io.Copy(w, response.Body)
		return
	}
	front, err := websocket.Accept(w, request, nil)
	if err != nil {
		_ = back.CloseNow()
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	for _, pair := range [][2]*websocket.Conn{{front, back}, {back, front}} {
		pair[0].SetReadLimit(4 << 20)
		wg.Go(func() {
			defer cancel()
			r.pump(ctx, pair[0], pair[1])
		})
	}
	wg.Wait()
	_, _ = front.CloseNow(), back.CloseNow()
}

func (r *recorder) pump(ctx context.Context, from, to *websocket.Conn) {
	for {
		kind, message, err := from.Read(ctx)
		if err != nil {
			var end websocket.CloseError
			if errors.As(err, &end) {
				r.record([]byte(end.Reason))
				_ = to.Close(end.Code, end.Reason)
			}
			return
		}
		r.record(message)
		if err := to.Write(ctx, kind, message); err != nil {
			return
		}
	}
}
