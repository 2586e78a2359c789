package gather

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"sync"
)

// most is how much is written at once, in bytes.
const most = 64 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, most); return &b }}

// Conn is a connection below TLS.
type Conn struct {
	net.Conn

	mu   sync.Mutex
	held *[]byte // nil but within Together
}

// New wraps a connection.
func New(c net.Conn) *Conn { return &Conn{Conn: c} }

// Of finds the Conn below TLS, also where another type embeds it; nil when there is none.
func Of(c net.Conn) *Conn {
	for {
		if below, is := c.(interface{ self() *Conn }); is {
			return below.self()
		}
		secured, is := c.(*tls.Conn)
		if !is {
			return nil
		}
		c = secured.NetConn()
	}
}

func (c *Conn) self() *Conn { return c }

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return c.Conn.Write(p)
	}
	if len(*c.held)+len(p) > most {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > most {
		return c.Conn.Write(p)
	}
	*c.held = append(*c.held, p...)
	return len(p), nil
}

func (c *Conn) flush() error {
	_, err := c.Conn.Write(*c.held)
	*c.held = (*c.held)[:0]
	return err
}

// Together sends what write writes, when it has returned or there is enough. One at a time. When ctx ends meanwhile, the connection is closed. Without a Conn it is write
// alone.
func (c *Conn) Together(ctx context.Context, write func() error) error {
	if c == nil {
		return write()
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Conn.Close() })
	defer stop()
	c.mu.Lock()
	c.held = buffers.Get().(*[]byte)
	c.mu.Unlock()
	err := write()
	c.mu.Lock()
	defer c.mu.Unlock()
	err = cmp.Or(err, c.flush())
	buffers.Put(c.held)
	c.held = nil
	return err
}
