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

// Fields of a Host that name Secrets.
const (
	fieldOrdinary = "spec.repository.credentialsSecretRef"
	fieldAdmin    = "spec.repository.adminCredentialsSecretRef"
)

// Read returns the credential in a Secret, judged for the backend of a repository URL. The error is a *Problem unless reading itself failed.
func (r *Reader) Read(ctx context.Context, namespace, name, repositoryURL string) (Plain, error) {
	backend, err := backendOf(repositoryURL)
	if err != nil {
		return Plain{}, err
	}
	secret, err := r.get(ctx, namespace, name, fieldOrdinary)
	if err != nil {
		return Plain{}, err
	}
	return Judge(secret, backend)
}

// ReadAdmin returns the credential that may delete in a Secret, and the URL by which it goes: the one in the Secret (RESTIC_REPOSITORY) or else the
// repository's own. The error is a *Problem unless reading itself failed.
func (r *Reader) ReadAdmin(ctx context.Context, namespace, name, repositoryURL string) (Admin, error) {
	secret, err := r.get(ctx, namespace, name, fieldAdmin)
	if err != nil {
		return Admin{}, err
	}
	return JudgeAdmin(secret, repositoryURL)
}

func backendOf(repositoryURL string) (string, error) {
	backend, err := resticenv.Backend(repositoryURL)
	if err != nil {
		return "", &Problem{Reason: v1alpha1.ReasonInvalid, Message: "spec.repository.url " + err.Error(), Lasting: true}
	}
	return backend, nil
}

// get finds a labelled Secret; field is the one that names it.
func (r *Reader) get(ctx context.Context, namespace, name, field string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := r.Cache.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, r.explainAbsence(ctx, namespace, name, field)
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", name, err)
	}
	return secret, nil
}

// explainAbsence tells a Secret without the label from one that does not exist.
func (r *Reader) explainAbsence(ctx context.Context, namespace, name, field string) error {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return &Problem{Reason: v1alpha1.ReasonCredentialsMissing, Message: fmt.Sprintf(
			"Secret %q (%s) does not exist: create it in this namespace with %s and the label %s=true",
			name, field, resticenv.Password, v1alpha1.LabelCredentials)}
	case err != nil:
		return fmt.Errorf("reading the metadata of Secret %s: %w", name, err)
	}
	if err := checkLabel(secret); err != nil {
		return err
	}
	// Labelled by now; its event is on the way.
	return &Problem{Reason: v1alpha1.ReasonCredentialsMissing, Message: fmt.Sprintf("Secret %q was created a moment ago and is about to be read", name)}
}

func checkLabel(secret metav1.Object) error {
	if secret.GetLabels()[v1alpha1.LabelCredentials] == "true" {
		return nil
	}
	name := secret.GetName()
	return &Problem{Reason: v1alpha1.ReasonCredentialsNotLabeled, Message: fmt.Sprintf(
		"Secret %q is not marked as credentials for backups, so it is not read: kubectl -n %s label secret %s %s=true",
		name, secret.GetNamespace(), name, v1alpha1.LabelCredentials)}
}

// Judge checks a Secret's label and keys for a backend.
func Judge(secret *corev1.Secret, backend string) (Plain, error) { return judge(secret, backend, "") }

// JudgeAdmin checks a Secret with admin credentials for a repository.
func JudgeAdmin(secret *corev1.Secret, repositoryURL string) (Admin, error) {
	value, own := secret.Data[v1alpha1.AdminRepositoryKey]
	if !own {
		backend, err := backendOf(repositoryURL)
		if err != nil {
			return Admin{}, err
		}
		plain, err := Judge(secret, backend)
		return Admin{Plain: plain, URL: repositoryURL}, err
	}
	if err := checkLabel(secret); err != nil {
		return Admin{}, err
	}
	backend, err := checkAdminURL(value)
	if err != nil {
		return Admin{}, invalid(secret.Name, err.Error())
	}
	plain, err := judge(secret, backend, v1alpha1.AdminRepositoryKey)
	return Admin{Plain: plain, URL: string(value)}, err
}

// judge leaves one key out.
func judge(secret *corev1.Secret, backend, except string) (Plain, error) {
	if err := checkLabel(secret); err != nil {
		return Plain{}, err
	}
	certificate, err := joinCertificate(secret.Data[v1alpha1.ClientCertificateKey], secret.Data[v1alpha1.ClientKeyKey])
	if err != nil {
		return Plain{}, invalid(secret.Name, err.Error())
	}
	environment := make(map[string]string, len(secret.Data))
	size := len(certificate)
	for key, value := range secret.Data {
		switch key {
		case except, v1alpha1.ClientCertificateKey, v1alpha1.ClientKeyKey:
			continue
		}
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
	return Plain{environment: environment, certificate: certificate}, nil
}

func invalid(secret, holds string) error {
	return &Problem{Reason: v1alpha1.ReasonCredentialsInvalid, Message: fmt.Sprintf("Secret %q holds %s", secret, holds), Lasting: true}
}
