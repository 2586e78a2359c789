package signing

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// count tells which enrolled machines have applied a set that trusts exactly the keys which are to be trusted now. What a gateway says it has applied
// decides no more than when a key is retired, and a machine that has not heard still catches up then.
func count(ctx context.Context, c client.Reader, keys *Keys) (Fleet, error) {
	hosts, sets := &v1alpha1.HostList{}, &v1alpha1.ScheduleSetList{}
	for _, list := range []client.ObjectList{hosts, sets} {
		if err := c.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return Fleet{}, fmt.Errorf("counting the machines that have heard of the keys: %w", err)
		}
	}
	heard := make(map[types.NamespacedName]bool, len(sets.Items))
	for i := range sets.Items {
		if hasHeard(&sets.Items[i], keys) {
			heard[client.ObjectKeyFromObject(&sets.Items[i])] = true
		}
	}
	var fleet Fleet
	for i := range hosts.Items {
		host := &hosts.Items[i]
		if host.Spec.Identity == nil {
			continue
		}
		fleet.Hosts++
		if name := client.ObjectKeyFromObject(host); !heard[name] {
			fleet.Waiting = append(fleet.Waiting, name.String())
		}
	}
	slices.Sort(fleet.Waiting)
	return fleet, nil
}

func hasHeard(set *v1alpha1.ScheduleSet, keys *Keys) bool {
	if set.Spec.Tombstone || set.Status.AppliedRevision != set.Spec.Revision {
		return false
	}
	bundle, err := wire.ParseScheduleSet(set.Spec.Bundle)
	if err != nil || len(bundle.SigningKeys) != len(keys.trusted) {
		return false
	}
	return !slices.ContainsFunc(keys.trusted, func(k wire.SigningKey) bool {
		return !slices.ContainsFunc(bundle.SigningKeys, func(b wire.SigningKey) bool { return b.KeyID == k.KeyID })
	})
}
