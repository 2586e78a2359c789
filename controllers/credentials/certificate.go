package credentials

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

const certificateKeys = v1alpha1.ClientCertificateKey + " and " + v1alpha1.ClientKeyKey

// joinCertificate makes one PEM text of a client certificate and its key, as restic's --tls-client-cert wants it; empty for neither. The error completes a
// sentence that begins with "… holds"; it never quotes a key.
func joinCertificate(certificate, key []byte) (string, error) {
	switch {
	case len(certificate) == 0 && len(key) == 0:
		return "", nil
	case len(key) == 0:
		return "", fmt.Errorf("%s without %s: a client certificate needs both; add its private key, or remove it", v1alpha1.ClientCertificateKey, v1alpha1.ClientKeyKey)
	case len(certificate) == 0:
		return "", fmt.Errorf("%s without %s: a client certificate needs both; add the certificate, or remove it", v1alpha1.ClientKeyKey, v1alpha1.ClientCertificateKey)
	}
	if _, err := tls.X509KeyPair(certificate, key); err != nil {
		return "", fmt.Errorf("%s that are not a certificate and its private key in PEM: %w", certificateKeys, harmless(err))
	}
	return strings.TrimRight(string(certificate), "\n") + "\n" + strings.TrimRight(string(key), "\n") + "\n", nil
}

// harmless keeps what crypto/tls says only where it says which of the two is wrong, and cannot quote any part of them.
func harmless(err error) error {
	text := err.Error()
	for _, known := range []string{
		"private key does not match public key",
		"failed to find any PEM data in certificate input",
		"failed to find any PEM data in key input",
	} {
		if strings.Contains(text, known) {
			return errors.New(known)
		}
	}
	return errors.New("one of them does not parse")
}
