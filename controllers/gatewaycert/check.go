package gatewaycert

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Flag is what names the Secret.
const Flag = "--gateway-tls-secret"

// Label marks the Secrets that the Keeper made. Its value is "true".
const Label = "backup.restic-manager.io/gateway-certificate"

// authoritySuffix ends the name of the Secret with the authorities' keys.
const authoritySuffix = "-authority"

// ForeignError says that a Secret is in the way.
type ForeignError struct{ Name types.NamespacedName }

// Error implements error.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s: the Secret %s was not made by the controllers (it has no label %s) and is left as it is: name another one, "+
		"delete it if its certificate is not needed any more, or leave the flag out and give its authority with --gateway-ca-file", Flag, e.Name, Label)
}

// Check tells whether the Secrets of that name are there for the Keeper to make or to keep.
func Check(ctx context.Context, c client.Reader, namespace, name string) error {
	for _, n := range []string{name, name + authoritySuffix} {
		secret := &corev1.Secret{}
		key := types.NamespacedName{Namespace: namespace, Name: n}
		err := c.Get(ctx, key, secret)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: the Secret %s: %w", Flag, key, err)
		}
		if err := own(secret); err != nil {
			return err
		}
	}
	return nil
}

func own(secret *corev1.Secret) error {
	if secret.Labels[Label] != "true" {
		return &ForeignError{client.ObjectKeyFromObject(secret)}
	}
	return nil
}
