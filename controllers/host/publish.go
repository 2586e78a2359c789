package host

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// publish compiles, signs and writes the Host's ScheduleSet, and nothing when it is up to date. The error says what hinders; a Host that is
// not enrolled yet is none.
func (r *Reconciler) publish(ctx context.Context, host *v1alpha1.Host, f *facts) error {
	// One that was made for an earlier Host with the same machine is written over, and keeps its session.
	if f.set != nil && f.set.Spec.Host.UID != string(host.UID) && !madeFor(f.set, host.Spec.Identity) {
		if err := r.succeed(ctx, host, f); err != nil {
			return err
		}
	}
	if f.set != nil && !madeFor(f.set, host.Spec.Identity) && (f.identity == nil || f.credentialErr != nil) {
		// The gateway lets in who has the keys in the set: those of a machine that was replaced must go, whatever else is wrong.
		if err := r.retract(ctx, f, "its identity is not the pinned one any more"); err != nil {
			return err
		}
	}
	if f.identityErr != nil || f.credentialErr != nil {
		return cmp.Or(f.identityErr, f.credentialErr)
	}
	if f.identity == nil {
		return nil
	}
	set, findings := compile.Compile(compile.Input{
		Host: host, IdentityHash: f.identity.Hash(), Groups: f.groups, Schedules: f.schedules,
		SigningKeys: r.Signer.PublicKeys(), TLSPins: r.TLSPins(),
	})
	f.compiled, f.findings = &set, findings
	revision, err := compile.Revision(set, map[string]string{wire.CredentialRepository: f.credential.Digest(r.Signer.DigestKey())})
	if err != nil {
		return err
	}
	if f.set != nil && f.set.Spec.Revision == revision && r.intact(f.set, host) {
		behind, wait := outrun(f.set, r.Clock.Now())
		if !behind || wait > 0 {
			f.again = wait
			return r.disown(ctx, f)
		}
	}
	set.Revision = revision
	return r.write(ctx, host, f, set)
}

func madeFor(set *v1alpha1.ScheduleSet, identity *v1alpha1.HostIdentity) bool {
	return identity != nil && set.Spec.Host.Identity == *identity
}

