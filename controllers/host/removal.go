package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// heirPatience is how long a Host waits until the machine of an earlier Host of its name was told that it was removed: an agent that is connected
// acks within a second.
const heirPatience = 30 * time.Second

// fate is what becomes of a set whose Host is gone.
type fate int

const (
	// fateWait: the machine has not acked its tombstone yet.
	fateWait fate = iota
	// fateBury: the tombstone is to be written.
	fateBury
	// fateForget: the set is to be deleted.
	fateForget
)

// fateOf decides about a set whose Host is gone. buried says that it is a tombstone as it would be written now; patience is how long that is kept for
// a machine that does not come. again is when to look once more, for fateWait.
func fateOf(set *v1alpha1.ScheduleSet, buried bool, now time.Time, patience time.Duration) (f fate, again time.Duration) {
	switch {
	case !set.DeletionTimestamp.IsZero():
		return fateWait, 0 // somebody else's finalizer is on it
	case set.Status.Connection == nil:
		return fateForget, 0 // no machine ever had it
	case !buried:
		return fateBury, 0
	case set.Status.AppliedRevision == set.Spec.Revision:
		return fateForget, 0
	}
	// A serial is the time at which a set was written, or a little later.
	if left := time.UnixMicro(set.Spec.Serial).Add(patience).Sub(now); left > 0 {
		return fateWait, left
	}
	return fateForget, 0
}

// namespaceEnds passes namespaces that are being deleted. It takes some seconds until what is in them goes: enough to tell the machines that are connected.
var namespaceEnds = predicate.NewPredicateFuncs(func(namespace client.Object) bool { return !namespace.GetDeletionTimestamp().IsZero() })

func (r *Reconciler) setsOfNamespace(ctx context.Context, namespace client.Object) []ctrl.Request {
	sets := &v1alpha1.ScheduleSetList{}
	if err := r.Client.List(ctx, sets, client.InNamespace(namespace.GetName()), client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "listing the ScheduleSets of a namespace that is being deleted", "namespace", namespace.GetName())
		return nil
	}
	requests := make([]ctrl.Request, 0, len(sets.Items))
	for i := range sets.Items {
		requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&sets.Items[i])})
	}
	return requests
}

// removed ends the set of a Host that is gone or is being deleted, by itself or with its namespace, step by step: a tombstone, and nothing once the machine
// has it.
func (r *Reconciler) removed(ctx context.Context, name types.NamespacedName) (ctrl.Result, error) {
	set := &v1alpha1.ScheduleSet{}
	if err := r.Client.Get(ctx, name, set); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	_, again, err := r.end(ctx, set, "", r.TombstoneTTL)
	return ctrl.Result{RequeueAfter: again}, err
}

// succeed deals with a set under the Host's name that was made for another Host, and another machine. Its machine is told first, for a moment when this Host
// has a set of its own to publish, and as long as for any removed Host while it has not. f.set is nil afterwards.
func (r *Reconciler) succeed(ctx context.Context, host *v1alpha1.Host, f *facts) error {
	set, patience := f.set, r.TombstoneTTL
	f.set = nil
	ready := f.identity != nil && f.credentialErr == nil
	if ready {
		patience = heirPatience
	}
	gone, again, err := r.end(ctx, set, host.UID, patience)
	switch {
	case err != nil || gone:
		return err
	case ready:
		return status.Waiting(v1alpha1.ReasonNotPublished, again,
			"the machine of an earlier Host of this name is told first that it was removed; this Host's set follows, within %s", heirPatience)
	}
	f.again = again
	return nil
}

// end takes the next step with a set whose Host is gone; heir is the UID of the Host that has its name now, empty for none. again is when to look
// once more; gone says that the set is deleted.
func (r *Reconciler) end(ctx context.Context, set *v1alpha1.ScheduleSet, heir types.UID, patience time.Duration) (gone bool, again time.Duration, err error) {
	behind, wait := outrun(set, r.Clock.Now())
	step, again := fateOf(set, r.buried(set) && (!behind || wait > 0), r.Clock.Now(), patience)
	if step == fateWait {
		if wait > 0 {
			again = min(again, wait)
		}
		return false, again, nil
	}
	// Deleting objects and wiping machines follows from what is not there: the cache may be behind.
	if err := r.confirmHeir(ctx, client.ObjectKeyFromObject(set), heir); err != nil {
		return false, 0, err
	}
	if step == fateBury {
		if gone, err = r.bury(ctx, set); gone || err != nil {
			return gone, 0, err
		}
		return false, patience, nil
	}
	return true, 0, r.forget(ctx, set)
}

// confirmHeir reads live which Host has a name. A conflict says that the cache shows another one.
func (r *Reconciler) confirmHeir(ctx context.Context, name types.NamespacedName, heir types.UID) error {
	now := &v1alpha1.Host{}
	err := r.Live.Get(ctx, name, now)
	switch {
	case apierrors.IsNotFound(err), err == nil && !now.DeletionTimestamp.IsZero():
		now.UID = ""
	case err != nil:
		return fmt.Errorf("reading the Host: %w", err)
	case heir == "":
		terminating, err := status.Terminating(ctx, r.Live, name.Namespace)
		if terminating || err != nil {
			return err // the Host goes with its namespace
		}
	}
	if now.UID != heir {
		return apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("hosts").GroupResource(), name.Name, errors.New("it came or went since it was read"))
	}
	return nil
}

