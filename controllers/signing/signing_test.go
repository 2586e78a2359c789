package signing_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/controllers/signing"
)

const namespace = "restic-manager-system"

func TestTheFirstStartMakesAKeyAndTheNextOnesUseIt(t *testing.T) {
	c := fake.NewClientBuilder().Build()
	first, err := signing.LoadOrCreate(context.Background(), c, namespace, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := signing.LoadOrCreate(context.Background(), c, namespace, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := seal.Verify("document", first.Sign("document"), second.PublicKeys()); err != nil {
		t.Errorf("the second start has other keys: %v", err)
	}
	if len(first.DigestKey()) != 32 || !bytes.Equal(first.DigestKey(), second.DigestKey()) {
		t.Error("the digest key is not stable")
	}
}

func TestTwoFirstStartsAtOnceAgree(t *testing.T) {
	var rival *signing.Keys
	c := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		// The rival creates between our look and our own creation.
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, opts ...client.CreateOption) error {
			if rival == nil {
				var err error
				if rival, err = signing.LoadOrCreate(ctx, c, namespace, nil); err != nil {
					t.Fatal(err)
				}
			}
			return c.Create(ctx, object, opts...)
		},
	})
	keys, err := signing.LoadOrCreate(context.Background(), c, namespace, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := seal.Verify("document", keys.Sign("document"), rival.PublicKeys()); err != nil {
		t.Errorf("the two have different keys: %v", err)
	}
}

func made(t *testing.T) []byte {
	t.Helper()
	c := fake.NewClientBuilder().Build()
	if _, err := signing.LoadOrCreate(context.Background(), c, namespace, nil); err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{}
	if err := c.Get(context.Background(), types.NamespacedName{Namespace: namespace, Name: signing.SecretName}, secret); err != nil {
		t.Fatal(err)
	}
	return secret.Data["signing-1.pem"]
}

func TestLoad(t *testing.T) {
	key := made(t)
	wrongKind, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(wrongKind)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		data    map[string][]byte
		keys    int
		wantErr string
	}{
		{"one key", map[string][]byte{"signing-1.pem": key}, 1, ""},
		{"several keys, all of them sign", map[string][]byte{"signing-1.pem": key, "signing-2.pem": made(t)}, 2, ""},
		{"other entries are left alone", map[string][]byte{"signing-1.pem": key, "README": []byte("keep this")}, 1, ""},
		{"no key", map[string][]byte{"README": nil}, 0, "no entry signing-N.pem"},
		{"a retired key signs, and is trusted no more", map[string][]byte{"retired-1.pem": key, "signing-2.pem": made(t)}, 1, ""},
		{"retired keys alone", map[string][]byte{"retired-1.pem": key}, 0, "no entry signing-N.pem"},
		{"the newest key retired", map[string][]byte{"signing-1.pem": key, "retired-2.pem": made(t)}, 0, "retired-2.pem is the newest key"},
		{"two keys with one number", map[string][]byte{"retired-1.pem": key, "signing-1.pem": made(t)}, 0, "same number"},
		{"not PEM", map[string][]byte{"signing-1.pem": []byte("hunter2")}, 0, "signing-1.pem is not a PEM block"},
		{"not PKCS#8", map[string][]byte{"signing-1.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})}, 0, "not a PKCS#8 key"},
		{"not Ed25519", map[string][]byte{"signing-1.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}, 0, "not an Ed25519 key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			keys, err := signing.Load(&corev1.Secret{Data: tt.data})
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("error %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || len(keys.PublicKeys()) != tt.keys || len(keys.Sign("x")) != len(keys.Entries()) {
				t.Errorf("error %v, want %d keys", err, tt.keys)
			}
		})
	}
}

func TestWhatIsKnownToBeSignedIsKnownOfItsKeysAlone(t *testing.T) {
	load := func(data map[string][]byte) *signing.Keys {
		t.Helper()
		keys, err := signing.Load(&corev1.Secret{Data: data})
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	first, second := made(t), made(t)
	one, both := load(map[string][]byte{"signing-1.pem": first}), load(map[string][]byte{"signing-1.pem": first, "signing-2.pem": second})
	ring := signing.NewRing(one)
	own, foreign := ring.Sign("document"), one.Sign("read from the API server")
	damaged := []wire.Signature{{KeyID: own[0].KeyID, Value: foreign[0].Value}}
	for _, tt := range []struct {
		name       string
		keys       *signing.Keys
		document   string
		signatures []wire.Signature
		want       bool
	}{
		{"what it signed", one, "document", own, true},
		{"what it had signed in another life", one, "read from the API server", foreign, true},
		{"another document", one, "document 2", own, false},
		{"a signature of another document", one, "document", damaged, false},
		{"no signature", one, "document", nil, false},
		{"what one of two keys has signed", both, "document", own, false},
		{"what both have signed", both, "document", both.Sign("document"), true},
		{"what both have signed, for the first key", one, "document", both.Sign("document"), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ring.Set(tt.keys)
			for range 2 { // the second answer may be a known one
				if got := ring.Signed(tt.document, tt.signatures); got != tt.want {
					t.Errorf("signed is %v", got)
				}
			}
		})
	}
}
