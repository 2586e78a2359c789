package host

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/restic-manager/restic-manager/api/resticenv"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// Variables of a minted Secret beside resticenv.Password.
const (
	restUsername = "RESTIC_REST_USERNAME"
	restPassword = "RESTIC_REST_PASSWORD"
)

// backendREST is the one backend whose own password can be made here as well: its server is told.
const backendREST = "rest"

// passwordSize is how many random bytes make a password.
const passwordSize = 32

// mintable are the backends that need no key which somebody else hands out.
var mintable = []string{backendREST, resticenv.Local, "sftp"}

// mintCredentials makes the Secret of a Host that names none, once: the Secret first, then status. A password is sealed to a machine only after
// status says that it was made, so one that was lost between the two never opened anything.
func (r *Reconciler) mintCredentials(ctx context.Context, host *v1alpha1.Host) error {
	if host.Spec.Repository.CredentialsSecretRef != nil || host.Status.MintedCredentials != nil {
		return nil
	}
	backend, err := resticenv.Backend(host.Spec.Repository.URL)
	if err != nil {
		return nil // told where the credentials are read
	}
	name := v1alpha1.MintedSecretName(host.Name)
	switch {
	case inUse(host):
		return status.Stalled(v1alpha1.ReasonCredentialsMissing,
			"spec.repository.credentialsSecretRef is gone, and the repository is in use: a password that is made now would not open it. Name the Secret again that holds its password; "+
				"to begin with an empty repository, change spec.repository.url as well")
	case !slices.Contains(mintable, backend):
		return status.Stalled(v1alpha1.ReasonCredentialsMissing,
			"spec.repository.credentialsSecretRef is needed: who runs the storage gives out the keys of %s: repositories, so they cannot be made here. Create a Secret with %s, those keys and the label %s=true, and name it there",
			backend, resticenv.Password, v1alpha1.LabelCredentials)
	case len(name) > validation.DNS1123SubdomainMaxLength:
		return status.Stalled(v1alpha1.ReasonCredentialsMissing,
			"spec.repository.credentialsSecretRef is needed: the name of this Host is too long to make a Secret %q for it", name)
	}
	made := metav1.NewTime(r.Clock.Now())
	said := "a repository password was made in Secret %s; the condition %s says how to keep it safe"
	switch err := r.createMinted(ctx, host, name, backend); {
	case apierrors.IsAlreadyExists(err):
		if made, err = r.ownMinted(ctx, host, name); err != nil {
			return err
		}
		said = "the repository password that was made earlier, in Secret %s, is used; the condition %s says how to keep it safe"
	case err != nil:
		return err
	}
	base := host.DeepCopy()
	host.Status.MintedCredentials = &v1alpha1.MintedCredentials{SecretName: name, Time: made}
	if err := status.Patch(ctx, r.Client, base, host, status.WithLock()); err != nil {
		return err
	}
	r.Recorder.Eventf(host, nil, corev1.EventTypeNormal, v1alpha1.EventCredentialsMinted, "Mint", said, name, v1alpha1.ConditionCredentialsExported)
	log.FromContext(ctx).Info("minted credentials", "secret", name)
	return nil
}

// inUse tells whether the machine has opened this very repository, with a password that was not made here.
func inUse(host *v1alpha1.Host) bool {
	seen := host.Status.Repository
	return seen != nil && strings.TrimSuffix(seen.URL, "/") == strings.TrimSuffix(host.Spec.Repository.URL, "/") &&
		(seen.State == string(wire.RepositoryReady) || host.Status.LastSuccessTime != nil)
}

// createMinted creates the Secret, unless the Host turns out to be another one than the cache has: its password may have been made already.
func (r *Reconciler) createMinted(ctx context.Context, host *v1alpha1.Host, name, backend string) error {
	now := &v1alpha1.Host{}
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(host), now); err != nil {
		return fmt.Errorf("reading the Host: %w", err)
	}
	if now.UID != host.UID || now.Generation != host.Generation || now.Status.MintedCredentials != nil || !now.DeletionTimestamp.IsZero() {
		return apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("hosts").GroupResource(), host.Name, errors.New("it changed since it was read"))
	}
	secret := &corev1.Secret{
		// Without an owner: the password stays when the Host goes, as the repository does.
		ObjectMeta: metav1.ObjectMeta{Namespace: host.Namespace, Name: name, Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
		Data:       map[string][]byte{resticenv.Password: newPassword()},
	}
	if label := hostLabel(host.Name); label != "" {
		secret.Labels[v1alpha1.LabelHost] = label
	}
	if backend == backendREST {
		secret.Data[restUsername], secret.Data[restPassword] = []byte(host.Name), newPassword()
	}
	err := r.Client.Create(ctx, secret, client.FieldOwner(v1alpha1.ManagerControllers))
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating Secret %s: %w", name, err)
	}
	return err
}

