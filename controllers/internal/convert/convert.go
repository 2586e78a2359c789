// Package convert translates between the objects and the messages of the wire: names, keys and signatures, which are bytes there and base64 here.
// Its functions are pure: what is remembered changes no answer.
package convert

import (
	"encoding/base64"
	"errors"
	"fmt"

	"k8s.io/utils/lru"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// Ref is a Host's name on the wire.
func Ref(host *v1alpha1.Host) wire.HostRef {
	return wire.HostRef{Namespace: host.Namespace, Name: host.Name}
}

// Identity decodes two public keys. Its errors name the key.
func Identity(keys *v1alpha1.HostIdentity) (*wire.Identity, error) {
	identity := &wire.Identity{}
	var err error
	if identity.SigningKey, err = base64.StdEncoding.DecodeString(keys.SigningKey); err != nil {
		return nil, errors.New("signingKey is not base64")
	}
	if identity.SealingKey, err = base64.StdEncoding.DecodeString(keys.SealingKey); err != nil {
		return nil, errors.New("sealingKey is not base64")
	}
	if err := identity.Validate(); err != nil {
		return nil, err
	}
	if err := checkSealingKey([wire.KeySize]byte(identity.SealingKey)); err != nil {
		return nil, fmt.Errorf("sealingKey: %w", err)
	}
	return identity, nil
}

// maxChecked bounds the sealing keys that are known to be good: there is one for each machine of the fleet, and a Host is looked at again and again.
const maxChecked = 16 << 10

// checked are good sealing keys, which stay good. To check one takes longer than all the rest of Identity.
var checked = lru.New(maxChecked)

func checkSealingKey(key [wire.KeySize]byte) error {
	if _, known := checked.Get(key); known {
		return nil
	}
	if err := seal.CheckPublicKey(key[:]); err != nil {
		return err
	}
	checked.Add(key, nil)
	return nil
}

// HostIdentity encodes two public keys.
func HostIdentity(identity *wire.Identity) *v1alpha1.HostIdentity {
	return &v1alpha1.HostIdentity{
		SigningKey: base64.StdEncoding.EncodeToString(identity.SigningKey),
		SealingKey: base64.StdEncoding.EncodeToString(identity.SealingKey),
	}
}

// Signatures encodes signatures; never nil.
func Signatures(signed []wire.Signature) []v1alpha1.Signature {
	out := make([]v1alpha1.Signature, 0, len(signed))
	for _, s := range signed {
		out = append(out, v1alpha1.Signature{KeyID: s.KeyID, Value: base64.StdEncoding.EncodeToString(s.Value)})
	}
	return out
}

// WireSignatures decodes signatures; one that is not base64 is an error.
func WireSignatures(published []v1alpha1.Signature) ([]wire.Signature, error) {
	out := make([]wire.Signature, 0, len(published))
	for _, s := range published {
		value, err := base64.StdEncoding.DecodeString(s.Value)
		if err != nil {
			return nil, errors.New("a signature is not base64")
		}
		out = append(out, wire.Signature{KeyID: s.KeyID, Value: value})
	}
	return out, nil
}
