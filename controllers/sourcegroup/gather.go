package sourcegroup

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
)

// seen is what a group's status follows from. All of it is shared with the cache and must not be changed.
type seen struct {
	// hosts are those that the group selects, sets what is published for them.
	hosts []v1alpha1.Host
	sets  []v1alpha1.ScheduleSet
	// sharing are the hosts and all others on their repositories; maintenances those that may select one of them. Read for a group with a retention.
	sharing      []v1alpha1.Host
	maintenances []v1alpha1.RepoMaintenance
	// groups are those with the group's tag, itself among them.
	groups []v1alpha1.SourceGroup
}

func (r *Reconciler) gather(ctx context.Context, group *v1alpha1.SourceGroup) (seen, error) {
	var s seen
	var err error
	if s.hosts, err = selecting.Hosts(ctx, r.Client, group.Namespace, group.Spec.Selector); err != nil {
		return seen{}, err
	}
	if s.sets, err = selecting.Sets(ctx, r.Client, s.hosts); err != nil {
		return seen{}, err
	}
	if group.Spec.Retention == nil {
		return s, nil
	}
	if s.groups, err = r.withTag(ctx, group); err != nil {
		return seen{}, err
	}
	if s.sharing, err = selecting.Sharing(ctx, r.Client, s.hosts); err != nil {
		return seen{}, err
	}
	s.maintenances, err = selecting.Maintenances(ctx, r.Client, group.Namespace, s.sharing)
	return s, err
}

// withTag returns the groups that have a group's tag.
func (r *Reconciler) withTag(ctx context.Context, group *v1alpha1.SourceGroup) ([]v1alpha1.SourceGroup, error) {
	groups := &v1alpha1.SourceGroupList{}
	err := r.Client.List(ctx, groups, client.InNamespace(group.Namespace), client.MatchingFields{indexTag: group.TagOrName()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing SourceGroups by tag: %w", err)
	}
	return groups.Items, nil
}
