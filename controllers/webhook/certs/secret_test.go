package certs

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func storedData(t *testing.T, m material) map[string][]byte {
	t.Helper()
	secret := &corev1.Secret{}
	if err := m.store(secret); err != nil {
		t.Fatal(err)
	}
	return secret.Data
}

func TestWhatIsStoredIsRead(t *testing.T) {
	m, _ := mustRenew(t, material{}, names, began)
	m.key = nil
	m, _ = mustRenew(t, m, names, began)
	read, problems := parse(storedData(t, m))
	if len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
	if _, what := mustRenew(t, read, names, began); what != nil || len(read.authorities) != 2 || !bytes.Equal(read.caBundle(), m.caBundle()) {
		t.Errorf("%d authorities, and %v is renewed", len(read.authorities), what)
	}
}

// Whatever a Secret holds, there is a certificate afterwards that API servers with the new bundle take, and nothing quotes a key.
func TestGarbageInTheSecretIsReplaced(t *testing.T) {
	good, _ := mustRenew(t, material{}, names, began)
	other, _ := mustRenew(t, material{}, names, began)
	data, foreign := storedData(t, good), storedData(t, other)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := encodeKey(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	broken := func(kind string) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("broken")}) }
	for _, tt := range []struct {
		name     string
		entries  map[string][]byte // nil removes one
		problem  string
		replaced string
	}{
		{"an empty one", map[string][]byte{entryBundle: nil, entryAuthorityKey: nil, entryCertificate: nil, entryKey: nil}, "ca.crt holds no authority", "authority certificate"},
		{"noise everywhere", map[string][]byte{entryBundle: []byte("\x00\xff"), entryAuthorityKey: []byte("x"), entryCertificate: {}, entryKey: []byte("-----BEGIN")}, "ca.crt holds no authority", "authority certificate"},
		{"no key of the authority", map[string][]byte{entryAuthorityKey: nil}, "ca.key is not a PEM block", "authority"},
		{"a broken key of the authority", map[string][]byte{entryAuthorityKey: broken(pemKey)}, "ca.key is not an ECDSA key", "authority"},
		{"an RSA key of the authority", map[string][]byte{entryAuthorityKey: encoded}, "ca.key is not an ECDSA key", "authority"},
		{"the key of another authority", map[string][]byte{entryAuthorityKey: foreign[entryAuthorityKey]}, "ca.key is not the key of the first", "authority"},
		{"a bundle that begins with something broken", map[string][]byte{entryBundle: append(broken(pemCertificate), data[entryBundle]...)}, "no authority's certificate", ""},
		{"a bundle of certificates that are no authorities", map[string][]byte{entryBundle: data[entryCertificate]}, "ca.crt holds no authority", "authority certificate"},
		{"another authority", map[string][]byte{entryBundle: foreign[entryBundle], entryAuthorityKey: foreign[entryAuthorityKey]}, "", "certificate"},
		{"a key that is not the certificate's", map[string][]byte{entryKey: foreign[entryKey]}, "tls.crt and tls.key", "certificate"},
		{"a broken certificate", map[string][]byte{entryCertificate: broken(pemCertificate)}, "tls.crt and tls.key", "certificate"},
		{"a certificate for clients of somebody else", map[string][]byte{entryCertificate: foreign[entryCertificate], entryKey: foreign[entryKey]}, "", "certificate"},
		{"more authorities than are read", map[string][]byte{entryBundle: bytes.Repeat(data[entryBundle], 50)}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stored := maps.Clone(data)
			for entry, value := range tt.entries {
				if stored[entry] = value; value == nil {
					delete(stored, entry)
				}
			}
			m, problems := parse(stored)
			all := strings.Join(problems, "; ")
			if !strings.Contains(all, tt.problem) || (tt.problem == "") != (all == "") {
				t.Errorf("problems are %q, want %q", all, tt.problem)
			}
			now := began.Add(time.Minute)
			renewed, what := mustRenew(t, m, names, now)
			if got := strings.Join(what, " "); got != tt.replaced {
				t.Errorf("replaced %q, want %q", got, tt.replaced)
			}
			if err := verify(t, renewed.caBundle(), renewed, names[0], now); err != nil {
				t.Error(err)
			}
			if read, problems := parse(storedData(t, renewed)); len(problems) > 0 || read.key == nil {
				t.Errorf("what is stored then has problems: %v", problems)
			}
		})
	}
}

func TestTheCertificateIsWhatAPIServersWant(t *testing.T) {
	m, _ := mustRenew(t, material{}, []string{"webhook.example.svc", "127.0.0.1", "::1"}, began)
	for _, name := range []string{"webhook.example.svc", "127.0.0.1", "::1"} {
		if err := verify(t, m.caBundle(), m, name, began.Add(-backdate)); err != nil {
			t.Errorf("%s, by a clock that is an hour behind: %v", name, err)
		}
	}
	if err := verify(t, m.caBundle(), m, "other.example.svc", began); err == nil {
		t.Error("it is good for any name")
	}
	authority := m.authorities[0]
	if !authority.IsCA || authority.KeyUsage != x509.KeyUsageCertSign || !authority.MaxPathLenZero {
		t.Errorf("the authority may do more than sign certificates: %+v", authority.KeyUsage)
	}
	if leaf := m.certificate.Leaf; leaf.IsCA || len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth {
		t.Errorf("the certificate may do more than serve: %+v", leaf.ExtKeyUsage)
	}
}
