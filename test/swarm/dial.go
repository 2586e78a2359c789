package swarm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/restic-manager/restic-manager/agent/transport"
)

// dialer gives all agents the same few HTTP clients: one for each local address and list of pins.
type dialer struct {
	o       *Options
	tickets tls.ClientSessionCache

	mu        sync.Mutex
	clients   map[string]*http.Client
	addresses []string
	next      int
}

func newDialer(o *Options) *dialer {
	d := &dialer{o: o, clients: map[string]*http.Client{}, addresses: slices.Clone(o.Addresses)}
	if o.ResumeTLS {
		d.tickets = tls.NewLRUClientSessionCache(0)
	}
	return d
}

// client is that of agent i, for these pins.
func (d *dialer) client(i int, pins []string) (*http.Client, error) {
	source := -1
	if n := len(d.o.Sources); n > 0 {
		source = i % n
	}
	key := fmt.Sprintf("%d %s", source, strings.Join(pins, " "))
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.clients[key]; c != nil {
		return c, nil
	}
	c, err := transport.NewClient(d.o.URL, pins)
	if err != nil {
		return nil, err
	}
	t, ok := c.Transport.(*http.Transport)
	if !ok {
		return nil, fmt.Errorf("the agent's transport is a %T", c.Transport)
	}
	if len(pins) == 0 {
		t.TLSClientConfig.RootCAs = d.o.Roots
	}
	t.TLSClientConfig.ClientSessionCache = d.tickets
	t.DialContext = d.dialFrom(source)
	d.clients[key] = c
	return c, nil
}

// spread dials other addresses from here on.
func (d *dialer) spread(addresses []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addresses, d.next = slices.Clone(addresses), 0
}

// dialFrom dials from a local address, or from any for -1.
func (d *dialer) dialFrom(source int) func(context.Context, string, string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: transport.DialTimeout}
	if source >= 0 {
		dialer.LocalAddr = &net.TCPAddr{IP: d.o.Sources[source].AsSlice()}
		dialer.Control = bindAddressAlone
	}
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		for _, address := range d.turn(address) {
			if conn, err = dialer.DialContext(ctx, network, address); !errors.Is(err, syscall.ECONNREFUSED) {
				break
			}
		}
		return conn, err
	}
}

// turn lists the addresses that a dial tries in order, past those that do not listen.
func (d *dialer) turn(address string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.addresses) == 0 {
		return []string{address}
	}
	first := d.next % len(d.addresses)
	d.next = first + 1
	return slices.Concat(d.addresses[first:], d.addresses[:first])
}

// bindAddressAlone leaves the choice of the port to connect, so that one port serves several remote addresses.
func bindAddressAlone(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	if err != nil {
		return err
	}
	return failed
}
