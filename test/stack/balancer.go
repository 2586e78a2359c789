package stack

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
)

// Balancer relays TCP connections to one backend, or to several in turn: what a Service or a network in trouble does, under a test's control.
// Its methods may be called from several goroutines.
type Balancer struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu       sync.Mutex
	backends []string // none: connections are refused
	next     int
	open     map[net.Conn]struct{}
}

// NewBalancer listens on a free port of loopback and relays to backend.
func NewBalancer(backend string) (*Balancer, error) { return NewBalancerAt("127.0.0.1:0", backend) }

// NewBalancerAt listens on an address and relays to backends in turn.
func NewBalancerAt(address string, backends ...string) (*Balancer, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	b := &Balancer{listener: listener, backends: backends, open: map[net.Conn]struct{}{}}
	b.wg.Go(b.accept)
	return b, nil
}

// Address is where it listens.
func (b *Balancer) Address() string { return b.listener.Addr().String() }

// Point sends new connections to another backend; those that are open stay. An empty backend closes new connections at once.
func (b *Balancer) Point(backend string) {
	if backend == "" {
		b.Spread()
	} else {
		b.Spread(backend)
	}
}

// Spread sends new connections to several backends in turn, past those that do not listen; those that are open stay. No backend closes new
// connections at once.
func (b *Balancer) Spread(backends ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backends, b.next = slices.Clone(backends), 0
}

// Without sends new connections to the other backends; those that are open stay.
func (b *Balancer) Without(backend string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backends = slices.DeleteFunc(b.backends, func(other string) bool { return other == backend })
}

// turn lists the backends in the order in which the next connection tries them.
func (b *Balancer) turn() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.backends) == 0 {
		return nil
	}
	first := b.next % len(b.backends)
	b.next = first + 1
	return slices.Concat(b.backends[first:], b.backends[:first])
}

// dial connects to the first backend that listens.
func (b *Balancer) dial() net.Conn {
	for _, backend := range b.turn() {
		if conn, err := net.Dial("tcp", backend); err == nil {
			return conn
		}
	}
	return nil
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
	back := b.dial()
	if back == nil {
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
