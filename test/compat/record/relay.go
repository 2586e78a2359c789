package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/coder/websocket"

	"github.com/restic-manager/restic-manager/test/compat"
)

// maxFrame is what a message may have; the programs have limits of their own.
const maxFrame = 16 << 20

// relay stands between agent and gateway, ends the TLS of both, and keeps what passes.
type relay struct {
	listener net.Listener
	server   *http.Server
	client   *http.Client
	target   string

	mu    sync.Mutex
	lines []compat.Line
}

func newRelay(certificate tls.Certificate) (*relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: listener, client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}}
	r.server = &http.Server{Handler: r, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
	return r, nil
}

func (r *relay) url() string { return "https://" + r.listener.Addr().String() }

func (r *relay) serve(target string) {
	r.target = target
	go func() { _ = r.server.ServeTLS(r.listener, "", "") }() // it ends with close
}

func (r *relay) close() { _ = r.server.Close() }

func (r *relay) keep(line compat.Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

func (r *relay) recorded() []compat.Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// ServeHTTP implements http.Handler.
func (r *relay) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Header.Get("Upgrade") != "" {
		r.connect(w, request)
		return
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	out, err := http.NewRequestWithContext(request.Context(), request.Method, "https://"+r.target+request.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return
	}
	out.Header = request.Header.Clone()
	response, err := r.client.Do(out)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(response.StatusCode)
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return
	}
	r.keep(compat.Line{From: compat.Agent, Path: request.URL.Path, Text: string(body)})
	r.keep(compat.Line{From: compat.Gateway, Path: request.URL.Path, Status: response.StatusCode, Text: string(answer)})
	_, _ = w.Write(answer)
}

// connect passes a session on. One of a person, who collects an answer, is not kept.
func (r *relay) connect(w http.ResponseWriter, request *http.Request) {
	header := request.Header.Clone()
	for name := range header {
		if strings.HasPrefix(name, "Sec-Websocket-") || name == "Upgrade" || name == "Connection" {
			delete(header, name)
		}
	}
	back, response, err := websocket.Dial(request.Context(), "https://"+r.target+request.URL.RequestURI(), &websocket.DialOptions{HTTPClient: r.client, HTTPHeader: header, Host: request.Host})
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
	kept := request.URL.Path == "/agent/v1/connect"
	var both sync.WaitGroup
	for from, pair := range map[string][2]*websocket.Conn{compat.Agent: {front, back}, compat.Gateway: {back, front}} {
		both.Go(func() {
			defer cancel()
			r.pump(ctx, from, kept, pair[0], pair[1])
		})
	}
	both.Wait()
	_, _ = front.CloseNow(), back.CloseNow()
}

func (r *relay) pump(ctx context.Context, sender string, kept bool, from, to *websocket.Conn) {
	from.SetReadLimit(maxFrame)
	for {
		kind, message, err := from.Read(ctx)
		if err != nil {
			return
		}
		if kept {
			line := compat.Line{From: sender, Path: "/agent/v1/connect"}
			if kind == websocket.MessageText {
				line.Text = string(message)
			} else {
				line.Data = message
			}
			r.keep(line)
		}
		if err := to.Write(ctx, kind, message); err != nil {
			return
		}
	}
}