// bury rewrites a set as a tombstone for its machine. A set that names no usable keys can be for no machine: it is deleted.
func (r *Reconciler) bury(ctx context.Context, set *v1alpha1.ScheduleSet) (gone bool, err error) {
	keep, err := r.onlyCopy(ctx, set)
	if err != nil {
		return false, err
	}
	tombstone, err := r.tombstoneOf(set, keep)
	if err != nil {
		log.FromContext(ctx).Info("a set of a removed Host is for no machine", "problem", err.Error())
		return true, r.forget(ctx, set)
	}
	tombstone.Serial = r.nextSerial(set)
	bundle, err := wire.EncodeDocument(&tombstone)
	if err != nil {
		return false, fmt.Errorf("encoding a tombstone: %w", err)
	}
	object := set.DeepCopy()
	object.OwnerReferences = withoutHosts(object.OwnerReferences)
	object.Spec = buriedSpec(set, &tombstone)
	object.Spec.Bundle, object.Spec.Signatures = bundle, convert.Signatures(r.Signer.Sign(bundle))
	if err := r.updateSet(ctx, object); err != nil {
		return false, fmt.Errorf("writing the tombstone of a removed Host: %w", err)
	}
	log.FromContext(ctx).Info("the Host was removed: its machine is told by a tombstone", "revision", tombstone.Revision, "serial", tombstone.Serial, "keepCredentials", keep)
	return false, nil
}

// forget deletes a set as it was read.
func (r *Reconciler) forget(ctx context.Context, set *v1alpha1.ScheduleSet) error {
	err := r.Client.Delete(ctx, set, client.Preconditions{UID: &set.UID, ResourceVersion: &set.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting the ScheduleSet of a removed Host: %w", err)
	}
	why := "its machine does not come back"
	switch {
	case set.Status.Connection == nil:
		why = "no machine ever connected"
	case set.Status.AppliedRevision == set.Spec.Revision:
		why = "its machine knows"
	}
	log.FromContext(ctx).Info("deleted the ScheduleSet of a removed Host", "since", why)
	return nil
}

// tombstoneOf is the tombstone for the machine of a set, without its serial. It names the Host's UID, so that the tombstone of a Host that came back and was
// removed again has another revision.
func (r *Reconciler) tombstoneOf(set *v1alpha1.ScheduleSet, keepCredentials bool) (wire.ScheduleSet, error) {
	identity, err := convert.Identity(&set.Spec.Host.Identity)
	if err != nil {
		return wire.ScheduleSet{}, fmt.Errorf("spec.host.identity: %w", err)
	}
	ref := wire.HostRef{Namespace: set.Namespace, Name: set.Name}
	tombstone := compile.Tombstone(ref, set.Spec.Host.UID, identity.Hash(), keepCredentials, r.Signer.PublicKeys(), r.TLSPins())
	tombstone.Revision, err = compile.Revision(tombstone, nil)
	return tombstone, err
}

// buriedSpec is the part of a tombstone's spec that repeats for people and the gateway what the bundle says.
func buriedSpec(set *v1alpha1.ScheduleSet, tombstone *wire.ScheduleSet) v1alpha1.ScheduleSetSpec {
	former := set.Spec.Host
	return v1alpha1.ScheduleSetSpec{
		Host:      v1alpha1.ScheduleSetHost{Name: set.Name, UID: former.UID, Identity: former.Identity, MintedSecretName: former.MintedSecretName},
		Tombstone: true,
		Revision:  tombstone.Revision,
		Serial:    tombstone.Serial,
	}
}

// buried tells whether a set is a tombstone for its machine as it would be signed now.
func (r *Reconciler) buried(set *v1alpha1.ScheduleSet) bool {
	if !set.Spec.Tombstone {
		return false
	}
	signed, err := convert.WireSignatures(set.Spec.Signatures)
	if err != nil || !r.Signer.Signed(set.Spec.Bundle, signed) {
		return false
	}
	published, err := wire.ParseScheduleSet(set.Spec.Bundle)
	if err != nil {
		return false
	}
	now, err := r.tombstoneOf(set, published.KeepCredentials)
	if err != nil {
		return false
	}
	now.Serial = published.Serial
	bundle, err := wire.EncodeDocument(&now)
	if err != nil || bundle != set.Spec.Bundle {
		return false
	}
	want := buriedSpec(set, published)
	want.Bundle, want.Signatures = set.Spec.Bundle, set.Spec.Signatures
	return equality.Semantic.DeepEqual(want, set.Spec)
}

// onlyCopy tells whether the machine may hold the only copy of the password that was made for its repository: nobody has said that one is kept outside the
// cluster, or the Secret that would say so is gone.
func (r *Reconciler) onlyCopy(ctx context.Context, set *v1alpha1.ScheduleSet) (bool, error) {
	name := set.Spec.Host.MintedSecretName
	if name == "" {
		return false, nil
	}
	secret, err := r.secretMetadata(ctx, set.Namespace, name)
	if err != nil {
		return false, err
	}
	return secret == nil || secret.Annotations[v1alpha1.AnnotationExported] != "true", nil
}

// withoutHosts takes Hosts out of owners: the garbage collector would take the set away before its machine was told.
func withoutHosts(owners []metav1.OwnerReference) []metav1.OwnerReference {
	return slices.DeleteFunc(slices.Clone(owners), ownedByHost)
}

func ownedByHost(owner metav1.OwnerReference) bool {
	return owner.Kind == "Host" && owner.APIVersion == v1alpha1.GroupVersion.String()
}

// disown takes the Host out of the owners of a set that an earlier version made. Its spec stays, so nothing is sent to the machine.
func (r *Reconciler) disown(ctx context.Context, f *facts) error {
	if !slices.ContainsFunc(f.set.OwnerReferences, ownedByHost) {
		return nil
	}
	object := f.set.DeepCopy()
	object.OwnerReferences = withoutHosts(object.OwnerReferences)
	if err := r.updateSet(ctx, object); err != nil {
		return fmt.Errorf("taking the ScheduleSet out of garbage collection: %w", err)
	}
	f.set = object
	return nil
}
