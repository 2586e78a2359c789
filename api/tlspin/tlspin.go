package tlspin

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Prefix begins every pin.
const Prefix = "sha256:"

// Pin names the public key of a certificate: what a flag, a token or a Lease tells others to expect.
func Pin(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	return Prefix + base64.StdEncoding.EncodeToString(sum[:])
}

// Error says that the gateway's chain holds no pinned key: another machine answers in its place, or it has a new certificate.
type Error struct {
	// Presented are the pins of the chain, leaf first.
	Presented []string
}

func (e *Error) Error() string {
	return "the certificate of the gateway has none of the keys that this machine was told to expect; presented: " + strings.Join(e.Presented, ", ")
}

// Config for a gateway of that name, trusting pins alone, or the machine's trust store when there are none. TLS 1.2 at least.
func Config(serverName string, pins []string) (*tls.Config, error) {
	config := &tls.Config{ServerName: serverName, MinVersion: tls.VersionTLS12}
	if len(pins) == 0 {
		return config, nil
	}
	wanted := make(map[string]bool, len(pins))
	for _, p := range pins {
		raw, found := strings.CutPrefix(p, Prefix)
		sum, err := base64.StdEncoding.DecodeString(raw)
		if !found || err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("TLS pin %q is not of the form sha256:<base64 of 32 bytes>", p)
		}
		wanted[p] = true
	}
	// The library's own verification knows roots only, no leaf keys; VerifyConnection below replaces it, on resumed sessions too.
	config.InsecureSkipVerify = true
	config.VerifyConnection = func(state tls.ConnectionState) error {
		return verifyPinned(state.PeerCertificates, serverName, wanted)
	}
	return config, nil
}

func verifyPinned(chain []*x509.Certificate, serverName string, wanted map[string]bool) error {
	if len(chain) == 0 {
		return errors.New("the gateway presents no certificate")
	}
	presented := make([]string, 0, len(chain))
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	pinned := false
	for i, certificate := range chain {
		pin := Pin(certificate)
		presented = append(presented, pin)
		switch {
		case wanted[pin] && i == 0:
			return nil
		case wanted[pin] && certificate.IsCA:
			roots.AddCert(certificate)
			pinned = true
		case i > 0:
			intermediates.AddCert(certificate)
		}
	}
	if !pinned {
		return &Error{Presented: presented}
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		DNSName:       serverName,
		Roots:         roots,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}