// ownMinted tells whether a Secret that is there already was made for a Host of this name, and when.
func (r *Reconciler) ownMinted(ctx context.Context, host *v1alpha1.Host, name string) (metav1.Time, error) {
	secret, err := r.secretMetadata(ctx, host.Namespace, name)
	switch {
	case err != nil:
		return metav1.Time{}, err
	case secret == nil:
		return metav1.Time{}, status.Waiting(v1alpha1.ReasonCredentialsMissing, conflictDelay, "Secret %q was deleted a moment ago", name)
	case secret.Labels[v1alpha1.LabelCredentials] == "true" && secret.Labels[v1alpha1.LabelHost] == hostLabel(host.Name):
		return secret.CreationTimestamp, nil
	}
	reason := v1alpha1.ReasonCredentialsInvalid
	if secret.Labels[v1alpha1.LabelCredentials] != "true" {
		reason = v1alpha1.ReasonCredentialsNotLabeled
	}
	return metav1.Time{}, status.Waiting(reason, missingSecretDelay,
		"Secret %q is in the way: a password would be made in a Secret of this name, since spec.repository.credentialsSecretRef is not set, and this one was not made for this Host. "+
			"If it opens the repository, name it there, with the label %s=true; if an earlier installation made it for this Host, add the label %s=%s as well; else rename or delete it",
		name, v1alpha1.LabelCredentials, v1alpha1.LabelHost, hostLabel(host.Name))
}

// usesMinted tells whether the Host's password is one that was made here: it is named by nobody, or by a person who wrote down what was made.
func usesMinted(host *v1alpha1.Host) bool {
	minted := host.Status.MintedCredentials
	return minted != nil && host.CredentialsSecretName() == minted.SecretName
}

// mintedSecret returns the Secret that was made for a Host; nil when it is gone or not labelled any more. The API server is asked when the cache does
// not have it: it may be new.
func (r *Reconciler) mintedSecret(ctx context.Context, host *v1alpha1.Host) (*corev1.Secret, error) {
	key := types.NamespacedName{Namespace: host.Namespace, Name: host.Status.MintedCredentials.SecretName}
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		seen, metadataErr := r.secretMetadata(ctx, key.Namespace, key.Name)
		if metadataErr != nil || seen == nil || seen.Labels[v1alpha1.LabelCredentials] != "true" {
			return nil, metadataErr
		}
		err = r.Live.Get(ctx, key, secret)
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", key.Name, err)
	}
	return secret, nil
}

// secretMetadata reads what a Secret is, never what is in it; nil when there is none.
func (r *Reconciler) secretMetadata(ctx context.Context, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	switch err := r.Live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, secret); {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the metadata of Secret %s: %w", name, err)
	}
	return secret, nil
}

// mintedMissing says what brings back a password that nobody can make again.
func mintedMissing(host *v1alpha1.Host) string {
	return fmt.Sprintf("Secret %q with the password that was made for this repository is gone, and another one would not open it, so none is made: "+
		"sudo restic-manager-agent export-credentials on the machine gives it back. Create the Secret from that (%s and what else it prints), with the label %s=true; "+
		"to begin with another repository instead, name a Secret of your own in spec.repository.credentialsSecretRef",
		host.Status.MintedCredentials.SecretName, resticenv.Password, v1alpha1.LabelCredentials)
}

// credentialsExported asks to keep a copy of a minted password where it survives the cluster. secret is nil when it is gone.
func credentialsExported(host *v1alpha1.Host, secret *corev1.Secret) (v verdictOn, present bool) {
	switch {
	case !usesMinted(host):
		return verdictOn{}, false
	case secret == nil:
		return verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonMintedSecretMissing, message: mintedMissing(host)}, true
	case secret.Annotations[v1alpha1.AnnotationExported] == "true":
		return verdictOn{status: metav1.ConditionTrue, reason: v1alpha1.ReasonExportConfirmed,
			message: fmt.Sprintf("the annotation on Secret %s says that a copy is kept outside the cluster", secret.Name)}, true
	}
	message := fmt.Sprintf("the password in Secret %[1]s was made here: without it the backups are lost. Keep a copy outside the cluster "+
		"(kubectl -n %[2]s get secret %[1]s -o yaml), then: kubectl -n %[2]s annotate secret %[1]s %[3]s=true", secret.Name, secret.Namespace, v1alpha1.AnnotationExported)
	if _, found := secret.Data[restPassword]; found {
		message += fmt.Sprintf(". Let the rest-server know its user, once: kubectl -n %s get secret %s -o jsonpath='{.data.%s}' | base64 -d | htpasswd -i -B FILE %s",
			secret.Namespace, secret.Name, restPassword, host.Name)
	}
	return verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonExportNotConfirmed, message: message}, true
}

// newPassword is random, and plain ASCII without characters that a shell or a URL would read otherwise.
func newPassword() []byte {
	random := make([]byte, passwordSize)
	_, _ = rand.Read(random) // never fails
	return base64.RawURLEncoding.AppendEncode(nil, random)
}

// hostLabel is the value of LabelHost; empty for a name that is too long for one.
func hostLabel(name string) string {
	if len(validation.IsValidLabelValue(name)) > 0 {
		return ""
	}
	return name
}
