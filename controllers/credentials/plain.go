package credentials

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

const digestLabel = "restic-manager/credential-digest/v1"

// Plain is a credential in the clear. It shows itself as "(credentials)" and nothing else.
type Plain struct{ environment map[string]string }

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
		// Length-prefixed, so that no two different inputs give the same bytes.
		fmt.Fprintf(mac, "%s\n%d\n%s%d\n%s", digestLabel, len(name), name, len(p.environment[name]), p.environment[name])
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// Seal encrypts the credential to a machine under a name.
func (p Plain) Seal(host wire.HostRef, identity wire.Identity, name string) (wire.SealedCredential, error) {
	return seal.SealCredential(host, identity, name, wire.Credential{Environment: p.environment})
}
