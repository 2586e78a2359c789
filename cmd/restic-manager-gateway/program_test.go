package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/test/env"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

// The whole program, under the account and permissions of an installation.
func TestTheProgramServesAndEnds(t *testing.T) {
	cp := env.Shared(t)
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range [][]string{{"-f", "config/default/namespace.yaml"}, {"-k", "config/rbac"}, {"-k", "config/admission"}} {
		if _, err := cp.Kubectl(t.Context(), "apply", "--server-side", from[0], filepath.Join(root, from[1])); err != nil {
			t.Fatal(err)
		}
	}
	const namespace = "restic-manager-system"
	_, kubeconfig, err := cp.ServiceAccountConfig(t.Context(), namespace, "restic-manager-gateway")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := env.EnsureCA(t.TempDir(), "test CA")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue("gateway", env.LeafRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var addresses [3]string
	for i := range addresses {
		port, err := env.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		addresses[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := command()
	cmd.SetArgs([]string{"--kubeconfig=" + kubeconfig, "--namespace=" + namespace, "--instance-id=program", "--tls-cert-file=" + leaf.CertFile,
		"--tls-private-key-file=" + leaf.KeyFile, "--tls-ca-file=" + ca.CertFile, "--listen-address=" + addresses[0],
		"--metrics-bind-address=" + addresses[1], "--health-probe-bind-address=" + addresses[2], "--log-level=warn", "--drain-spread=0s"})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()

	for _, url := range []string{"http://" + addresses[2] + "/healthz", "http://" + addresses[2] + "/readyz", "http://" + addresses[1] + "/metrics"} {
		env.Eventually(t, 30*time.Second, url+" answers", func(ctx context.Context) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return err
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				return fmt.Errorf("HTTP %s", response.Status)
			}
			return nil
		})
	}
	conn, err := tls.Dial("tcp", addresses[0], &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	chain := conn.ConnectionState().PeerCertificates
	if len(chain) != 2 || !bytes.Equal(chain[1].Raw, ca.Cert.Raw) {
		t.Errorf("the chain has %d certificates and not the CA at its end", len(chain))
	}
	_ = conn.Close()
	// What helm test runs.
	look := command()
	look.SetArgs([]string{"check", "--gateway-url=https://" + addresses[0], "--ca-file=" + ca.CertFile, "--timeout=0s"})
	if err := look.ExecuteContext(t.Context()); err != nil {
		t.Errorf("the check of a gateway that serves: %v", err)
	}
	leases := cp.Client().CoordinationV1().Leases(namespace)
	if _, err := leases.Get(t.Context(), "restic-manager-gateway-program", metav1.GetOptions{}); err != nil {
		t.Errorf("the Lease of a ready replica: %v", err)
	}

	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the program does not end")
	}
	if _, err := leases.Get(t.Context(), "restic-manager-gateway-program", metav1.GetOptions{}); err == nil {
		t.Error("the Lease outlives the program")
	}
}
