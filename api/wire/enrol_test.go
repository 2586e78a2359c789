package wire_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestATokenIsOneWordThatComesBack(t *testing.T) {
	word, err := sampleToken().Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(word, wire.TokenPrefix) || strings.ContainsAny(word, " \n'\"$") {
		t.Errorf("token %q is not one word for a shell", word)
	}
	for _, pasted := range []string{word, "  " + word + "\n"} {
		got, err := wire.ParseToken(pasted)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sampleToken(), got); diff != "" {
			t.Errorf("token (-want +got):\n%s", diff)
		}
	}
}

func TestADamagedTokenIsToldWithoutRepeatingIt(t *testing.T) {
	word, err := sampleToken().Encode()
	if err != nil {
		t.Fatal(err)
	}
	middle := len(word) / 2
	swapped := []byte(word)
	swapped[middle]++
	for name, damaged := range map[string]string{
		"empty":             "",
		"without a prefix":  strings.TrimPrefix(word, wire.TokenPrefix),
		"cut":               word[:middle],
		"cut by one letter": word[:len(word)-1],
		"changed":           string(swapped),
		"broken by a space": word[:middle] + " " + word[middle:],
		"twice":             word + word,
	} {
		_, err := wire.ParseToken(damaged)
		if !errors.Is(err, wire.ErrTokenDamaged) {
			t.Errorf("a token that is %s gives %v, want ErrTokenDamaged", name, err)
		}
	}
	invalid := sampleToken()
	invalid.URL = "http://gateway.example.com"
	if _, err := invalid.Encode(); err == nil || !strings.Contains(err.Error(), "https://") {
		t.Errorf("an invalid token was encoded: %v", err)
	}
}

func TestAProofBelongsToTokenHostAndKeys(t *testing.T) {
	token := sampleToken()
	proof := wire.EnrolProof(token.Secret, token.HostUID, token.ID, sampleIdentity)
	if !bytes.Equal(proof, sampleEnrolRequest().Proof) {
		t.Error("the same input gives another proof")
	}
	swapped := wire.Identity{SigningKey: sampleIdentity.SealingKey, SealingKey: sampleIdentity.SigningKey}
	for what, other := range map[string][]byte{
		"secret":          wire.EnrolProof(sum("another"), token.HostUID, token.ID, sampleIdentity),
		"host":            wire.EnrolProof(token.Secret, "another", token.ID, sampleIdentity),
		"token":           wire.EnrolProof(token.Secret, token.HostUID, "another", sampleIdentity),
		"order of keys":   wire.EnrolProof(token.Secret, token.HostUID, token.ID, swapped),
		"border of parts": wire.EnrolProof(token.Secret, token.HostUID+token.ID[:1], token.ID[1:], sampleIdentity),
	} {
		if bytes.Equal(other, proof) {
			t.Errorf("another %s gives the same proof", what)
		}
	}
	word, err := token.Encode()
	if err != nil {
		t.Fatal(err)
	}
	request := encodeDocument(t, sampleEnrolRequest())
	if strings.Contains(request, base64.StdEncoding.EncodeToString(token.Secret)) || strings.Contains(request, word) {
		t.Error("the request holds the token's secret")
	}
}

func TestAnErrorReadsAsASentence(t *testing.T) {
	e := &wire.Error{Code: wire.CodeBusy, Message: "come back later"}
	if e.Error() != "busy: come back later" {
		t.Errorf("error is %q", e.Error())
	}
	e.HelpURL = "https://restic-manager.io/busy"
	if e.Error() != "busy: come back later (https://restic-manager.io/busy)" {
		t.Errorf("error is %q", e.Error())
	}
}

func TestIdentityHashesAndHostNames(t *testing.T) {
	swapped := wire.Identity{SigningKey: sampleIdentity.SealingKey, SealingKey: sampleIdentity.SigningKey}
	if sampleIdentity.Hash() == swapped.Hash() {
		t.Error("the order of the keys does not matter to the hash")
	}
	if got := sampleHost.ResticHost(); got != "web-1.shop" {
		t.Errorf("restic host is %q", got)
	}
	if got := sampleHost.String(); got != "shop/web-1" {
		t.Errorf("host is %q", got)
	}
	if got := wire.TokenIDHash("x"); len(got) != 64 {
		t.Errorf("hash is %q", got)
	}
}
