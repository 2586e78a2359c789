package credentials

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

const digestLabel = "restic-manager/credential-digest/v1"

// Plain is a credential in the clear. It shows itself as "(credentials)" and nothing else.
type Plain struct {
	environment map[string]string
	// certificate is PEM, certificate and private key; empty for none.
	certificate string
}

// Format implements fmt.Formatter, so that no verb prints a value.
func (Plain) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(credentials)")) }

// MarshalJSON refuses: the only way out is Seal.
func (Plain) MarshalJSON() ([]byte, error) {
	return nil, errors.New("credentials are not marshalled, only sealed")
}

// Digest stands for the credential in a revision: an HMAC with a key that only the controllers have.
func (p Plain) Digest(key []byte) string {
	mac := hmac.New(sha256.New, key)
	for _, name := range slices.Sorted(maps.Keys(p.environment)) {
		digestPart(mac, name, p.environment[name])
	}
	if p.certificate != "" {
		// No variable has a name like this one.
		digestPart(mac, "="+certificateKeys, p.certificate)
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// digestPart prefixes lengths, so that no two different inputs give the same bytes.
func digestPart(w io.Writer, name, value string) {
	fmt.Fprintf(w, "%s\n%d\n%s%d\n%s", digestLabel, len(name), name, len(value), value)
}

// Seal encrypts the credential to a machine under a name.
func (p Plain) Seal(host wire.HostRef, identity wire.Identity, name string) (wire.SealedCredential, error) {
	return seal.SealCredential(host, identity, name, wire.Credential{Environment: p.environment, ClientCertificate: p.certificate})
}

// Admin is a credential that may delete.
type Admin struct {
	Plain
	// URL by which its access goes, without user or password.
	URL string
}
