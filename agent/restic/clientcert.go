package restic

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"os"
	"strings"
)

// maxCertificate is what a pipe takes without a reader, on every system.
const maxCertificate = 16 << 10

// certificatePEM returns the certificates and the key of a repository's client certificate, and nothing else that may stand between them: restic
// refuses other blocks (openssl writes "EC PARAMETERS"). Nil when there is none.
func (r Repository) certificatePEM() ([]byte, error) {
	if len(r.ClientCertificate) == 0 {
		return nil, nil
	}
	const field = "the client certificate of the repository"
	var kept bytes.Buffer
	for rest := r.ClientCertificate; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if strings.HasSuffix(block.Type, "CERTIFICATE") || strings.HasSuffix(block.Type, "PRIVATE KEY") {
			if err := pem.Encode(&kept, block); err != nil {
				return nil, invalid("%s cannot be read as PEM", field)
			}
		}
	}
	if kept.Len() > maxCertificate {
		return nil, invalid("%s has %d bytes, more than %d; leave out the certificates that the server has itself", field, kept.Len(), maxCertificate)
	}
	if _, err := tls.X509KeyPair(kept.Bytes(), kept.Bytes()); err != nil {
		return nil, invalid("%s is not usable (%v); it must be PEM with the certificate and its private key", field, err)
	}
	return kept.Bytes(), nil
}

// certificatePipe returns the reading end of a pipe that holds the client certificate: so the key lies on no disk, and whoever reads it first, which is
// restic at its start, leaves nothing for others. Nil when there is none.
func (r Repository) certificatePipe() (*os.File, error) {
	content, err := r.certificatePEM()
	if err != nil || content == nil {
		return nil, err
	}
	reading, writing, err := os.Pipe()
	if err != nil {
		return nil, notStarted(err, "cannot make a pipe for the client certificate: %v", err)
	}
	_, err = writing.Write(content)
	if closed := writing.Close(); err == nil {
		err = closed
	}
	if err != nil {
		reading.Close()
		return nil, notStarted(err, "cannot write the client certificate into a pipe: %v", err)
	}
	return reading, nil
}
