package sourcegroup

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// forgets remembers on which hosts of each group nothing is forgotten. That takes longer to find out than all the rest, and follows from specs and labels alone, while most
// looks at a group are for acks and results. Safe for concurrent use.
type forgets struct {
	mu sync.Mutex
	// epoch counts the changes of specs and labels that were seen.
	epoch int64
	known map[types.UID]unforgotten
}

// unforgotten is what was found out in an epoch for a generation of the group.
type unforgotten struct {
	epoch, generation int64
	hosts             []string
}

// changed is called for each change of a spec or of labels, before what it concerns is looked at again.
func (f *forgets) changed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.epoch++
}

// of returns what is known of a group, or finds it out.
func (f *forgets) of(group *v1alpha1.SourceGroup, find func() ([]string, error)) ([]string, error) {
	f.mu.Lock()
	known, ok := f.known[group.UID]
	epoch := f.epoch // what changes from here on is not in what is found
	f.mu.Unlock()
	if ok && known.epoch == epoch && known.generation == group.Generation {
		return known.hosts, nil
	}
	hosts, err := find()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == nil || len(f.known) > maxKnown {
		f.known = map[types.UID]unforgotten{}
	}
	f.known[group.UID] = unforgotten{epoch, group.Generation, hosts}
	return hosts, nil
}

// maxKnown bounds what is remembered of groups that are gone.
const maxKnown = 5000
