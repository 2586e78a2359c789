package agentgateway

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

func TestTheRelayAddressOfAReplica(t *testing.T) {
	listen := func(address string) net.Listener {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	one, every := listen("127.0.0.1:0"), listen(":0")
	for _, test := range []struct {
		name     string
		listener net.Listener
		given    string
		want     string
		err      string
	}{
		{"what is given", every, "gw-1.example.com:443", "gw-1.example.com:443", ""},
		{"the listener's own", one, "", one.Addr().String(), ""},
		{"none, where it listens on every address", every, "", "", ""},
		{"no port", every, "10.1.2.3", "", `relay address "10.1.2.3" is not host:port`},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := Options{Config: &rest.Config{}, Namespace: "system", Listener: test.listener, RelayAddress: test.given,
				Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }}
			err := o.complete()
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || o.RelayAddress != test.want {
				t.Errorf("got %q, %v", o.RelayAddress, err)
			}
		})
	}
}
