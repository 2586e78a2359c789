package main

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/test/env"
)

func TestMistakesOnTheCommandLineAreNamed(t *testing.T) {
	ca, err := env.EnsureCA(t.TempDir(), "test CA")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue("gateway", env.LeafRequest{})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	good := []string{"--tls-cert-file=" + leaf.CertFile, "--tls-private-key-file=" + leaf.KeyFile, "--kubeconfig=" + kubeconfig,
		"--listen-address=127.0.0.1:0", "--metrics-bind-address=0", "--health-probe-bind-address=0"}
	for _, c := range []struct {
		name string
		args []string
		says string
	}{
		{"no certificate", nil, "tls-cert-file"},
		{"a certificate that is not there", []string{"--tls-cert-file=/nowhere", "--tls-private-key-file=/nowhere", "--kubeconfig=" + kubeconfig}, "kubeconfig"},
		{"a log level that does not exist", append(good, "--log-level=loud"), "--log-level"},
		{"a log format that does not exist", append(good, "--log-format=xml"), "--log-format"},
		{"an argument", append(good, "serve"), "unknown command"},
		{"no way to the API server", good, "API server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := command()
			cmd.SetArgs(c.args)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := cmd.ExecuteContext(ctx)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want something with %q", err, c.says)
			}
		})
	}
}

func TestWhereOtherReplicasReachThisOne(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, flag, podIP, want string }{
		{"as the flag says", "gw-1.example.com:443", "10.1.2.3", "gw-1.example.com:443"},
		{"at the Pod's address", "", "10.1.2.3", "10.1.2.3:" + port},
		{"at the Pod's IPv6 address", "", "2001:db8::1", "[2001:db8::1]:" + port},
		{"outside a Pod, at the listener's", "", "", ""},
	} {
		if got := relayAddress(c.flag, c.podIP, listener); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestTheCheckNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		says string
	}{
		{"no URL", nil, "gateway-url"},
		{"authorities that are not there", []string{"--gateway-url=https://gateway.example.com", "--ca-file=/nowhere"}, "--ca-file"},
		{"nobody there", []string{"--gateway-url=https://gateway.example.com", "--address=127.0.0.1:1", "--timeout=0s"}, "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := command()
			cmd.SetArgs(append([]string{"check"}, c.args...))
			if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want something with %q", err, c.says)
			}
		})
	}
}
