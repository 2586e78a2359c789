package sourcegroup

import (
	"context"
	"fmt"
	"maps"
	"slices"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/coalesce"
	"github.com/restic-manager/restic-manager/controllers/internal/fleet"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// indexTag leads in the cache from a tag to the SourceGroups that have it.
const indexTag = "sourcegroup.tag"

func byTag(object client.Object) []string {
	group, ok := object.(*v1alpha1.SourceGroup)
	if !ok {
		return nil
	}
	return []string{group.TagOrName()}
}

// workers let an object of one Host pass those of thousands, which take longer to look at.
const workers = 4

// SetupWithManager makes the reconciler run in mgr, whose cache has the indexes of package selecting.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.SourceGroup{}, indexTag, byTag); err != nil {
		return fmt.Errorf("indexing SourceGroups by tag: %w", err)
	}
	changed := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{})
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.SourceGroup{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		// What was written here comes back, so that a status that was computed from a stale copy is mended; not at once, or each write of a burst would bring
		// the next.
		Watches(&v1alpha1.SourceGroup{}, r.looks.Handler(r.Clock, coalesce.Results, coalesce.Itself)).
		// A group concerns those that have its tag.
		Watches(&v1alpha1.SourceGroup{}, handler.EnqueueRequestsFromMapFunc(r.groupsWithTag), builder.WithPredicates(predicate.GenerationChangedPredicate{}, sinceStart)).
		Watches(&v1alpha1.Host{}, r.looks.Mapped(r.Clock, coalesce.Acks, r.groupsForHost), builder.WithPredicates(changed)).
		Watches(&v1alpha1.Host{}, r.looks.Handler(r.Clock, coalesce.Results, coalesce.ByStatus(fleet.ChangedGroups))).
		Watches(&v1alpha1.RepoMaintenance{}, handler.EnqueueRequestsFromMapFunc(r.groupsForMaintenance), builder.WithPredicates(changed, sinceStart)).
		Watches(&v1alpha1.ScheduleSet{}, r.looks.Sets(r.Clock, status.Groups)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
}

// sinceStart drops what is there when the controllers start: each group is looked at then by itself.
var sinceStart = predicate.Funcs{CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList }}

// groupsForHost is asked for the host before and after a change.
func (r *Reconciler) groupsForHost(ctx context.Context, object client.Object) []ctrl.Request {
	host, ok := object.(*v1alpha1.Host)
	if !ok {
		return nil
	}
	r.forgets.changed()
	groups, err := selecting.Groups(ctx, r.Client, host)
	if err != nil {
		log.FromContext(ctx).Error(err, "listing the SourceGroups that select a Host", "host", client.ObjectKeyFromObject(host))
		return nil
	}
	return coalesce.Named(host.Namespace, namesOf(groups))
}

// groupsWithTag is asked for the group before and after a change.
func (r *Reconciler) groupsWithTag(ctx context.Context, object client.Object) []ctrl.Request {
	changed, ok := object.(*v1alpha1.SourceGroup)
	if !ok {
		return nil
	}
	groups, err := r.withTag(ctx, changed)
	if err != nil {
		log.FromContext(ctx).Error(err, "listing the SourceGroups with the same tag", "group", client.ObjectKeyFromObject(changed))
		return nil
	}
	return coalesce.Named(changed.Namespace, slices.DeleteFunc(namesOf(groups), func(name string) bool { return name == changed.Name }))
}

// groupsForMaintenance is asked for the RepoMaintenance before and after a change, for the groups of the hosts whose repositories it may concern:
// those that it selects and those that share a repository with one of them.
func (r *Reconciler) groupsForMaintenance(ctx context.Context, object client.Object) []ctrl.Request {
	m, ok := object.(*v1alpha1.RepoMaintenance)
	if !ok {
		return nil
	}
	r.forgets.changed()
	names, err := r.namesFor(ctx, m)
	if err != nil {
		log.FromContext(ctx).Error(err, "listing what a RepoMaintenance concerns", "maintenance", client.ObjectKeyFromObject(m))
		return nil
	}
	return coalesce.Named(m.Namespace, names)
}

// namesFor are the groups with a retention on the hosts that a RepoMaintenance concerns.
func (r *Reconciler) namesFor(ctx context.Context, m *v1alpha1.RepoMaintenance) ([]string, error) {
	selected, err := selecting.Hosts(ctx, r.Client, m.Namespace, m.Spec.Selector)
	if err != nil {
		return nil, err
	}
	concerned, err := selecting.Sharing(ctx, r.Client, selected)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for i := range concerned {
		groups, err := selecting.Groups(ctx, r.Client, &concerned[i])
		if err != nil {
			return nil, err
		}
		for g := range groups {
			if groups[g].Spec.Retention != nil {
				found[groups[g].Name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

func namesOf(groups []v1alpha1.SourceGroup) []string {
	names := make([]string, 0, len(groups))
	for i := range groups {
		names = append(names, groups[i].Name)
	}
	return names
}
