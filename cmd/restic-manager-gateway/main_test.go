package main

import (
	"context"
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
