package seal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/api/wire"
)

type machine struct {
	identity wire.Identity
	private  []byte
}

func newMachine(t *testing.T) machine {
	t.Helper()
	private, err := NewSealingKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := SealingPublicKey(private)
	if err != nil {
		t.Fatal(err)
	}
	signing, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return machine{identity: wire.Identity{SigningKey: signing, SealingKey: public}, private: private}
}

func TestOnlyTheRightKeyAndInfoOpenWhatWasSealed(t *testing.T) {
	m, other := newMachine(t), newMachine(t)
	sealed, err := Seal(m.identity.SealingKey, []byte("info"), []byte("a secret text"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("secret")) {
		t.Error("the sealed bytes hold the plaintext")
	}
	got, err := Open(m.private, []byte("info"), sealed)
	if err != nil || string(got) != "a secret text" {
		t.Fatalf("opened %q, %v", got, err)
	}
	again, err := Seal(m.identity.SealingKey, []byte("info"), []byte("a secret text"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(sealed, again) || Hash(sealed) == Hash(again) {
		t.Error("sealing is not randomised: equal secrets can be seen to be equal")
	}

	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	flippedKey := bytes.Clone(sealed)
	flippedKey[0] ^= 1
	for name, c := range map[string]struct{ private, info, sealed []byte }{
		"another machine's key":       {other.private, []byte("info"), sealed},
		"another info":                {m.private, []byte("inf"), sealed},
		"no info":                     {m.private, nil, sealed},
		"a flipped bit":               {m.private, []byte("info"), flipped},
		"a flipped encapsulated key":  {m.private, []byte("info"), flippedKey},
		"a cut text":                  {m.private, []byte("info"), sealed[:len(sealed)-1]},
		"less than an encapsulation":  {m.private, []byte("info"), sealed[:10]},
		"nothing":                     {m.private, []byte("info"), nil},
		"a private key that is short": {m.private[:31], []byte("info"), sealed},
	} {
		if got, err := Open(c.private, c.info, c.sealed); err == nil {
			t.Errorf("with %s it opens: %q", name, got)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("with %s the error holds the plaintext: %v", name, err)
		}
	}
}

func TestKeysOfTheWrongSizeAreErrors(t *testing.T) {
	if _, err := Seal([]byte("short"), nil, nil); err == nil || !strings.Contains(err.Error(), "sealing key") {
		t.Errorf("sealing to a short key gives %v", err)
	}
	// The all-zero point would give a shared secret that everybody knows.
	if _, err := Seal(make([]byte, wire.KeySize), nil, nil); err == nil {
		t.Error("sealing to the zero point succeeds")
	}
	if _, err := SealingPublicKey(nil); err == nil || !strings.Contains(err.Error(), "sealing key") {
		t.Errorf("the public half of nothing gives %v", err)
	}
}

func TestACredentialIsBoundToHostKeysAndName(t *testing.T) {
	m, other := newMachine(t), newMachine(t)
	host := wire.HostRef{Namespace: "shop", Name: "web-1"}
	want := wire.Credential{Environment: map[string]string{"RESTIC_PASSWORD": "hunter2hunter2", "RESTIC_REST_USERNAME": "web-1"}}
	sealed, err := SealCredential(host, m.identity, "repository", want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenCredential(host, m.identity.Hash(), m.private, sealed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("credential (-want +got):\n%s", diff)
	}

	renamed := sealed
	renamed.Name = "admin"
	for name, c := range map[string]struct {
		host   wire.HostRef
		hash   string
		key    []byte
		sealed wire.SealedCredential
	}{
		"another host":            {wire.HostRef{Namespace: "shop", Name: "web-2"}, m.identity.Hash(), m.private, sealed},
		"another namespace":       {wire.HostRef{Namespace: "other", Name: "web-1"}, m.identity.Hash(), m.private, sealed},
		"another identity":        {host, other.identity.Hash(), m.private, sealed},
		"another machine's key":   {host, m.identity.Hash(), other.private, sealed},
		"another name":            {host, m.identity.Hash(), m.private, renamed},
		"a key that is not there": {host, m.identity.Hash(), nil, sealed},
	} {
		got, err := OpenCredential(c.host, c.hash, c.key, c.sealed)
		if err == nil || got.Environment != nil {
			t.Errorf("with %s it opens", name)
			continue
		}
		if !strings.Contains(err.Error(), c.sealed.Name) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("with %s the error is %v", name, err)
		}
	}
}

func TestACredentialThatIsNoCredentialIsAnErrorWithoutItsContent(t *testing.T) {
	m := newMachine(t)
	host := wire.HostRef{Namespace: "shop", Name: "web-1"}
	sealed, err := Seal(m.identity.SealingKey, credentialInfo(host, m.identity.Hash(), "repository"), []byte(`{"environment":"hunter2hunter2"}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenCredential(host, m.identity.Hash(), m.private, wire.SealedCredential{Name: "repository", Sealed: sealed})
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "repository") {
		t.Errorf("error is %v", err)
	}
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newSigner(t *testing.T, keys ...ed25519.PrivateKey) *Signer {
	t.Helper()
	s, err := NewSigner(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestASignerNeedsWholeKeys(t *testing.T) {
	if _, err := NewSigner(); err == nil {
		t.Error("a signer without keys was made")
	}
	if _, err := NewSigner(newKey(t)[:32]); err == nil || !strings.Contains(err.Error(), "32 bytes, want 64") {
		t.Errorf("a signer with half a key gives %v", err)
	}
}

func TestSignaturesAndTheKeysThatAreTrusted(t *testing.T) {
	const document = `{"label":"example"}`
	a, b, c := newKey(t), newKey(t), newKey(t)
	onlyA, onlyB, both, stranger := newSigner(t, a), newSigner(t, b), newSigner(t, a, b), newSigner(t, c)
	for _, k := range both.PublicKeys() {
		if err := k.Validate(); err != nil {
			t.Error(err)
		}
	}
	forged := onlyA.Sign(document)
	forged[0].Value = stranger.Sign(document)[0].Value
	short := onlyA.Sign(document)
	short[0].Value = short[0].Value[:63]
	cutKey := []wire.SigningKey{{KeyID: onlyA.PublicKeys()[0].KeyID, PublicKey: onlyA.PublicKeys()[0].PublicKey[:31]}}

	for name, v := range map[string]struct {
		document   string
		signatures []wire.Signature
		trusted    []wire.SigningKey
		want       string // empty: verified
	}{
		"signed by the trusted key":                                {document, onlyA.Sign(document), onlyA.PublicKeys(), ""},
		"signed by both, the old one trusted":                      {document, both.Sign(document), onlyA.PublicKeys(), ""},
		"signed by both, the new one trusted":                      {document, both.Sign(document), onlyB.PublicKeys(), ""},
		"signed by the new one, both trusted":                      {document, onlyB.Sign(document), both.PublicKeys(), ""},
		"signed by the new one, the old one trusted":               {document, onlyB.Sign(document), onlyA.PublicKeys(), "no key that this machine trusts"},
		"signed by a stranger":                                     {document, stranger.Sign(document), both.PublicKeys(), "no key that this machine trusts"},
		"signed by the trusted key and a stranger":                 {document, append(onlyA.Sign(document), stranger.Sign(document)...), onlyA.PublicKeys(), ""},
		"signed by a stranger under the trusted key's id":          {document, forged, onlyA.PublicKeys(), "key " + onlyA.PublicKeys()[0].KeyID},
		"signed well by one and wrongly by another trusted key":    {document, append(onlyB.Sign(document), forged...), both.PublicKeys(), "key " + onlyA.PublicKeys()[0].KeyID},
		"signed with a signature that is cut":                      {document, short, onlyA.PublicKeys(), "key " + onlyA.PublicKeys()[0].KeyID},
		"changed after it was signed":                              {document + " ", onlyA.Sign(document), onlyA.PublicKeys(), "key " + onlyA.PublicKeys()[0].KeyID},
		"not signed":                                               {document, nil, onlyA.PublicKeys(), "not signed"},
		"signed, and nobody trusted":                               {document, onlyA.Sign(document), nil, "no key that this machine trusts"},
		"signed by a key of which only a part is known to be good": {document, onlyA.Sign(document), cutKey, "no key that this machine trusts"},
	} {
		t.Run("a document "+name, func(t *testing.T) {
			err := Verify(v.document, v.signatures, v.trusted)
			if v.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, wire.ErrBadSignature) || !strings.Contains(err.Error(), v.want) {
				t.Errorf("error is %v, want ErrBadSignature that says %q", err, v.want)
			}
		})
	}
}

func TestTheHashOfSealedBytesIsSHA256InHex(t *testing.T) {
	if got := Hash([]byte("abc")); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("hash is %s", got)
	}
}

func TestAKeyToWhichNothingCanBeSealedIsRefused(t *testing.T) {
	if err := CheckPublicKey(newMachine(t).identity.SealingKey); err != nil {
		t.Errorf("a machine's key: %v", err)
	}
	for name, key := range map[string][]byte{"zeros": make([]byte, wire.KeySize), "one": append([]byte{1}, make([]byte, wire.KeySize-1)...), "a short one": {1}} {
		if err := CheckPublicKey(key); err == nil {
			t.Errorf("%s is taken", name)
		}
		if _, err := Seal(key, nil, nil); err == nil {
			t.Errorf("something was sealed to %s", name)
		}
	}
}
