package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
)

// bareRole tells this program to be the bare server.
const bareRole = "bare-server"

// serveBare is the least that can hold WebSockets over TLS with this library: the handler has returned, the buffers that a hijacked connection brings
// are small, and each heartbeat is decoded and forgotten.
func serveBare(address, certFile, keyFile string) error {
	server := &http.Server{Addr: address, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(smallBuffers{w}, r, nil)
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = conn.CloseNow() }()
			for {
				_, frame, err := conn.Read(context.Background())
				if err != nil {
					return
				}
				var envelope wire.Envelope
				if json.Unmarshal(frame, &envelope) != nil {
					return
				}
			}
		}()
	})}
	return server.ListenAndServeTLS(certFile, keyFile)
}

// smallBuffers gives a hijacked connection buffers of the size of a heartbeat.
type smallBuffers struct{ http.ResponseWriter }

// Hijack implements http.Hijacker.
func (s smallBuffers) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(s.ResponseWriter).Hijack()
	if err != nil || buffers.Reader.Buffered() > 0 {
		return conn, buffers, err
	}
	return conn, bufio.NewReadWriter(bufio.NewReaderSize(conn, 512), bufio.NewWriterSize(conn, 512)), nil
}

// bare is a running bare server, with connections to it.
type bare struct {
	*env.Process
	address string
	client  *http.Client
	conns   []*websocket.Conn
}

// startBare starts this program as the bare server.
func (w *world) startBare() (*bare, error) {
	leaf, err := w.CA.Issue("bare", env.LeafRequest{})
	if err != nil {
		return nil, err
	}
	port, err := env.FreePort()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b := &bare{address: fmt.Sprintf("127.0.0.1:%d", port)}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.CA.Pool(), ServerName: "localhost"}, DisableKeepAlives: true}
	b.client = &http.Client{Transport: transport}
	b.Process, err = env.StartProcess(w.ctx, env.Command{
		Name: "bare server", Path: self, Args: []string{bareRole, b.address, leaf.CertFile, leaf.KeyFile}, LogFile: filepath.Join(w.Dir, "logs", "bare.log"),
		Ready: func(ctx context.Context) error {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", b.address)
			if err != nil {
				return err
			}
			return conn.Close()
		},
	})
	return b, err
}

// dial opens connections, some at once, and returns how long that took.
func (b *bare) dial(ctx context.Context, count int) (time.Duration, error) {
	b.conns = make([]*websocket.Conn, count)
	began := time.Now()
	err := concurrently(count, atOnce, func(i int) (err error) {
		b.conns[i], _, err = websocket.Dial(ctx, "wss://"+b.address, &websocket.DialOptions{HTTPClient: b.client})
		return err
	})
	return time.Since(began), err
}

// beat sends a heartbeat on each connection once per interval, evenly spread, until ctx ends.
func (b *bare) beat(ctx context.Context, interval time.Duration) error {
	frame, err := wire.Encode("1", &wire.Heartbeat{})
	if err != nil {
		return err
	}
	clock := time.NewTicker(interval / time.Duration(len(b.conns)))
	defer clock.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-clock.C:
		}
		if err := b.conns[i%len(b.conns)].Write(context.WithoutCancel(ctx), websocket.MessageText, frame); err != nil {
			return err
		}
	}
}

func (b *bare) stop() error {
	for _, c := range b.conns {
		if c != nil {
			_ = c.CloseNow()
		}
	}
	return b.Process.Stop()
}

// atOnce is how many requests or dials are under way at a time, in baselines.
const atOnce = 64

// concurrently calls do for 0 to count-1, some at once, and returns the first error.
func concurrently(count, atOnce int, do func(i int) error) error {
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	next := make(chan int)
	for range min(atOnce, count) {
		wg.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					once.Do(func() { first = err })
				}
			}
		})
	}
	for i := range count {
		next <- i
	}
	close(next)
	wg.Wait()
	return first
}

func isBareRole(args []string) bool { return len(args) == 5 && strings.HasSuffix(args[1], bareRole) }
