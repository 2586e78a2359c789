package desired

import (
	"crypto/ed25519"
	"encoding/base64"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// offerOf is a published set as it travels. What somebody damaged is sent as it is: the agent refuses it in words, which people then see
// in the status. An error says that the set is over a limit of the wire.
func offerOf(set *v1alpha1.ScheduleSet) (*wire.SetOffer, error) {
	offer := &wire.SetOffer{Revision: set.Spec.Revision, Bundle: set.Spec.Bundle, Signatures: signaturesOf(set.Spec.Signatures)}
	for _, c := range set.Spec.Credentials {
		offer.Credentials = append(offer.Credentials, wire.SealedCredential{Name: c.Name, Sealed: decode(c.Sealed, wire.MaxSealed)})
	}
	// Encoding checks every limit; better here, where it can be told, than in the writer.
	if _, err := wire.Encode("", offer); err != nil {
		return nil, err
	}
	return offer, nil
}

func signaturesOf(in []v1alpha1.Signature) []wire.Signature {
	out := make([]wire.Signature, 0, len(in))
	for _, s := range in {
		out = append(out, wire.Signature{KeyID: s.KeyID, Value: decode(s.Value, ed25519.SignatureSize)})
	}
	return out
}

// decode returns the bytes of a base64 text, or of the text itself where it is none.
func decode(text string, limit int) []byte {
	if value, err := base64.StdEncoding.DecodeString(text); err == nil {
		return value
	}
	return []byte(text)[:min(len(text), limit)]
}
