package host

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// annotationMintedFor on the enrolment Secret holds what its token was asked for with, so that an interrupted mint is recognised.
const annotationMintedFor = "backup.restic-manager.io/minted-for"

// serialSlack is how far the clocks of two machines that run controllers may differ.
const serialSlack = time.Hour

// enrolmentSecret reads the Secret live; nil when there is none.
func (r *Reconciler) enrolmentSecret(ctx context.Context, host *v1alpha1.Host) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	name := types.NamespacedName{Namespace: host.Namespace, Name: v1alpha1.EnrollmentSecretName(host.Name)}
	switch err := r.Live.Get(ctx, name, secret); {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading Secret %s: %w", name.Name, err)
	}
	if !metav1.IsControlledBy(secret, host) {
		return nil, status.Waiting(v1alpha1.ReasonInvalid, missingSecretDelay,
			"Secret %q is in the way of the enrolment token and does not belong to this Host: rename or delete it", name.Name)
	}
	return secret, nil
}

// tokenIn returns the token in a Secret; nil for none, or for one that was changed by hand.
func tokenIn(secret *corev1.Secret) *wire.Token {
	if secret == nil {
		return nil
	}
	token, err := wire.ParseToken(string(secret.Data[keyToken]))
	if err != nil {
		return nil
	}
	return token
}

// follows tells whether a machine with this token would believe what is signed now. One that was minted with a key that is lost is of no use.
func (r *Reconciler) follows(token *wire.Token) bool {
	signed := r.Signer.Sign("")
	return token != nil && slices.ContainsFunc(token.SigningKeys, func(k wire.SigningKey) bool {
		return slices.ContainsFunc(signed, func(s wire.Signature) bool { return s.KeyID == k.KeyID })
	})
}

// newToken makes a token for a host. Serials are times: what was signed before now is older than the floor.
func (r *Reconciler) newToken(host *v1alpha1.Host, set *v1alpha1.ScheduleSet) (*wire.Token, error) {
	id, secret := make([]byte, 16), make([]byte, wire.TokenSecretSize)
	_, _ = rand.Read(id) // never fails
	_, _ = rand.Read(secret)
	now := r.Clock.Now()
	floor := now.Add(-serialSlack).UnixMicro()
	if set != nil {
		// The set in force is good for a machine that comes back with the same keys.
		floor = min(floor, set.Spec.Serial)
	}
	token := &wire.Token{
		URL: r.GatewayURL, Host: convert.Ref(host), HostUID: string(host.UID),
		ID: hex.EncodeToString(id), Secret: secret,
		NotAfter:    now.Add(r.TokenTTL).UTC().Truncate(time.Second), // as exact as the status that shows it
		SigningKeys: r.Signer.PublicKeys(), SerialFloor: floor, TLSPins: r.TLSPins(),
	}
	if err := token.Validate(); err != nil {
		return nil, fmt.Errorf("enrolment token: %w", err)
	}
	return token, nil
}

// usable tells whether a token that an interrupted reconciliation left is what would be minted now.
func (r *Reconciler) usable(secret *corev1.Secret, token *wire.Token, host *v1alpha1.Host) bool {
	return token != nil && token.HostUID == string(host.UID) &&
		secret.Annotations[annotationMintedFor] == host.Annotations[v1alpha1.AnnotationMintToken] &&
		r.Clock.Now().Before(token.NotAfter) &&
		token.URL == r.GatewayURL && slices.Equal(token.TLSPins, r.TLSPins()) &&
		reflect.DeepEqual(token.SigningKeys, r.Signer.PublicKeys())
}

// writeToken puts a token into the Secret, in place of what secret held.
func (r *Reconciler) writeToken(ctx context.Context, host *v1alpha1.Host, secret *corev1.Secret, token *wire.Token) error {
	text, err := token.Encode()
	if err != nil {
		return err
	}
	exists := secret != nil
	if !exists {
		secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: host.Namespace, Name: v1alpha1.EnrollmentSecretName(host.Name), OwnerReferences: []metav1.OwnerReference{ownerOf(host)},
		}}
	}
	if len(validation.IsValidLabelValue(host.Name)) == 0 { // a Host's name may be longer than a label
		metav1.SetMetaDataLabel(&secret.ObjectMeta, v1alpha1.LabelHost, host.Name)
	}
	metav1.SetMetaDataAnnotation(&secret.ObjectMeta, annotationMintedFor, host.Annotations[v1alpha1.AnnotationMintToken])
	secret.Data = r.lines(text)
	if exists {
		err = r.Client.Update(ctx, secret, client.FieldOwner(v1alpha1.ManagerControllers))
	} else {
		err = r.Client.Create(ctx, secret, client.FieldOwner(v1alpha1.ManagerControllers))
	}
	if err != nil {
		return fmt.Errorf("writing Secret %s: %w", secret.Name, err)
	}
	return nil
}

// deleteToken deletes the Secret; that it is gone already is fine.
func (r *Reconciler) deleteToken(ctx context.Context, secret *corev1.Secret) error {
	if secret == nil {
		return nil
	}
	err := r.Client.Delete(ctx, secret, client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting Secret %s: %w", secret.Name, err)
	}
	return nil
}

// ownerOf makes garbage collection remove an object with its Host. It does not block the Host's deletion, which would take more rights.
func ownerOf(host *v1alpha1.Host) metav1.OwnerReference {
	return metav1.OwnerReference{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "Host", Name: host.Name, UID: host.UID, Controller: ptr.To(true),
	}
}
