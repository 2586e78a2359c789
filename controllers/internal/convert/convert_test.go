package convert

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	identity := &wire.Identity{SigningKey: bytes.Repeat([]byte{1}, wire.KeySize), SealingKey: bytes.Repeat([]byte{2}, wire.KeySize)}
	for range 2 { // the second time, the key is known to be good
		if got, err := Identity(HostIdentity(identity)); err != nil || !cmp.Equal(got, identity) {
			t.Errorf("identity is %v, %v", got, err)
		}
	}
	signed := []wire.Signature{{KeyID: "a", Value: []byte{1, 2}}, {KeyID: "b", Value: []byte{3}}}
	if got, err := WireSignatures(Signatures(signed)); err != nil || !cmp.Equal(got, signed) {
		t.Errorf("signatures are %v, %v", got, err)
	}
	if got := Signatures(nil); got == nil || len(got) != 0 {
		t.Errorf("no signatures are %#v, want an empty list", got)
	}
}

func TestWhatIsNotAKeyIsToldByItsName(t *testing.T) {
	good := *HostIdentity(&wire.Identity{SigningKey: bytes.Repeat([]byte{1}, wire.KeySize), SealingKey: bytes.Repeat([]byte{2}, wire.KeySize)})
	for name, tt := range map[string]struct {
		change func(*v1alpha1.HostIdentity)
		says   string
	}{
		"a signing key that is not base64": {func(i *v1alpha1.HostIdentity) { i.SigningKey = "%" }, "signingKey is not base64"},
		"a sealing key that is not base64": {func(i *v1alpha1.HostIdentity) { i.SealingKey = "%" }, "sealingKey is not base64"},
		"a sealing key that is too short":  {func(i *v1alpha1.HostIdentity) { i.SealingKey = "AA==" }, "sealingKey"},
		"a sealing key of zeros":           {func(i *v1alpha1.HostIdentity) { i.SealingKey = strings.Repeat("A", 43) + "=" }, "sealingKey: nothing can be sealed"},
	} {
		t.Run(name, func(t *testing.T) {
			keys := good
			tt.change(&keys)
			for range 2 { // what is not good is not remembered
				if got, err := Identity(&keys); err == nil || !strings.Contains(err.Error(), tt.says) || got != nil {
					t.Errorf("%v, %v; want an error with %q", got, err, tt.says)
				}
			}
		})
	}
	if _, err := WireSignatures([]v1alpha1.Signature{{KeyID: "a", Value: "%"}}); err == nil {
		t.Error("a signature that is not base64 was decoded")
	}
}
