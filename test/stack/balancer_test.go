package stack

import (
	"bufio"
	"io"
	"net"
	"testing"
)

// backend answers each connection with its name.
func backend(t *testing.T, name string) (address string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, name+"\n")
			_ = conn.Close()
		}
	}()
	stop = func() { _ = listener.Close() }
	t.Cleanup(stop)
	return listener.Addr().String(), stop
}

func TestABalancerSpreadsConnectionsPastWhatDoesNotListen(t *testing.T) {
	one, stopOne := backend(t, "one")
	two, _ := backend(t, "two")
	b, err := NewBalancer(one)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	expect := func(when string, want ...string) {
		t.Helper()
		for i, w := range want {
			conn, err := net.Dial("tcp", b.Address())
			if err != nil {
				t.Fatal(err)
			}
			got, _ := bufio.NewReader(conn).ReadString('\n')
			_ = conn.Close()
			if got != w {
				t.Errorf("%s: connection %d reached %q, want %q", when, i, got, w)
			}
		}
	}
	expect("with one backend", "one\n", "one\n")
	b.Spread(one, two)
	expect("with two", "one\n", "two\n", "one\n", "two\n")
	stopOne()
	expect("when one is down", "two\n", "two\n", "two\n")
	b.Spread(one, two)
	b.Without(one)
	expect("without one", "two\n", "two\n")
	b.Point("")
	expect("with none", "")
	b.Point(two)
	expect("with the other alone", "two\n", "two\n")
}