// retract deletes a set that must not be there.
func (r *Reconciler) retract(ctx context.Context, f *facts, why string) error {
	err := r.Client.Delete(ctx, f.set, client.Preconditions{UID: &f.set.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting the ScheduleSet, since %s: %w", why, err)
	}
	log.FromContext(ctx).Info("deleted the ScheduleSet", "since", why)
	f.set = nil
	return nil
}

// outrunPause is the least time between two signatures of the same content, whatever is reported.
const outrunPause = time.Minute

// outrun tells whether the machine refused the set since it has one with a later serial: the cluster was restored from a backup that is older than what the machine
// got last. The same content is to be signed again then, with a serial of now, or when wait is over.
func outrun(set *v1alpha1.ScheduleSet, now time.Time) (yes bool, wait time.Duration) {
	signed := time.UnixMicro(set.Spec.Serial)
	refusal := set.Status.Refusal
	if refusal == nil || refusal.Revision != set.Spec.Revision || refusal.Reason != string(wire.RefusalOlderSerial) || refusal.Time.Time.Before(signed.Truncate(time.Second)) {
		return false, 0
	}
	return true, max(0, signed.Add(outrunPause).Sub(now))
}

// write seals, signs and stores a set.
func (r *Reconciler) write(ctx context.Context, host *v1alpha1.Host, f *facts, set wire.ScheduleSet) error {
	sealed, err := f.credential.Seal(convert.Ref(host), *f.identity, wire.CredentialRepository)
	if err != nil {
		return err
	}
	set.Credentials = []wire.CredentialHash{{Name: sealed.Name, SHA256: seal.Hash(sealed.Sealed)}}
	set.Serial = r.nextSerial(f.set)
	bundle, err := wire.EncodeDocument(&set)
	if err != nil {
		return status.Stalled(v1alpha1.ReasonInvalid, "what this Host is to run cannot be sent to it: %w", err)
	}
	// Without an owner: it outlives its Host until the machine knows (removal.go).
	object := &v1alpha1.ScheduleSet{ObjectMeta: metav1.ObjectMeta{Namespace: host.Namespace, Name: host.Name}}
	if f.set != nil {
		object = f.set.DeepCopy()
		object.OwnerReferences = withoutHosts(object.OwnerReferences)
	}
	object.Spec = specOf(host, &set)
	setSerials(&object.Spec, &set, f.set, r.lastBundle(f.set, set.IdentityHash))
	object.Spec.Bundle = bundle
	object.Spec.Signatures = convert.Signatures(r.Signer.Sign(bundle))
	object.Spec.Credentials = []v1alpha1.SealedCredential{{Name: sealed.Name, Sealed: base64.StdEncoding.EncodeToString(sealed.Sealed)}}
	if f.set == nil {
		err = r.Client.Create(ctx, object, client.FieldOwner(v1alpha1.ManagerControllers))
	} else {
		err = r.updateSet(ctx, object)
	}
	if err != nil {
		return fmt.Errorf("writing the ScheduleSet: %w", err)
	}
	f.set = object
	log.FromContext(ctx).Info("published a schedule set", "revision", set.Revision, "serial", set.Serial, "schedules", len(set.Schedules), "groups", len(set.Groups))
	return nil
}

// updateSet writes a set over the one that was read, and has the API server forget who owns which of its fields: nobody applies sets, and to keep that up to date is a
// good part of what a write costs (ADR 0040).
func (r *Reconciler) updateSet(ctx context.Context, set *v1alpha1.ScheduleSet) error {
	set.ManagedFields = []metav1.ManagedFieldsEntry{{}} // one empty entry; none would leave them as they are
	return r.Client.Update(ctx, set, client.FieldOwner(v1alpha1.ManagerControllers))
}

// nextSerial is the time in µs, or one more than the last when the clock was set back.
func (r *Reconciler) nextSerial(last *v1alpha1.ScheduleSet) int64 {
	now := r.Clock.Now().UnixMicro()
	if last == nil {
		return now
	}
	return max(last.Spec.Serial+1, now)
}

// specOf is the part of a spec that repeats for people and the gateway what the bundle says.
func specOf(host *v1alpha1.Host, set *wire.ScheduleSet) v1alpha1.ScheduleSetSpec {
	spec := v1alpha1.ScheduleSetSpec{
		Host: v1alpha1.ScheduleSetHost{
			Name: host.Name, UID: string(host.UID), Identity: *host.Spec.Identity, Suspended: set.Suspended,
		},
		Revision: set.Revision,
		Serial:   set.Serial,
	}
	if usesMinted(host) {
		spec.Host.MintedSecretName = host.Status.MintedCredentials.SecretName
	}
	for _, g := range set.Groups {
		spec.Groups = append(spec.Groups, v1alpha1.ScheduleSetGroup{Name: g.Name, Generation: g.Generation})
	}
	for _, s := range set.Schedules {
		spec.Schedules = append(spec.Schedules, v1alpha1.ScheduleSetSchedule{
			Name: s.Name, Generation: s.Generation, Suspended: s.Suspended, SourceGroups: s.Groups,
		})
	}
	return spec
}

// intact tells whether a published set is still as it was signed. Nobody but the controllers may write one, and who does all the same gets it
// replaced: an agent would refuse it. The serials of its parts stand outside the signature alone; nothing but what is said of them follows from these.
func (r *Reconciler) intact(published *v1alpha1.ScheduleSet, host *v1alpha1.Host) bool {
	signed, err := convert.WireSignatures(published.Spec.Signatures)
	if err != nil || !r.Signer.Signed(published.Spec.Bundle, signed) {
		return false
	}
	set, err := wire.ParseScheduleSet(published.Spec.Bundle)
	if err != nil || len(set.Credentials) != len(published.Spec.Credentials) {
		return false
	}
	for i, c := range published.Spec.Credentials {
		sealed, err := base64.StdEncoding.DecodeString(c.Sealed)
		if err != nil || set.Credentials[i].Name != c.Name || set.Credentials[i].SHA256 != seal.Hash(sealed) {
			return false
		}
	}
	want := specOf(host, set)
	want.Bundle, want.Signatures, want.Credentials = published.Spec.Bundle, published.Spec.Signatures, published.Spec.Credentials
	copySerials(&want, &published.Spec)
	return equality.Semantic.DeepEqual(want, published.Spec)
}
