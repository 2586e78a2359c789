package convert

import (
	"cmp"
	"slices"
	"strings"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// RepositoryKey identifies a Host's repository within its namespace: Hosts with the same key share one.
func RepositoryKey(host *v1alpha1.Host) string {
	return strings.TrimRight(host.Spec.Repository.URL, "/")
}

// Anchor is the Host that stands for a repository which several share: the oldest, then the first by name; nil for none.
func Anchor(sharing []*v1alpha1.Host) *v1alpha1.Host {
	if len(sharing) == 0 {
		return nil
	}
	return slices.MinFunc(sharing, func(a, b *v1alpha1.Host) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
}
