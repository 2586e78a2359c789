package slim

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Bounds of the sets that are kept in full. A wave has some tens of them on their way at once.
const (
	maxUnsent      = 256
	maxUnsentBytes = 4 << 20
)

// unsent keeps in full the sets that came last and that their machines do not have yet: they are about to be sent. The zero value is ready. Safe for concurrent use.
type unsent struct {
	mu   sync.Mutex
	sets map[types.NamespacedName]*v1alpha1.ScheduleSet
	// order is in which they came; what is not in sets any more, or came again, is passed over.
	order []arrival
	bytes int
}

// arrival is one version of a set.
type arrival struct {
	name    types.NamespacedName
	version string
}

func nameOf(set *v1alpha1.ScheduleSet) types.NamespacedName {
	return types.NamespacedName{Namespace: set.Namespace, Name: set.Name}
}

// size is about what a set takes here; the bundle is by far the longest.
func size(set *v1alpha1.ScheduleSet) int {
	bytes := len(set.Spec.Bundle)
	for i := range set.Spec.Credentials {
		bytes += len(set.Spec.Credentials[i].Sealed)
	}
	return bytes
}

// note takes the newest version of a set in, or drops the last one when its machine has this one. A set that is slim already changes nothing.
func (u *unsent) note(set *v1alpha1.ScheduleSet) {
	if set.Spec.Bundle == "" {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	name := nameOf(set)
	u.drop(name)
	if set.Spec.Revision == set.Status.AppliedRevision {
		return
	}
	if u.sets == nil {
		u.sets = map[types.NamespacedName]*v1alpha1.ScheduleSet{}
	}
	whole := &v1alpha1.ScheduleSet{Spec: set.Spec}
	whole.Namespace, whole.Name, whole.ResourceVersion = set.Namespace, set.Name, set.ResourceVersion
	u.sets[name] = whole
	u.order = append(u.order, arrival{name, set.ResourceVersion})
	u.bytes += size(whole)
	for len(u.sets) > maxUnsent || u.bytes > maxUnsentBytes || len(u.order) > 2*maxUnsent {
		first := u.order[0]
		u.order = u.order[1:]
		if kept := u.sets[first.name]; kept != nil && kept.ResourceVersion == first.version {
			u.drop(first.name)
		}
	}
}

func (u *unsent) drop(name types.NamespacedName) {
	if kept := u.sets[name]; kept != nil {
		u.bytes -= size(kept)
		delete(u.sets, name)
	}
	if len(u.sets) == 0 {
		u.order = nil
	}
}

// Whole returns a cached set in full, if this version of it is still here; nil if not. It must not be changed.
func (o *Objects) Whole(cached *v1alpha1.ScheduleSet) *v1alpha1.ScheduleSet {
	o.unsent.mu.Lock()
	defer o.unsent.mu.Unlock()
	if kept := o.unsent.sets[nameOf(cached)]; kept != nil && kept.ResourceVersion == cached.ResourceVersion {
		return kept
	}
	return nil
}
