package maintenance

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/restic-manager/restic-manager/api/resticenv"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Key identifies a Host's repository inside its namespace: the URL without slashes at its end, and, of a path, the Host as well. Equal paths on
// two machines are two disks: taken for one, all but one of them would never be pruned, and be called healthy by the check of another. Where people
// mounted one disk on both, each machine does what it is asked for and restic's locks keep them from harm.
func Key(host *v1alpha1.Host) string {
	if OnMachine(host) {
		return url(host) + "\n" + host.Name
	}
	return url(host)
}

// RepositoryHash stands for Key where that is too long, or no name: in the name of a request, and in an index of all Hosts.
func RepositoryHash(host *v1alpha1.Host) string {
	sum := sha256.Sum256([]byte(Key(host)))
	return hex.EncodeToString(sum[:16])
}

func url(host *v1alpha1.Host) string { return strings.TrimRight(host.Spec.Repository.URL, "/") }

// OnMachine tells whether a Host's repository is a path on the machine itself.
func OnMachine(host *v1alpha1.Host) bool {
	backend, err := resticenv.Backend(host.Spec.Repository.URL)
	return err == nil && backend == resticenv.Local
}

// Sharing returns the hosts that share a host's repository, itself among them, oldest first (then by name). hosts may be of several namespaces; those
// of another one, and those that are being deleted, are left out.
func Sharing(host *v1alpha1.Host, hosts []v1alpha1.Host) []*v1alpha1.Host {
	var sharing []*v1alpha1.Host
	key := Key(host)
	for i := range hosts {
		if h := &hosts[i]; h.Namespace == host.Namespace && h.DeletionTimestamp.IsZero() && Key(h) == key {
			sharing = append(sharing, h)
		}
	}
	slices.SortFunc(sharing, byAge)
	return sharing
}

// Anchor is the oldest of the hosts that share a repository; nil for none. What is named after a repository is named after it.
func Anchor(sharing []*v1alpha1.Host) *v1alpha1.Host {
	if len(sharing) == 0 {
		return nil
	}
	return slices.MinFunc(sharing, byAge)
}

func byAge(a, b *v1alpha1.Host) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}
