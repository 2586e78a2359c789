package agentgateway

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agentgateway/internal/pace"
)

func TestConnectionsThatBecomeNoSessionAreBounded(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	listener := &arrivals{Listener: inner, places: pace.NewPlaces(2)} // one for each address, two in all
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- conn
		}
	}()
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	next := func(what string) net.Conn {
		t.Helper()
		select {
		case conn := <-accepted:
			return conn
		case <-time.After(time.Minute):
			t.Fatalf("%s was not accepted", what)
			return nil
		}
	}

	dial()
	first := next("the first")
	over := dial()
	if err := over.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := over.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a connection over the bound: %v, want it closed", err)
	}

	takenOver(first, http.StateActive)
	if _, err := listener.places.Take("127.0.0.1:1"); err == nil {
		t.Error("a request that is served gave its place back")
	}
	takenOver(first, http.StateHijacked)
	dial()
	second := next("one after a session took the first over")
	_ = second.Close()
	_ = first.Close()
	dial()
	next("one after the second was closed")
}

func TestASessionHoldsNoPlaceOfThoseWhoArrive(t *testing.T) {
	taken := make(chan net.Conn, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
		}
		taken <- conn
	}))
	server.Listener = &arrivals{server.Listener, pace.NewPlaces(1)}
	server.Config.ConnState = takenOver
	server.StartTLS()
	defer server.Close()
	for i := range 3 {
		conn, err := tls.Dial("tcp", server.Listener.Addr().String(), server.Client().Transport.(*http.Transport).TLSClientConfig)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		select {
		case conn := <-taken:
			defer conn.Close()
		case <-time.After(time.Minute):
			t.Fatalf("connection %d was not served: the one before still holds its place", i)
		}
	}
}
