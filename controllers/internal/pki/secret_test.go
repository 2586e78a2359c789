package pki

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
)

func storedData(t *testing.T, m Material) map[string][]byte {
	t.Helper()
	entries, err := m.Entries()
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestWhatIsStoredIsRead(t *testing.T) {
	m, _ := mustRenew(t, Material{}, names, began)
	loseKeys(&m)
	m, _ = mustRenew(t, m, names, began)
	read, problems := Parse(storedData(t, m))
	if len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
	if _, what := mustRenew(t, read, names, began); what != nil || len(read.Authorities) != 2 || !bytes.Equal(read.Bundle(), m.Bundle()) {
		t.Errorf("%d authorities, and %v is renewed", len(read.Authorities), what)
	}
}

// Whatever a Secret holds, there is a certificate afterwards that API servers with the new bundle take, and nothing quotes a key.
func TestGarbageInTheSecretIsReplaced(t *testing.T) {
	good, _ := mustRenew(t, Material{}, names, began)
	other, _ := mustRenew(t, Material{}, names, began)
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
		{"an empty one", map[string][]byte{EntryBundle: nil, EntryAuthorityKey: nil, EntryCertificate: nil, EntryKey: nil}, "ca.crt holds no authority", "authority certificate"},
		{"noise everywhere", map[string][]byte{EntryBundle: []byte("\x00\xff"), EntryAuthorityKey: []byte("x"), EntryCertificate: {}, EntryKey: []byte("-----BEGIN")}, "ca.crt holds no authority", "authority certificate"},
		{"no key of the authority", map[string][]byte{EntryAuthorityKey: nil}, "ca.key is not a PEM block", "authority"},
		{"a broken key of the authority", map[string][]byte{EntryAuthorityKey: broken(pemKey)}, "ca.key is not an ECDSA key", "authority"},
		{"an RSA key of the authority", map[string][]byte{EntryAuthorityKey: encoded}, "ca.key is not an ECDSA key", "authority"},
		{"the key of another authority", map[string][]byte{EntryAuthorityKey: foreign[EntryAuthorityKey]}, "ca.key does not hold the key of the first", "authority"},
		{"a bundle that begins with something broken", map[string][]byte{EntryBundle: append(broken(pemCertificate), data[EntryBundle]...)}, "no authority's certificate", ""},
		{"a bundle of certificates that are no authorities", map[string][]byte{EntryBundle: encodeCertificate(good.Certificate.Leaf)}, "ca.crt holds no authority", "authority certificate"},
		{"another authority", map[string][]byte{EntryBundle: foreign[EntryBundle], EntryAuthorityKey: foreign[EntryAuthorityKey]}, "", "certificate"},
		{"a key that is not the certificate's", map[string][]byte{EntryKey: foreign[EntryKey]}, "tls.crt and tls.key", "certificate"},
		{"a broken certificate", map[string][]byte{EntryCertificate: broken(pemCertificate)}, "tls.crt and tls.key", "certificate"},
		{"a certificate for clients of somebody else", map[string][]byte{EntryCertificate: foreign[EntryCertificate], EntryKey: foreign[EntryKey]}, "", "certificate"},
		{"more authorities than are read", map[string][]byte{EntryBundle: bytes.Repeat(data[EntryBundle], 50)}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stored := maps.Clone(data)
			for entry, value := range tt.entries {
				if stored[entry] = value; value == nil {
					delete(stored, entry)
				}
			}
			m, problems := Parse(stored)
			all := strings.Join(problems, "; ")
			if !strings.Contains(all, tt.problem) || (tt.problem == "") != (all == "") {
				t.Errorf("problems are %q, want %q", all, tt.problem)
			}
			now := began.Add(time.Minute)
			renewed, what := mustRenew(t, m, names, now)
			if got := strings.Join(what, " "); got != tt.replaced {
				t.Errorf("replaced %q, want %q", got, tt.replaced)
			}
			if err := verify(t, renewed.Bundle(), renewed, names[0], now); err != nil {
				t.Error(err)
			}
			if read, problems := Parse(storedData(t, renewed)); len(problems) > 0 || read.Authorities[0].Key == nil {
				t.Errorf("what is stored then has problems: %v", problems)
			}
		})
	}
}

func TestTheCertificateIsWhatAPIServersWant(t *testing.T) {
	m, _ := mustRenew(t, Material{}, []string{"webhook.example.svc", "127.0.0.1", "::1"}, began)
	for _, name := range []string{"webhook.example.svc", "127.0.0.1", "::1"} {
		if err := verify(t, m.Bundle(), m, name, began.Add(-backdate)); err != nil {
			t.Errorf("%s, by a clock that is an hour behind: %v", name, err)
		}
	}
	if err := verify(t, m.Bundle(), m, "other.example.svc", began); err == nil {
		t.Error("it is good for any name")
	}
	authority := m.Authorities[0].Certificate
	if !authority.IsCA || authority.KeyUsage != x509.KeyUsageCertSign || !authority.MaxPathLenZero {
		t.Errorf("the authority may do more than sign certificates: %+v", authority.KeyUsage)
	}
	if leaf := m.Certificate.Leaf; leaf.IsCA || len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth {
		t.Errorf("the certificate may do more than serve: %+v", leaf.ExtKeyUsage)
	}
}
