package sourcegroup

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
)

// seen is what a group's status follows from. All of it is shared with the cache and must not be changed.
type seen struct {
	// hosts are those that the group selects, sets what is published for them.
	hosts []v1alpha1.Host
	sets  []v1alpha1.ScheduleSet
	// groups are those with the group's tag, itself among them, and unforgotten the hosts on which nothing is forgotten, with the reason. Only for a group
	// with a retention.
	groups      []v1alpha1.SourceGroup
	unforgotten []string
}

func (r *Reconciler) gather(ctx context.Context, group *v1alpha1.SourceGroup) (seen, error) {
	var s seen
	var err error
	if s.hosts, err = selecting.Unsorted(ctx, r.Client, group.Namespace, group.Spec.Selector); err != nil {
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
	s.unforgotten, err = r.forgets.of(group, func() ([]string, error) { return r.notForgetting(ctx, group, s.hosts) })
	return s, err
}

// notForgetting looks at all hosts on the repositories of a group's, and at what RepoMaintenances may select one of them.
func (r *Reconciler) notForgetting(ctx context.Context, group *v1alpha1.SourceGroup, hosts []v1alpha1.Host) ([]string, error) {
	sharing, err := selecting.Sharing(ctx, r.Client, hosts)
	if err != nil {
		return nil, err
	}
	maintenances, err := selecting.Maintenances(ctx, r.Client, group.Namespace, selecting.Names(sharing))
	if err != nil {
		return nil, err
	}
	matched, _ := compile.GroupHosts(group, hosts)
	return notForgetting(matched, sharing, maintenances), nil
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
