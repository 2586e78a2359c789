package maintenance

import (
	"cmp"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// InForce is the RepoMaintenance that counts for a host, out of those of its namespace; nil for none. Of several that select it, those that name an executor
// count before those that name none: to write one takes a permission of its own, and who lacks it must not bring the admin credentials to the
// machine by being there first. Then the oldest that people made counts (then the first by name); one that was made by default counts only when
// people made none, so that an invalid one of theirs keeps the default from acting. Being suspended does not keep one from being in force. The
// result points into all.
func InForce(host *v1alpha1.Host, all []v1alpha1.RepoMaintenance) *v1alpha1.RepoMaintenance {
	return NewIndex(all).InForce(host)
}

// InForceForRepository is the RepoMaintenance that counts for a repository and the host through which it does: the oldest of the sharing hosts for which
// one counts that names an executor, else the oldest for which one counts that people made, else the oldest of all. It is nil when none counts for that host, and both are for no hosts. all are those of the
// namespace.
func InForceForRepository(sharing []*v1alpha1.Host, all []v1alpha1.RepoMaintenance) (*v1alpha1.Host, *v1alpha1.RepoMaintenance) {
	return NewIndex(all).InForceForRepository(sharing)
}

// Selected returns the hosts that a RepoMaintenance selects, sorted by name, out of those of its namespace. Hosts that are being deleted are left out, and a
// label selector that does not parse selects none.
func Selected(m *v1alpha1.RepoMaintenance, hosts []v1alpha1.Host) []*v1alpha1.Host {
	present := *m
	present.DeletionTimestamp = nil // one that goes still concerns them
	index := NewIndex([]v1alpha1.RepoMaintenance{present})
	var selected []*v1alpha1.Host
	for i := range hosts {
		if h := &hosts[i]; h.DeletionTimestamp.IsZero() && len(index.entriesFor(h)) > 0 {
			selected = append(selected, h)
		}
	}
	slices.SortFunc(selected, func(a, b *v1alpha1.Host) int { return cmp.Compare(a.Name, b.Name) })
	return selected
}

// IsDefault tells whether a RepoMaintenance was made for a Host that none selected, and may go by itself. One in which people named an executor is theirs:
// else another one of anybody's would make it go, and the admin credentials would come to the machine.
func IsDefault(m *v1alpha1.RepoMaintenance) bool {
	return m.Labels[v1alpha1.LabelDefault] == "true" && !namesExecutor(m)
}

func namesExecutor(m *v1alpha1.RepoMaintenance) bool { return m.Spec.ExecutorRef != nil }

// Index answers for many hosts of one namespace which RepoMaintenance counts. It may be shared.
type Index struct {
	byName    map[string][]*entry // those with a hostRef
	selecting []*entry
}

type entry struct {
	*v1alpha1.RepoMaintenance
	valid    func() bool     // parses cron expressions: asked only of those that may count
	selector labels.Selector // nil: by name
}

// NewIndex prepares the RepoMaintenances of one namespace. Those that are being deleted, and those whose label selector does not parse, select nothing.
func NewIndex(all []v1alpha1.RepoMaintenance) *Index {
	index := &Index{byName: map[string][]*entry{}}
	for i := range all {
		m := &all[i]
		e := &entry{RepoMaintenance: m, valid: sync.OnceValue(func() bool { return CheckSpec(&m.Spec) == nil })}
		switch {
		case !m.DeletionTimestamp.IsZero():
		case m.Spec.HostRef != nil:
			index.byName[m.Spec.HostRef.Name] = append(index.byName[m.Spec.HostRef.Name], e)
		case m.Spec.HostSelector != nil:
			if selector, err := metav1.LabelSelectorAsSelector(m.Spec.HostSelector); err == nil {
				e.selector = selector
				index.selecting = append(index.selecting, e)
			}
		}
	}
	return index
}

// Selecting returns those that select a host, in the order in which they count: those that people made first, then those that name an
// executor, then the oldest. Invalid ones are among them.
func (x *Index) Selecting(host *v1alpha1.Host) []*v1alpha1.RepoMaintenance {
	var found []*v1alpha1.RepoMaintenance
	for _, e := range x.entriesFor(host) {
		found = append(found, e.RepoMaintenance)
	}
	return found
}

// InForce is the RepoMaintenance that counts for a host; see the function of this name.
func (x *Index) InForce(host *v1alpha1.Host) *v1alpha1.RepoMaintenance {
	entries := x.entriesFor(host)
	people := slices.ContainsFunc(entries, func(e *entry) bool { return !IsDefault(e.RepoMaintenance) })
	for _, e := range entries {
		if !(people && IsDefault(e.RepoMaintenance)) && e.valid() {
			return e.RepoMaintenance
		}
	}
	return nil
}

// InForceForRepository is the RepoMaintenance that counts for a repository; see the function of this name.
func (x *Index) InForceForRepository(sharing []*v1alpha1.Host) (*v1alpha1.Host, *v1alpha1.RepoMaintenance) {
	var through *v1alpha1.Host
	var counts *v1alpha1.RepoMaintenance
	for _, host := range slices.SortedFunc(slices.Values(sharing), byAge) {
		switch m := x.InForce(host); {
		case m != nil && namesExecutor(m):
			return host, m
		case counts == nil && m != nil && !IsDefault(m):
			through, counts = host, m
		}
	}
	if counts != nil {
		return through, counts
	}
	anchor := Anchor(sharing)
	if anchor == nil {
		return nil, nil
	}
	return anchor, x.InForce(anchor)
}

func (x *Index) entriesFor(host *v1alpha1.Host) []*entry {
	entries := slices.Clone(x.byName[host.Name])
	for _, e := range x.selecting {
		if e.selector.Matches(labels.Set(host.Labels)) {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b *entry) int {
		return cmp.Or(
			compareBools(IsDefault(a.RepoMaintenance), IsDefault(b.RepoMaintenance)),
			compareBools(!namesExecutor(a.RepoMaintenance), !namesExecutor(b.RepoMaintenance)),
			a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
			cmp.Compare(a.Name, b.Name),
		)
	})
	return entries
}

// compareBools puts false first.
func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
