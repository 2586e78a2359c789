package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"time"
)

// backdate lets clocks be apart.
const backdate = time.Hour

// newAuthority makes a key and its self-signed certificate.
func (p Policy) newAuthority(now time.Time) (Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Authority{}, fmt.Errorf("making the key of an authority: %w", err)
	}
	template, err := template(p.Subject+" authority of "+now.UTC().Format(time.DateOnly), now, p.AuthorityLife)
	if err != nil {
		return Authority{}, err
	}
	template.IsCA, template.MaxPathLenZero = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	certificate, err := sign(template, template, key, key)
	return Authority{Certificate: certificate, Key: key}, err
}

// newCertificate makes a key and a certificate for names, DNS names or IP addresses. It does not outlive its authority.
func (p Policy) newCertificate(by Authority, names []string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of a certificate: %w", err)
	}
	template, err := template(p.Subject, now, p.CertificateLife)
	if err != nil {
		return nil, err
	}
	if template.NotAfter.After(by.Certificate.NotAfter) {
		template.NotAfter = by.Certificate.NotAfter
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	certificate, err := sign(template, by.Certificate, key, by.Key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key, Leaf: certificate}, nil
}

func template(name string, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(life), BasicConstraintsValid: true,
	}, nil
}

func sign(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// MadeAt is when a certificate was made.
func MadeAt(c *x509.Certificate) time.Time { return c.NotBefore.Add(backdate) }

// renewalOf is when two thirds of a certificate's life are over.
func renewalOf(c *x509.Certificate) time.Time {
	made := MadeAt(c)
	return made.Add(c.NotAfter.Sub(made) * 2 / 3)
}

// NamesOf are those that a certificate is good for, in no particular order.
func NamesOf(c *x509.Certificate) []string {
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}
