package env

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const certLifetime = 365 * 24 * time.Hour

// CA is a small certificate authority whose key and certificate lie in a folder as PEM files.
type CA struct {
	Dir      string
	CertFile string // ca.crt
	KeyFile  string // ca.key, 0600
	Cert     *x509.Certificate
	key      crypto.Signer
}

// Leaf is one certificate that a CA issued.
type Leaf struct {
	CertFile string
	KeyFile  string // 0600
	Cert     *x509.Certificate
	Pin      string // see SPKIPin
}

// LeafRequest says what a certificate stands for. Every leaf is good for clients and servers on loopback.
type LeafRequest struct {
	CommonName    string   // default: the leaf's name
	Organizations []string // groups, for a Kubernetes client certificate
	Hosts         []string // names and IP addresses beside localhost, 127.0.0.1 and ::1
}

// EnsureCA returns the CA in dir, and makes it when there is none.
func EnsureCA(dir, commonName string) (*CA, error) {
	ca := &CA{Dir: dir, CertFile: filepath.Join(dir, "ca.crt"), KeyFile: filepath.Join(dir, "ca.key")}
	pair, err := tls.LoadX509KeyPair(ca.CertFile, ca.KeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ca, ca.create(commonName)
	case err != nil:
		return nil, fmt.Errorf("loading the CA in %s: %w", dir, err)
	}
	ca.Cert = pair.Leaf
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the CA key %s cannot sign", ca.KeyFile)
	}
	ca.key = signer
	return ca, nil
}

func (ca *CA) create(commonName string) error {
	if err := os.MkdirAll(ca.Dir, 0o755); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template, err := newTemplate(pkix.Name{CommonName: commonName})
	if err != nil {
		return err
	}
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	ca.key = key
	ca.Cert, err = writePair(template, template, key, key, ca.CertFile, ca.KeyFile)
	return err
}

// Issue makes the files name.crt and name.key in the CA's folder. It replaces what is there.
func (ca *CA) Issue(name string, request LeafRequest) (*Leaf, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	commonName := request.CommonName
	if commonName == "" {
		commonName = name
	}
	template, err := newTemplate(pkix.Name{CommonName: commonName, Organization: request.Organizations})
	if err != nil {
		return nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, host := range append([]string{"localhost", "127.0.0.1", "::1"}, request.Hosts...) {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	leaf := &Leaf{CertFile: filepath.Join(ca.Dir, name+".crt"), KeyFile: filepath.Join(ca.Dir, name+".key")}
	leaf.Cert, err = writePair(template, ca.Cert, key, ca.key, leaf.CertFile, leaf.KeyFile)
	if err != nil {
		return nil, err
	}
	leaf.Pin = SPKIPin(leaf.Cert)
	return leaf, nil
}

// Pool returns a certificate pool with the CA alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	return pool
}

// SPKIPin returns "sha256:" and the standard base64 of the SHA-256 of the certificate's SubjectPublicKeyInfo.
func SPKIPin(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256:" + base64.StdEncoding.EncodeToString(sum[:])
}

func newTemplate(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               subject,
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(certLifetime),
		BasicConstraintsValid: true,
	}, nil
}

func writePair(template, parent *x509.Certificate, key *ecdsa.PrivateKey, signer crypto.Signer, certFile, keyFile string) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if err := writeKey(keyFile, key); err != nil {
		return nil, err
	}
	return cert, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

func writeKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

// ensureKey makes an ECDSA key file unless there is one.
func ensureKey(file string) error {
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return writeKey(file, key)
}
