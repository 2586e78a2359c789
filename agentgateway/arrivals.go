package agentgateway

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"

	"github.com/restic-manager/restic-manager/agentgateway/internal/pace"
	"github.com/restic-manager/restic-manager/internal/gather"
)

// maxArrivals bounds the connections that are not a session yet: in the TLS handshake, in an HTTP request, idle. Each costs some 45 KB, and
// nobody had to prove anything for it.
const maxArrivals = 3584

// arrivals is a listener that closes what is over a bound at once, so that connections which never become a session cost bounded memory.
type arrivals struct {
	net.Listener
	places *pace.Places
}

// arrival holds a place until it is closed, or a session took it over.
type arrival struct {
	*gather.Conn
	leave func()
}

// Accept implements net.Listener.
func (a *arrivals) Accept() (net.Conn, error) {
	for {
		conn, err := a.Listener.Accept()
		if err != nil {
			return nil, err
		}
		leave, err := a.places.Take(conn.RemoteAddr().String())
		if err != nil {
			_ = conn.Close() // nothing was said on it
			continue
		}
		return &arrival{gather.New(conn), leave}, nil
	}
}

// Close implements net.Conn.
func (a *arrival) Close() error {
	a.leave()
	return a.Conn.Close()
}

// CloseWrite lets TLS say goodbye before it closes.
func (a *arrival) CloseWrite() error {
	if c, ok := a.Conn.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// takenOver is the server's ConnState hook.
func takenOver(conn net.Conn, state http.ConnState) {
	if state != http.StateHijacked {
		return
	}
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if a, ok := conn.(*arrival); ok {
		a.leave()
	}
}
