package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/controllers/signing"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

func TestCheckNamesTheFlag(t *testing.T) {
	tests := []struct {
		name string
		o    options
		want string // part of the error, empty for none
	}{
		{"a URL with a port", options{gatewayURL: "https://gateway.example.com:8443", tokenTTL: time.Hour, overdueMinGrace: time.Minute, tombstoneTTL: time.Hour, keyOverlap: time.Hour}, ""},
		{"no URL", options{tokenTTL: time.Hour, overdueMinGrace: time.Minute}, "--gateway-url is required"},
		{"a URL without TLS", options{gatewayURL: "http://gateway.example.com", tokenTTL: time.Hour, overdueMinGrace: time.Minute}, "agents speak TLS only"},
		{"a host alone", options{gatewayURL: "gateway.example.com", tokenTTL: time.Hour, overdueMinGrace: time.Minute}, "--gateway-url"},
		{"a URL with a path", options{gatewayURL: "https://example.com/gateway", tokenTTL: time.Hour, overdueMinGrace: time.Minute}, "without user, path or query"},
		{"no grace for what is late", options{gatewayURL: "https://example.com", tokenTTL: time.Hour}, "--overdue-min-grace"},
		{"a grace that nobody would wait for", options{gatewayURL: "https://example.com", tokenTTL: time.Hour, overdueMinGrace: 30 * 24 * time.Hour}, "--overdue-min-grace"},
		{"a token that lasts for ever", options{gatewayURL: "https://example.com", tokenTTL: 8 * 24 * time.Hour}, "--token-ttl"},
		{"tombstones for a moment", options{gatewayURL: "https://example.com", tokenTTL: time.Hour, overdueMinGrace: time.Minute, tombstoneTTL: time.Second}, "--tombstone-ttl"},
		{"a token that nobody can use in time", options{gatewayURL: "https://example.com", tokenTTL: time.Second}, "--token-ttl"},
		{"an overlap of keys that is shorter than a token", options{gatewayURL: "https://example.com", tokenTTL: time.Hour, overdueMinGrace: time.Minute, tombstoneTTL: time.Hour, keyOverlap: time.Minute}, "--signing-key-overlap"},
		{"a certificate for the gateway", withGatewayTLS(gatewayTLSOptions{secret: "restic-manager-gateway-tls", names: []string{"gateway.example.com", "10.0.0.1"}}), ""},
		{"names of a certificate that is not made", withGatewayTLS(gatewayTLSOptions{names: []string{"gateway.example.com"}}), "--gateway-tls-names"},
		{"a certificate in a Secret that cannot be", withGatewayTLS(gatewayTLSOptions{secret: "Gateway_TLS"}), "--gateway-tls-secret"},
		{"a certificate for a URL", withGatewayTLS(gatewayTLSOptions{secret: "tls", names: []string{"https://gateway"}}), "--gateway-tls-names"},
		{"a webhook everywhere", withWebhook(webhookOptions{address: ":9443", names: []string{"webhook.example.com", "::1"}}), ""},
		{"no webhook, whatever else is said of it", withWebhook(webhookOptions{address: "0", certDir: "/nonexistent"}), ""},
		{"a webhook without a port", withWebhook(webhookOptions{address: "127.0.0.1"}), "--webhook-bind-address"},
		{"a webhook on any port", withWebhook(webhookOptions{address: ":0"}), "--webhook-bind-address"},
		{"a webhook with a URL for a name", withWebhook(webhookOptions{address: ":9443", names: []string{"https://webhook"}}), "--webhook-names"},
		{"a webhook with many names", withWebhook(webhookOptions{address: ":9443", names: make([]string, 11)}), "--webhook-names"},
		{"a webhook with files that are not there", withWebhook(webhookOptions{address: ":9443", certDir: "/nonexistent"}), "--webhook-cert-dir"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.o.check()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("check = %v, want %q", err, tt.want)
			}
		})
	}
}

func withWebhook(w webhookOptions) options {
	return options{gatewayURL: "https://gateway.example.com", tokenTTL: time.Hour, overdueMinGrace: time.Minute, tombstoneTTL: time.Hour, keyOverlap: time.Hour, webhook: w}
}

func withGatewayTLS(g gatewayTLSOptions) options {
	o := withWebhook(webhookOptions{address: "0"})
	o.gatewayTLS = g
	return o
}

func TestTheCertificateIsForTheHostOfTheURLAndTheService(t *testing.T) {
	got := (&gatewayTLSOptions{}).namesFor("https://gateway.example.com:8443", "ops")
	if fmt.Sprint(got) != "[restic-manager-gateway.ops.svc gateway.example.com]" {
		t.Errorf("names are %v", got)
	}
	if got := (&gatewayTLSOptions{names: []string{"10.0.0.1"}}).namesFor("https://gateway.example.com", "ops"); fmt.Sprint(got) != "[10.0.0.1]" {
		t.Errorf("names are %v", got)
	}
}

