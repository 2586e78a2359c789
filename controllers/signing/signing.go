package signing

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// SecretName is the Secret with the signing keys, in the operator's namespace.
const SecretName = "restic-manager-signing-key"

// EntryMakeNew in the Secret, with any value, asks for a key where there is none: whoever writes it knows that every machine has to be enrolled again.
const EntryMakeNew = "make-new"

//+kubebuilder:rbac:groups="",namespace=restic-manager-system,resources=secrets,verbs=get;create
//+kubebuilder:rbac:groups="",namespace=restic-manager-system,resources=secrets,resourceNames=restic-manager-signing-key,verbs=get;list;watch;update

// LoadOrCreate returns the keys in the Secret, and makes the Secret with one key where nothing was ever signed. c reads and writes live; watched are the
// namespaces of the installation, none means all. Of several programs that start at once, one creates and all load the same.
func LoadOrCreate(ctx context.Context, c client.Client, namespace string, watched []string) (*Keys, error) {
	keys, err := loadOrCreate(ctx, c, namespace, watched)
	if err != nil {
		return nil, fmt.Errorf("signing key: Secret %s/%s: %w", namespace, SecretName, err)
	}
	return keys, nil
}

func loadOrCreate(ctx context.Context, c client.Client, namespace string, watched []string) (*Keys, error) {
	secret := &corev1.Secret{}
	name := types.NamespacedName{Namespace: namespace, Name: SecretName}
	err := c.Get(ctx, name, secret)
	switch {
	case apierrors.IsNotFound(err):
		if err := nothingSigned(ctx, c, watched); err != nil {
			return nil, err
		}
		err = create(ctx, c, namespace, secret)
	case err == nil && asksForNew(secret):
		err = makeNew(ctx, c, secret)
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		err = c.Get(ctx, name, secret) // another one was faster
	}
	if err != nil {
		return nil, err
	}
	return Load(secret)
}

func create(ctx context.Context, c client.Client, namespace string, secret *corev1.Secret) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	*secret = *secretWith(namespace, map[string][]byte{entryOf(1, false): key})
	return c.Create(ctx, secret, client.FieldOwner(v1alpha1.ManagerControllers))
}

func secretWith(namespace string, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: SecretName},
		Type:       corev1.SecretTypeOpaque, Data: maps.Clone(data),
	}
}

// asksForNew never passes over a key that is there.
func asksForNew(secret *corev1.Secret) bool {
	_, asked := secret.Data[EntryMakeNew]
	return asked && !slices.ContainsFunc(slices.Collect(maps.Keys(secret.Data)), entryName.MatchString)
}

func makeNew(ctx context.Context, c client.Client, secret *corev1.Secret) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	delete(secret.Data, EntryMakeNew)
	secret.Data[entryOf(1, false)] = key
	return c.Update(ctx, secret, client.FieldOwner(v1alpha1.ManagerControllers))
}

// nothingSigned refuses to make a key when there are sets that another one signed: a person forgot to restore it, or has to say that it is lost.
func nothingSigned(ctx context.Context, c client.Client, watched []string) error {
	if len(watched) == 0 {
		watched = []string{metav1.NamespaceAll}
	}
	for _, namespace := range watched {
		sets := &metav1.PartialObjectMetadataList{}
		sets.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("ScheduleSetList"))
		err := c.List(ctx, sets, client.InNamespace(namespace), client.Limit(1))
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			return nil // without the CRD there is no set
		}
		if err != nil {
			return fmt.Errorf("looking for ScheduleSets that another key signed: %w", err)
		}
		if len(sets.Items) > 0 {
			return fmt.Errorf("it is missing, and ScheduleSet %s/%s was signed with its key: restore the Secret from a backup (docs/guides/disaster-recovery.md). If the key is lost for good, "+
				"`kubectl create secret generic %s --from-literal=%s=yes` in that namespace makes a new one, and every machine has to be enrolled again (docs/guides/signing-key.md)",
				sets.Items[0].Namespace, sets.Items[0].Name, SecretName, EntryMakeNew)
		}
	}
	return nil
}
