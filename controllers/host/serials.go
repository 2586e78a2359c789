package host

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// lastBundle is what the last set said. Nil where nobody knows what the machine has of it: the set was signed by none of our keys, is another machine's, or the machine has a
// later one, which was lost.
func (r *Reconciler) lastBundle(last *v1alpha1.ScheduleSet, identityHash string) *wire.ScheduleSet {
	if last == nil || last.Status.AppliedSerial > last.Spec.Serial {
		return nil
	}
	signed, err := convert.WireSignatures(last.Spec.Signatures)
	// Between rotations every key has signed it, which the signer may know.
	if err != nil || !r.Signer.Signed(last.Spec.Bundle, signed) && seal.Verify(last.Spec.Bundle, signed, r.Signer.PublicKeys()) != nil {
		return nil
	}
	bundle, err := wire.ParseScheduleSet(last.Spec.Bundle)
	if err != nil || bundle.IdentityHash != identityHash {
		return nil
	}
	return bundle
}

// setSerials gives each group and schedule of a set the serial of the first set that held it as this one does (ADR 0038): that which it has in the last one, or its own.
func setSerials(spec *v1alpha1.ScheduleSetSpec, set *wire.ScheduleSet, last *v1alpha1.ScheduleSet, lastSet *wire.ScheduleSet) {
	if lastSet == nil {
		last, lastSet = &v1alpha1.ScheduleSet{}, &wire.ScheduleSet{}
	}
	for i := range spec.Groups {
		spec.Groups[i].Serial = since(set.Groups[i], lastSet.Groups, spec.Groups[i].Name, status.Groups(last), set.Serial, lastSet.Serial)
	}
	for i := range spec.Schedules {
		spec.Schedules[i].Serial = since(set.Schedules[i], lastSet.Schedules, spec.Schedules[i].Name, status.Schedules(last), set.Serial, lastSet.Serial)
	}
}

// since is the serial of one part. What was in the last set has the one that it has there, or that of the last set itself.
func since[T any](part T, was []T, name string, listed []status.Part, serial, lastSerial int64) int64 {
	if !slices.ContainsFunc(was, func(p T) bool { return equality.Semantic.DeepEqual(p, part) }) {
		return serial
	}
	for _, l := range listed {
		if l.Name == name && l.Serial > 0 {
			return min(l.Serial, lastSerial)
		}
	}
	return lastSerial
}

// copySerials takes over what a set's own bundle does not say.
func copySerials(spec, from *v1alpha1.ScheduleSetSpec) {
	for i := range min(len(spec.Groups), len(from.Groups)) {
		spec.Groups[i].Serial = from.Groups[i].Serial
	}
	for i := range min(len(spec.Schedules), len(from.Schedules)) {
		spec.Schedules[i].Serial = from.Schedules[i].Serial
	}
}
