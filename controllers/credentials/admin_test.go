package credentials_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/controllers/credentials"
)

const ownURL = "rest:https://backup.example.com/web-1"

func TestJudgeAdmin(t *testing.T) {
	tests := []struct {
		name   string
		secret *corev1.Secret
		url    string // empty: there is a problem
		says   []string
	}{
		{"without a URL it goes the way of everybody", secret(), ownURL, nil},
		{"with one it goes another way", secret(holding("RESTIC_REPOSITORY", "rest:https://backup.example.com:8001/web-1")), "rest:https://backup.example.com:8001/web-1", nil},
		{"beside the repository that may be a folder", secret(holding("RESTIC_REPOSITORY", "/srv/restic/web 1"), without("RESTIC_REST_USERNAME")), "/srv/restic/web 1", nil},
		{"the variables are judged for the backend of that URL", secret(holding("RESTIC_REPOSITORY", "/srv/restic/web-1")), "", []string{"RESTIC_REST_USERNAME", "local repository"}},
		{"an empty URL is no URL", secret(holding("RESTIC_REPOSITORY", "")), "", []string{"web-1-repo", "an empty RESTIC_REPOSITORY"}},
		{"nor is one without a backend", secret(holding("RESTIC_REPOSITORY", "backup.example.com")), "", []string{"RESTIC_REPOSITORY that begins with no backend"}},
		{"a password may not be in it", secret(holding("RESTIC_REPOSITORY", "rest:https://web-1:"+password+"@backup.example.com/")), "", []string{"password inside the URL", "RESTIC_REST_PASSWORD"}},
		{"a user neither", secret(holding("RESTIC_REPOSITORY", "rest:https://web-1@backup.example.com/")), "", []string{"user or password"}},
		{"a line break, as echo leaves it, is told", secret(holding("RESTIC_REPOSITORY", ownURL+"\n")), "", []string{"RESTIC_REPOSITORY with a line break"}},
		{"a URL that is too long is told", secret(holding("RESTIC_REPOSITORY", "rest:"+strings.Repeat("x", 2048))), "", []string{"at most 2048"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			admin, err := credentials.JudgeAdmin(tt.secret, ownURL)
			if tt.url == "" {
				checkProblem(t, err, "CredentialsInvalid", tt.says, true)
				return
			}
			if err != nil || admin.URL != tt.url {
				t.Fatalf("URL %q, %v; want %q", admin.URL, err, tt.url)
			}
			if opened := open(t, admin.Plain); opened.Environment["RESTIC_REPOSITORY"] != "" || opened.Environment["RESTIC_PASSWORD"] != password {
				t.Errorf("the variables are %d, with the URL among them or without the password", len(opened.Environment))
			}
		})
	}
	unlabelled := secret(func(s *corev1.Secret) { s.Labels = nil }, holding("RESTIC_REPOSITORY", "?"))
	_, err := credentials.JudgeAdmin(unlabelled, ownURL)
	checkProblem(t, err, "CredentialsNotLabeled", nil, false)
	_, err = credentials.JudgeAdmin(secret(), "backup.example.com")
	checkProblem(t, err, "Invalid", []string{"spec.repository.url"}, true)
	_, err = credentials.Judge(secret(holding("RESTIC_REPOSITORY", ownURL)), "rest")
	checkProblem(t, err, "CredentialsInvalid", []string{"RESTIC_REPOSITORY"}, true)
}

func TestReadAdmin(t *testing.T) {
	reader := func(cached ...client.Object) credentials.Reader {
		return credentials.Reader{Cache: fake.NewClientBuilder().WithObjects(cached...).Build(), Live: fake.NewClientBuilder().Build()}
	}
	with := reader(secret())
	if admin, err := with.ReadAdmin(context.Background(), "shop", "web-1-repo", ownURL); err != nil || admin.URL != ownURL {
		t.Errorf("URL %q, %v", admin.URL, err)
	}
	none := reader()
	_, err := none.ReadAdmin(context.Background(), "shop", "web-1-admin", ownURL)
	checkProblem(t, err, "CredentialsMissing", []string{"spec.repository.adminCredentialsSecretRef", "web-1-admin"}, false)
}

func open(t *testing.T, plain credentials.Plain) wire.Credential {
	t.Helper()
	private, err := seal.NewSealingKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := seal.SealingPublicKey(private)
	if err != nil {
		t.Fatal(err)
	}
	host := wire.HostRef{Namespace: "shop", Name: "web-1"}
	identity := wire.Identity{SigningKey: make([]byte, 32), SealingKey: public}
	sealed, err := plain.Seal(host, identity, wire.CredentialAdmin)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := seal.OpenCredential(host, identity.Hash(), private, sealed)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// pair makes a certificate and its key, PEM.
func pair(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

func TestClientCertificate(t *testing.T) {
	certificate, key := pair(t)
	_, otherKey := pair(t)
	judge := func(change ...func(*corev1.Secret)) (credentials.Plain, error) {
		return credentials.Judge(secret(change...), "rest")
	}

	plain, err := judge(holding("tls.crt", certificate), holding("tls.key", strings.TrimSpace(key)))
	if err != nil {
		t.Fatal(err)
	}
	opened := open(t, plain)
	if len(opened.Environment) != 2 {
		t.Errorf("%d variables, want the certificate apart from them", len(opened.Environment))
	}
	if _, err := tls.X509KeyPair([]byte(opened.ClientCertificate), []byte(opened.ClientCertificate)); err != nil {
		t.Errorf("what travels is not both in one text: %v", err)
	}
	without, err := judge()
	if err != nil {
		t.Fatal(err)
	}
	otherCertificate, other := pair(t)
	renewed, err := judge(holding("tls.crt", otherCertificate), holding("tls.key", other))
	if err != nil {
		t.Fatal(err)
	}
	if d := plain.Digest(nil); d == without.Digest(nil) || d == renewed.Digest(nil) {
		t.Error("the digest does not tell one certificate from another, or from none")
	}

	for name, tt := range map[string]struct {
		certificate, key string
		says             []string
	}{
		"a certificate alone":             {certificate, "", []string{"web-1-repo", "tls.crt without tls.key"}},
		"a key alone":                     {"", key, []string{"tls.key without tls.crt"}},
		"a key of another certificate":    {certificate, otherKey, []string{"tls.crt and tls.key", "does not match"}},
		"a certificate that is no PEM":    {password, key, []string{"certificate input"}},
		"a key that is no PEM":            {certificate, password, []string{"key input"}},
		"a certificate that is cut short": {certificate[:len(certificate)/2] + "\n-----END CERTIFICATE-----\n", key, []string{"tls.crt and tls.key"}},
	} {
		t.Run(name, func(t *testing.T) {
			var changes []func(*corev1.Secret)
			if tt.certificate != "" {
				changes = append(changes, holding("tls.crt", tt.certificate))
			}
			if tt.key != "" {
				changes = append(changes, holding("tls.key", tt.key))
			}
			_, err := judge(changes...)
			checkProblem(t, err, "CredentialsInvalid", tt.says, true)
		})
	}
}
