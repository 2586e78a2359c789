package agentgateway

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"k8s.io/client-go/rest"
)

// status is that of an answer to GET.
func status(t *testing.T, url string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// Who may not list what the gateway watches waits for it: the process lives and is not ready.
func TestAGatewayWithoutItsCacheLivesAndIsNotReady(t *testing.T) {
	w := newWorld(t)
	config := rest.CopyConfig(w.cp.RESTConfig())
	config.Impersonate = rest.ImpersonationConfig{UserName: "without-rights"}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	health := listen()
	g, err := New(Options{Config: config, Namespace: system, Instance: "gw-1", Listener: listen(), Health: health,
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	url := "http://" + health.Addr().String()
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable} {
		if got := status(t, url+path); got != want {
			t.Errorf("%s is answered with %d, want %d", path, got, want)
		}
	}
	cancel()
	<-ended
}
