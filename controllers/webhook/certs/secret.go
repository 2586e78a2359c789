package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SecretName is the Secret with authority and certificate, in the operator's namespace.
const SecretName = "restic-manager-webhook-tls"

// Entries of the Secret: those of a kubernetes.io/tls Secret as cert-manager writes it, and the authority's key.
const (
	entryBundle       = "ca.crt"
	entryAuthorityKey = "ca.key"
	entryCertificate  = corev1.TLSCertKey
	entryKey          = corev1.TLSPrivateKeyKey
)

const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
)

// emptySecret has the type that tools know; the API server wants both entries of it.
func emptySecret(namespace string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: SecretName},
		Type:       corev1.SecretTypeTLS,
	}
}

// parse reads what can be read of a Secret. Each problem names an entry, never what it holds.
func parse(data map[string][]byte) (m material, problems []string) {
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	m.authorities = parseBundle(data[entryBundle], complain)
	if len(m.authorities) > 0 {
		key, fault := parseKey(data[entryAuthorityKey])
		switch {
		case fault != "":
			complain("%s %s", entryAuthorityKey, fault)
		case !key.PublicKey.Equal(m.authorities[0].PublicKey):
			complain("%s is not the key of the first certificate in %s", entryAuthorityKey, entryBundle)
		default:
			m.key = key
		}
	}
	pair, err := tls.X509KeyPair(data[entryCertificate], data[entryKey])
	switch {
	case err != nil: // what it says may quote the key
		complain("%s and %s are not a certificate and its key", entryCertificate, entryKey)
	case pair.Leaf == nil:
		complain("%s does not parse", entryCertificate)
	default:
		m.certificate = &pair
	}
	return m, problems
}

func parseBundle(data []byte, complain func(string, ...any)) []*x509.Certificate {
	var authorities []*x509.Certificate
	for len(authorities) < maxAuthorities {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if block.Type != pemCertificate || err != nil || !certificate.IsCA {
			complain("%s holds something that is no authority's certificate", entryBundle)
			continue
		}
		authorities = append(authorities, certificate)
	}
	if len(authorities) == 0 {
		complain("%s holds no authority's certificate", entryBundle)
	}
	return authorities
}

func parseKey(data []byte) (key *ecdsa.PrivateKey, fault string) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != pemKey {
		return nil, "is not a PEM block of type " + pemKey
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes) // what it says may quote the key
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return nil, "is not an ECDSA key in PKCS#8"
	}
	return key, ""
}

// store writes what parse reads.
func (m material) store(secret *corev1.Secret) error {
	authorityKey, err := encodeKey(m.key)
	if err != nil {
		return err
	}
	certificateKey, err := encodeKey(m.certificate.PrivateKey)
	if err != nil {
		return err
	}
	secret.Data = map[string][]byte{
		entryBundle: m.caBundle(), entryAuthorityKey: authorityKey,
		entryCertificate: encodeCertificate(m.certificate.Leaf), entryKey: certificateKey,
	}
	return nil
}

// caBundle is what API servers are to trust, in PEM.
func (m material) caBundle() []byte {
	var bundle bytes.Buffer
	for _, a := range m.authorities {
		bundle.Write(encodeCertificate(a))
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