func TestPins(t *testing.T) {
	dir := t.TempDir()
	ca, err := env.EnsureCA(filepath.Join(dir, "pki"), "test")
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := os.ReadFile(ca.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(ca.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(ca.Cert.RawSubjectPublicKeyInfo)
	pin := "sha256:" + base64.StdEncoding.EncodeToString(sum[:])
	tests := []struct {
		name    string
		content []byte
		want    []string
		wantErr string
	}{
		{"one authority", certificate, []string{pin}, ""},
		{"two of them", append(bytes.Clone(certificate), certificate...), []string{pin, pin}, ""},
		{"nothing", nil, nil, "no PEM certificate"},
		{"a key", key, nil, "only certificates belong there"},
		{"too many", bytes.Repeat(certificate, 13), nil, "at most 12"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(dir, "ca.pem")
			if err := os.WriteFile(file, tt.content, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := pinsOf(file)
			if fmt.Sprint(got) != fmt.Sprint(tt.want) || (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("pins %v, error %v; want %v, %q", got, err, tt.want, tt.wantErr)
			}
		})
	}
	if got, err := pinsOf(""); got != nil || err != nil {
		t.Errorf("without a file: %v, %v", got, err)
	}
}

func TestLoggerFlags(t *testing.T) {
	var out bytes.Buffer
	logger, err := newLogger(&out, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	logger.Info("hello", "host", "web-1")
	logger.V(1).Info("detail")
	if !strings.Contains(out.String(), `"host":"web-1"`) || strings.Contains(out.String(), "detail") {
		t.Errorf("logged %s", out.String())
	}
	for _, bad := range [][2]string{{"loud", "json"}, {"info", "xml"}} {
		if _, err := newLogger(&out, bad[0], bad[1]); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

// The whole program, under the account and permissions of an installation.
func TestTheProgramLeadsAndEnds(t *testing.T) {
	cp := env.Shared(t)
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range [][]string{{"-f", filepath.Join(root, "config/default/namespace.yaml")}, {"-k", filepath.Join(root, "config/rbac")}, {"-k", filepath.Join(root, "config/admission")}} {
		if _, err := cp.Kubectl(t.Context(), append([]string{"apply", "--server-side"}, path...)...); err != nil {
			t.Fatal(err)
		}
	}
	const namespace = "restic-manager-system"
	_, kubeconfig, err := cp.ServiceAccountConfig(t.Context(), namespace, "restic-manager-controller")
	if err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, time.Minute, "the API server knows the permissions", func(ctx context.Context) error {
		_, err := cp.Kubectl(ctx, "auth", "can-i", "list", "hosts.backup.restic-manager.io", "--as=system:serviceaccount:"+namespace+":restic-manager-controller")
		return err
	})
	port, err := env.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	probe := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if port, err = env.FreePort(); err != nil {
		t.Fatal(err)
	}
	webhook := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if err := stack.DeployWebhook(t.Context(), cp, webhook); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	command := newCommand()
	command.SetArgs([]string{"--kubeconfig=" + kubeconfig, "--namespace=" + namespace, "--gateway-url=https://gateway.example.com",
		"--metrics-bind-address=0", "--health-probe-bind-address=" + probe, "--webhook-bind-address=" + webhook, "--webhook-names=127.0.0.1", "--log-level=warn"})
	ended := make(chan error, 1)
	go func() { ended <- command.ExecuteContext(ctx) }()

	env.Eventually(t, time.Minute, "the program is ready", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+probe+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", response.Status)
		}
		return nil
	})
	if _, err := cp.Client().CoreV1().Secrets(namespace).Get(t.Context(), signing.SecretName, metav1.GetOptions{}); err != nil {
		t.Errorf("the signing key: %v", err)
	}
	holder := func(ctx context.Context) (string, error) {
		lease, err := cp.Client().CoordinationV1().Leases(namespace).Get(ctx, leaderLease, metav1.GetOptions{})
		if err != nil || lease.Spec.HolderIdentity == nil {
			return "", err
		}
		return *lease.Spec.HolderIdentity, nil
	}
	env.Eventually(t, time.Minute, "it leads", func(ctx context.Context) error {
		if name, err := holder(ctx); err != nil || name == "" {
			return fmt.Errorf("holder %q, %w", name, err)
		}
		return nil
	})
	env.Eventually(t, time.Minute, "it reconciles", func(ctx context.Context) error {
		namespaceOfHost := "default"
		const host = `{"apiVersion":"backup.restic-manager.io/v1alpha1","kind":"Host","metadata":{"name":"program-test"},` +
			`"spec":{"repository":{"url":"/srv/restic","credentialsSecretRef":{"name":"none"}}}}`
		if _, err := cp.KubectlInput(ctx, cp.AdminKubeconfig, host, "apply", "-n", namespaceOfHost, "-f", "-"); err != nil {
			return err
		}
		out, err := cp.Kubectl(ctx, "get", "-n", namespaceOfHost, "hosts.backup.restic-manager.io", "program-test", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].reason}`)
		if err != nil || out != "CredentialsMissing" {
			return fmt.Errorf("Ready has reason %q, %w", out, err)
		}
		return nil
	})

	env.Eventually(t, time.Minute, "its webhook answers", func(ctx context.Context) error { return stack.WebhookAnswers(ctx, cp) })

	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the program ended: %v", err)
	}
	if name, err := holder(t.Context()); err != nil || name != "" {
		t.Errorf("the Lease is still held by %q: %v", name, err)
	}
	entries, err := cp.Audit()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.User == "system:serviceaccount:"+namespace+":restic-manager-controller" && e.Code == http.StatusForbidden {
			t.Errorf("lacks a permission: %s", e)
		}
	}
}
