package signing

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// SecretName is the Secret with the signing keys, in the operator's namespace.
const SecretName = "restic-manager-signing-key"

const (
	keyPrefix      = "signing-"
	keySuffix      = ".pem"
	firstKey       = keyPrefix + "1" + keySuffix
	pemType        = "PRIVATE KEY"
	digestKeyLabel = "restic-manager/credential-digest-key/v1"
)

//+kubebuilder:rbac:groups="",namespace=restic-manager-system,resources=secrets,verbs=get;create

// Keys sign what agents obey.
type Keys struct {
	*seal.Signer
	digestKey []byte
}

// DigestKey is for keyed digests of credentials. It follows from the first signing key by name, so it changes when that one is replaced, and every
// revision with it.
func (k *Keys) DigestKey() []byte { return slices.Clone(k.digestKey) }

// LoadOrCreate returns the keys in the Secret, and makes the Secret with one key when there is none. c reads and writes live. Of several programs that
// start at once, one creates and all load the same.
func LoadOrCreate(ctx context.Context, c client.Client, namespace string) (*Keys, error) {
	secret := &corev1.Secret{}
	name := types.NamespacedName{Namespace: namespace, Name: SecretName}
	err := c.Get(ctx, name, secret)
	if apierrors.IsNotFound(err) {
		if secret, err = newSecret(namespace); err != nil {
			return nil, err
		}
		if err = c.Create(ctx, secret, client.FieldOwner(v1alpha1.ManagerControllers)); apierrors.IsAlreadyExists(err) {
			err = c.Get(ctx, name, secret)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("signing key: Secret %s: %w", name, err)
	}
	keys, err := Load(secret)
	if err != nil {
		return nil, fmt.Errorf("signing key: Secret %s: %w", name, err)
	}
	return keys, nil
}

// Load reads the keys in a Secret. The error names the entry, never what it holds.
func Load(secret *corev1.Secret) (*Keys, error) {
	var private []ed25519.PrivateKey
	for _, entry := range slices.Sorted(maps.Keys(secret.Data)) {
		if !strings.HasPrefix(entry, keyPrefix) || !strings.HasSuffix(entry, keySuffix) {
			continue
		}
		key, err := parse(secret.Data[entry])
		if err != nil {
			return nil, fmt.Errorf("%s %w: restore it from a backup; a new key would mean to enrol every machine again", entry, err)
		}
		private = append(private, key)
	}
	if len(private) == 0 {
		return nil, fmt.Errorf("there is no entry %s*%s: restore it from a backup, or delete the Secret to get a new key and enrol every machine again", keyPrefix, keySuffix)
	}
	if len(private) > wire.MaxSignatures {
		return nil, fmt.Errorf("there are %d keys, at most %d can be in use: remove old ones", len(private), wire.MaxSignatures)
	}
	signer, err := seal.NewSigner(private...)
	if err != nil {
		return nil, err
	}
	digestKey, err := hkdf.Key(sha256.New, private[0].Seed(), nil, digestKeyLabel, sha256.Size)
	if err != nil {
		return nil, err
	}
	return &Keys{Signer: signer, digestKey: digestKey}, nil
}

func parse(data []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != pemType {
		return nil, errors.New("is not a PEM block of type " + pemType)
	}
	// The error of x509 may quote bytes of the key.
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("is not a PKCS#8 key")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("is a %T, not an Ed25519 key", parsed)
	}
	return key, nil
}

func newSecret(namespace string) (*corev1.Secret, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: SecretName},
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{firstKey: pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})},
	}, nil
}
