package check

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
)

// gateway serves a name's certificate and does what a test says with a session.
func gateway(t *testing.T, name string, session http.HandlerFunc) (address string, ca []byte) {
	t.Helper()
	authority, err := env.EnsureCA(t.TempDir(), "test CA")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := authority.Issue("gateway", env.LeafRequest{Hosts: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(leaf.CertFile, leaf.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	pair.Certificate = append(pair.Certificate, authority.Cert.Raw)
	server := httptest.NewUnstartedServer(session)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	if ca, err = os.ReadFile(authority.CertFile); err != nil {
		t.Fatal(err)
	}
	return server.Listener.Addr().String(), ca
}

// says begins a session with a message.
func says(t *testing.T, message func(serverName string) wire.Message) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		frame, err := wire.Encode("1", message(r.TLS.ServerName))
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.Write(r.Context(), websocket.MessageText, frame)
		_, _, _ = conn.Read(r.Context()) // until the other side goes
	}
}

func challenge(serverName string) wire.Message {
	return &wire.Challenge{Nonce: make([]byte, wire.NonceSize), ServerName: serverName, MinProtocol: wire.MinProtocol, Protocol: wire.Protocol}
}

func TestOnce(t *testing.T) {
	const url = "https://gateway.example.com"
	_, other := gateway(t, "gateway.example.com", http.NotFound)
	tests := []struct {
		name    string
		cert    string
		session http.HandlerFunc
		change  func(*Options)
		want    string // part of the error, empty for none
	}{
		{"a gateway that machines would take", "gateway.example.com", says(t, challenge), nil, ""},
		{"one whose authority is for the machines to judge", "gateway.example.com", says(t, challenge), func(o *Options) { o.CA = nil }, ""},
		{"one with another authority than machines pin", "gateway.example.com", says(t, challenge), func(o *Options) { o.CA = other }, "none of the keys"},
		{"a certificate for another name", "other.example.com", says(t, challenge), nil, "gateway.example.com"},
		{"a certificate for another name, without an authority", "other.example.com", says(t, challenge), func(o *Options) { o.CA = nil }, "gateway.example.com"},
		{"a certificate that has expired", "gateway.example.com", says(t, challenge),
			func(o *Options) { o.CA, o.Now = nil, time.Date(2126, time.January, 1, 0, 0, 0, 0, time.UTC) }, "expired"},
		{"something else that serves HTTPS", "gateway.example.com", http.NotFound, nil, "HTTP 404"},
		{"a proxy that changes the name", "gateway.example.com", says(t, func(string) wire.Message { return challenge("gateway.internal") }), nil, `asked as "gateway.internal"`},
		{"a gateway that refuses everybody", "gateway.example.com", says(t, func(string) wire.Message { return &wire.Error{Code: wire.CodeBusy, Message: "busy"} }), nil, "begins with error"},
		{"an authority that is none", "gateway.example.com", says(t, challenge), func(o *Options) { o.CA = []byte("secret") }, "no PEM certificate"},
		{"a URL without TLS", "gateway.example.com", says(t, challenge), func(o *Options) { o.URL = "http://gateway.example.com" }, "must be https://"},
		{"nobody there", "gateway.example.com", says(t, challenge), func(o *Options) { o.Address = "127.0.0.1:1" }, "refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address, ca := gateway(t, tt.cert, tt.session)
			o := Options{URL: url, Address: address, CA: ca}
			if tt.change != nil {
				tt.change(&o)
			}
			err := Once(t.Context(), o)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
