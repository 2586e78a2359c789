package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/swarm"
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

// bare is a running bare server, with connections to it. They are held by a process of their own: the limit of open files that this one has is for the fleet.
type bare struct {
	*env.Process
	address, caFile string
	clients         *exec.Cmd
	hold            io.WriteCloser
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
	b := &bare{address: fmt.Sprintf("127.0.0.1:%d", port), caFile: w.CA.CertFile}
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

// dial starts this program as the clients of the bare server, and returns how long they took to connect. They send heartbeats until stop.
func (b *bare) dial(ctx context.Context, count int) (time.Duration, error) {
	b.clients = exec.CommandContext(ctx, b.Path, clientsRole, b.address, b.caFile, strconv.Itoa(count))
	b.clients.Stderr = os.Stderr
	in, err := b.clients.StdinPipe()
	if err != nil {
		return 0, err
	}
	b.hold = in
	out, err := b.clients.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := b.clients.Start(); err != nil {
		return 0, err
	}
	var took time.Duration
	if _, err := fmt.Fscan(out, (*int64)(&took)); err != nil {
		return 0, fmt.Errorf("the bare clients did not connect: %w", err)
	}
	return took, nil
}

// pings has the clients send pings from now on, as agents do.
func (b *bare) pings() error {
	_, err := fmt.Fprintln(b.hold)
	return err
}

func (b *bare) stop() error {
	var err error
	if b.hold != nil {
		err = errors.Join(b.hold.Close(), b.clients.Wait())
	}
	return errors.Join(err, b.Process.Stop())
}

// clientsRole tells this program to be the clients of the bare server.
const clientsRole = "bare-clients"

// connectBare opens connections, some at once, prints how long that took in nanoseconds, and sends a heartbeat on each once per interval, the same number at each
// moment, as agents do, within the skew, until its standard input ends. They are JSON until a line comes there, and pings then.
func connectBare(address, caFile, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, DisableKeepAlives: true}}
	conns := make([]*websocket.Conn, n)
	began := time.Now()
	if err := concurrently(n, atOnce, func(i int) (err error) {
		conns[i], _, err = websocket.Dial(context.Background(), "wss://"+address, &websocket.DialOptions{HTTPClient: client})
		return err
	}); err != nil {
		return err
	}
	fmt.Println(time.Since(began).Nanoseconds())
	frame, err := wire.Encode("1", &wire.Heartbeat{})
	if err != nil {
		return err
	}
	for _, conn := range conns {
		conn.CloseRead(context.Background()) // somebody has to read the pongs
	}
	over, failed := make(chan struct{}), make(chan error, 1)
	var pings atomic.Bool
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			pings.Store(true)
		}
		close(over)
	}()
	beat := func(conn *websocket.Conn) error {
		if !pings.Load() {
			return conn.Write(context.Background(), websocket.MessageText, frame)
		}
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), heartbeat)
			defer cancel()
			if err := conn.Ping(ctx); err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		}()
		return nil
	}
	moments := int(heartbeat / wire.PingsTogether)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(swarm.Share(a, skew), swarm.Share(b, skew)) })
	clock := time.NewTicker(wire.PingsTogether)
	for moment := 0; ; moment = (moment + 1) % moments {
		var began time.Time
		select {
		case <-over:
			return nil
		case err := <-failed:
			return fmt.Errorf("a ping was not answered: %w", err)
		case began = <-clock.C:
		}
		for _, i := range order {
			if i%moments != moment {
				continue
			}
			time.Sleep(time.Until(began.Add(swarm.Share(i, skew))))
			if err := beat(conns[i]); err != nil {
				return err
			}
		}
	}
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

// role runs what this program was started for by itself, if it was.
func role(args []string) (run func() error, ok bool) {
	if len(args) != 5 {
		return nil, false
	}
	switch args[1] {
	case bareRole:
		return func() error { return serveBare(args[2], args[3], args[4]) }, true
	case clientsRole:
		return func() error { return connectBare(args[2], args[3], args[4]) }, true
	}
	return nil, false
}
