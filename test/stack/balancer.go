package stack

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// Balancer relays TCP connections to one backend at a time: what a Service or a network in trouble does, under a test's control.
// Its methods may be called from several goroutines.
type Balancer struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	backend string // empty: connections are refused
	open    map[net.Conn]struct{}
}

// NewBalancer listens on loopback and relays to backend.
func NewBalancer(backend string) (*Balancer, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &Balancer{listener: listener, backend: backend, open: map[net.Conn]struct{}{}}
	b.wg.Go(b.accept)
	return b, nil
}

// Address is where it listens.
func (b *Balancer) Address() string { return b.listener.Addr().String() }

// Point sends new connections to another backend; those that are open stay. An empty backend closes new connections at once.
func (b *Balancer) Point(backend string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backend = backend
}

// Cut closes all open connections.
func (b *Balancer) Cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.open {
		c.Close()
	}
}

// Close ends the balancer and all its connections.
func (b *Balancer) Close() error {
	err := b.listener.Close()
	b.Cut()
	b.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (b *Balancer) accept() {
	for {
		front, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.wg.Go(func() { b.relay(front) })
	}
}

func (b *Balancer) relay(front net.Conn) {
	defer front.Close()
	b.mu.Lock()
	backend := b.backend
	b.mu.Unlock()
	if backend == "" {
		return
	}
	back, err := net.Dial("tcp", backend)
	if err != nil {
		return
	}
	defer back.Close()
	b.track(front, back)
	defer b.forget(front, back)

	var wg sync.WaitGroup
	for _, pair := range [][2]net.Conn{{front, back}, {back, front}} {
		wg.Go(func() {
			io.Copy(pair[0], pair[1]) //nolint:errcheck // an end of either side ends both
			pair[0].Close()
			pair[1].Close()
		})
	}
	wg.Wait()
}

func (b *Balancer) track(conns ...net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		b.open[c] = struct{}{}
	}
}

func (b *Balancer) forget(conns ...net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		delete(b.open, c)
	}
}
