package credentials

import (
	"context"
	"fmt"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/resticenv"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// Problem is what is wrong with a credentials Secret.
type Problem struct {
	// Reason is one of v1alpha1: ReasonCredentialsMissing, ReasonCredentialsNotLabeled, ReasonCredentialsInvalid, or ReasonInvalid for
	// a repository URL without a backend.
	Reason string
	// Message names Secret and key, and says what to do.
	Message string
	// Lasting says that nothing but a change of the Secret or the Host can help; a Secret that is missing may simply come later.
	Lasting bool
}

func (p *Problem) Error() string { return p.Message }

// Reader reads credentials Secrets.
type Reader struct {
	// Cache holds the labelled Secrets.
	Cache client.Reader
	// Live reads the metadata of a Secret that the cache does not have.
	Live client.Reader
}

// Read returns the credential in a Secret, judged for the backend of a repository URL. The error is a *Problem unless reading itself failed.
func (r *Reader) Read(ctx context.Context, namespace, name, repositoryURL string) (Plain, error) {
	backend, err := resticenv.Backend(repositoryURL)
	if err != nil {
		return Plain{}, &Problem{Reason: v1alpha1.ReasonInvalid, Message: "spec.repository.url " + err.Error(), Lasting: true}
	}
	secret := &corev1.Secret{}
	err = r.Cache.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return Plain{}, r.explainAbsence(ctx, namespace, name)
	}
	if err != nil {
		return Plain{}, fmt.Errorf("reading Secret %s: %w", name, err)
	}
	return Judge(secret, backend)
}

// explainAbsence tells a Secret without the label from one that does not exist.
func (r *Reader) explainAbsence(ctx context.Context, namespace, name string) error {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return &Problem{Reason: v1alpha1.ReasonCredentialsMissing, Message: fmt.Sprintf(
			"Secret %q (spec.repository.credentialsSecretRef) does not exist: create it in this namespace with %s and the label %s=true",
			name, resticenv.Password, v1alpha1.LabelCredentials)}
	case err != nil:
		return fmt.Errorf("reading the metadata of Secret %s: %w", name, err)
	case secret.Labels[v1alpha1.LabelCredentials] != "true":
		return notLabeled(namespace, name)
	}
	// Labelled by now; its event is on the way.
	return &Problem{Reason: v1alpha1.ReasonCredentialsMissing, Message: fmt.Sprintf("Secret %q was created a moment ago and is about to be read", name)}
}

func notLabeled(namespace, name string) error {
	return &Problem{Reason: v1alpha1.ReasonCredentialsNotLabeled, Message: fmt.Sprintf(
		"Secret %q is not marked as credentials for backups, so it is not read: kubectl -n %s label secret %s %s=true",
		name, namespace, name, v1alpha1.LabelCredentials)}
}

// Judge checks a Secret's label and keys for a backend.
func Judge(secret *corev1.Secret, backend string) (Plain, error) {
	if secret.Labels[v1alpha1.LabelCredentials] != "true" {
		return Plain{}, notLabeled(secret.Namespace, secret.Name)
	}
	environment := make(map[string]string, len(secret.Data))
	size := 0
	for key, value := range secret.Data {
		if !utf8.Valid(value) {
			return Plain{}, invalid(secret.Name, fmt.Sprintf("the variable %q with a value that is not text (UTF-8)", key))
		}
		environment[key] = string(value)
		size += len(key) + len(value)
	}
	if size > wire.MaxSealed/2 {
		return Plain{}, invalid(secret.Name, fmt.Sprintf("%d bytes, at most %d can be sent to a machine", size, wire.MaxSealed/2))
	}
	if err := resticenv.Check(backend, environment); err != nil {
		return Plain{}, invalid(secret.Name, err.Error())
	}
	return Plain{environment: environment}, nil
}

func invalid(secret, holds string) error {
	return &Problem{Reason: v1alpha1.ReasonCredentialsInvalid, Message: fmt.Sprintf("Secret %q holds %s", secret, holds), Lasting: true}
}
