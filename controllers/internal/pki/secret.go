package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
)

// Entries of Secrets: those of a kubernetes.io/tls Secret as cert-manager writes it, and the keys of the authorities, as many as are known, one PEM block each.
const (
	EntryBundle       = "ca.crt"
	EntryAuthorityKey = "ca.key"
	EntryCertificate  = corev1.TLSCertKey
	EntryKey          = corev1.TLSPrivateKeyKey
)

const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
)

// Parse reads what can be read of a Secret that holds everything. Each problem names an entry, never what it holds.
func Parse(data map[string][]byte) (m Material, problems []string) {
	m.Authorities, problems = ParseAuthorities(data)
	var more []string
	m.Certificate, more = ParseCertificate(data)
	return m, append(problems, more...)
}

// ParseAuthorities reads EntryBundle and EntryAuthorityKey.
func ParseAuthorities(data map[string][]byte) (authorities []Authority, problems []string) {
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	authorities = parseBundle(data[EntryBundle], complain)
	if len(authorities) == 0 {
		return nil, problems
	}
	keys := parseKeys(data[EntryAuthorityKey], complain)
	for i := range authorities {
		for _, key := range keys {
			if key.PublicKey.Equal(authorities[i].Certificate.PublicKey) {
				authorities[i].Key = key
			}
		}
	}
	if len(keys) > 0 && authorities[0].Key == nil {
		complain("%s does not hold the key of the first certificate in %s", EntryAuthorityKey, EntryBundle)
	}
	return authorities, problems
}

// ParseCertificate reads EntryCertificate and EntryKey; nil for nothing that can be used.
func ParseCertificate(data map[string][]byte) (*tls.Certificate, []string) {
	pair, err := tls.X509KeyPair(data[EntryCertificate], data[EntryKey])
	switch {
	case err != nil: // what it says may quote the key
		return nil, []string{fmt.Sprintf("%s and %s are not a certificate and its key", EntryCertificate, EntryKey)}
	case pair.Leaf == nil:
		return nil, []string{EntryCertificate + " does not parse"}
	}
	return &pair, nil
}

func parseBundle(data []byte, complain func(string, ...any)) []Authority {
	var authorities []Authority
	for len(authorities) < MaxAuthorities {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if block.Type != pemCertificate || err != nil || !certificate.IsCA {
			complain("%s holds something that is no authority's certificate", EntryBundle)
			continue
		}
		authorities = append(authorities, Authority{Certificate: certificate})
	}
	if len(authorities) == 0 {
		complain("%s holds no authority's certificate", EntryBundle)
	}
	return authorities
}

func parseKeys(data []byte, complain func(string, ...any)) []*ecdsa.PrivateKey {
	var keys []*ecdsa.PrivateKey
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		switch {
		case block == nil && len(keys) == 0:
			complain("%s is not a PEM block of type %s", EntryAuthorityKey, pemKey)
			return nil
		case block == nil:
			return keys
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes) // what it says may quote the key
		key, ok := parsed.(*ecdsa.PrivateKey)
		if block.Type != pemKey || err != nil || !ok {
			complain("%s is not an ECDSA key in PKCS#8", EntryAuthorityKey)
			return keys
		}
		keys = append(keys, key)
	}
}

// Entries are what Parse reads.
func (m Material) Entries() (map[string][]byte, error) {
	entries, err := m.AuthorityEntries()
	if err != nil {
		return nil, err
	}
	certificate, err := m.CertificateEntries()
	if err != nil {
		return nil, err
	}
	maps.Copy(entries, certificate)
	return entries, nil
}

// AuthorityEntries are what ParseAuthorities reads.
func (m Material) AuthorityEntries() (map[string][]byte, error) {
	var keys bytes.Buffer
	for _, a := range m.Authorities {
		if a.Key == nil {
			continue
		}
		key, err := encodeKey(a.Key)
		if err != nil {
			return nil, err
		}
		keys.Write(key)
	}
	return map[string][]byte{EntryBundle: m.Bundle(), EntryAuthorityKey: keys.Bytes()}, nil
}

// CertificateEntries are what ParseCertificate reads: the certificate with the authority that signed it at the end, for clients that pin that.
func (m Material) CertificateEntries() (map[string][]byte, error) {
	key, err := encodeKey(m.Certificate.PrivateKey)
	if err != nil {
		return nil, err
	}
	chain := encodeCertificate(m.Certificate.Leaf)
	for _, a := range m.Authorities {
		if m.signedBy(a) {
			chain = append(chain, encodeCertificate(a.Certificate)...)
			break
		}
	}
	return map[string][]byte{EntryCertificate: chain, EntryKey: key}, nil
}

// Bundle is what clients are to trust, in PEM.
func (m Material) Bundle() []byte {
	var bundle bytes.Buffer
	for _, a := range m.Authorities {
		bundle.Write(encodeCertificate(a.Certificate))
	}
	return bundle.Bytes()
}

func encodeCertificate(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.Raw})
}

func encodeKey(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}
