package sourcegroup

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// indexRepository leads in the cache from maintenance.Key to the Hosts that share a repository.
const indexRepository = "sourcegroup.repository"

func byRepository(object client.Object) []string {
	host, ok := object.(*v1alpha1.Host)
	if !ok {
		return nil
	}
	return []string{maintenance.Key(host)}
}

// SetupWithManager makes the reconciler run in mgr.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.Host{}, indexRepository, byRepository); err != nil {
		return fmt.Errorf("indexing Hosts by repository: %w", err)
	}
	changed := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{})
	return ctrl.NewControllerManagedBy(mgr).
		// Without a predicate: what was written here comes back, so that a status that was computed from a stale copy is mended.
		For(&v1alpha1.SourceGroup{}).
		// A group concerns those that have its tag.
		Watches(&v1alpha1.SourceGroup{}, handler.EnqueueRequestsFromMapFunc(r.groupsWithTag), builder.WithPredicates(predicate.GenerationChangedPredicate{}, sinceStart)).
		Watches(&v1alpha1.Host{}, handler.EnqueueRequestsFromMapFunc(r.groupsForHost), builder.WithPredicates(changed)).
		Watches(&v1alpha1.RepoMaintenance{}, handler.EnqueueRequestsFromMapFunc(r.groupsForMaintenance), builder.WithPredicates(changed, sinceStart)).
		Watches(&v1alpha1.ScheduleSet{}, handler.EnqueueRequestsFromMapFunc(groupsInSet), builder.WithPredicates(status.SetProgressed)).
		Complete(r)
}

// sinceStart drops what is there when the controllers start: each group is looked at then by itself.
var sinceStart = predicate.Funcs{CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList }}

// groupsForHost is asked for the host before and after a change.
func (r *Reconciler) groupsForHost(ctx context.Context, object client.Object) []ctrl.Request {
	return selecting.Host(ctx, r.Client, &v1alpha1.SourceGroupList{}, object, func(g *v1alpha1.SourceGroup, host *v1alpha1.Host) (bool, error) {
		return compile.Matches(g.Spec.Selector, host)
	})
}

// groupsWithTag is asked for the group before and after a change.
func (r *Reconciler) groupsWithTag(ctx context.Context, object client.Object) []ctrl.Request {
	changed, ok := object.(*v1alpha1.SourceGroup)
	if !ok {
		return nil
	}
	groups := &v1alpha1.SourceGroupList{}
	if err := r.Client.List(ctx, groups, client.InNamespace(changed.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "listing the SourceGroups with the same tag", "group", client.ObjectKeyFromObject(changed))
		return nil
	}
	var requests []ctrl.Request
	for i := range groups.Items {
		if group := &groups.Items[i]; group.Name != changed.Name && group.TagOrName() == changed.TagOrName() {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(group)})
		}
	}
	return requests
}

// groupsForMaintenance is asked for the RepoMaintenance before and after a change, for the groups of the hosts whose repositories it may concern:
// those that it selects and those that share a repository with one of them.
func (r *Reconciler) groupsForMaintenance(ctx context.Context, object client.Object) []ctrl.Request {
	m, ok := object.(*v1alpha1.RepoMaintenance)
	if !ok {
		return nil
	}
	hosts, err := r.hostsFor(ctx, m)
	groups := &v1alpha1.SourceGroupList{}
	if err == nil {
		err = r.Client.List(ctx, groups, client.InNamespace(m.Namespace), client.UnsafeDisableDeepCopy)
	}
	if err != nil {
		log.FromContext(ctx).Error(err, "listing what a RepoMaintenance concerns", "maintenance", client.ObjectKeyFromObject(m))
		return nil
	}
	concerned := concerns(m, hosts)
	var requests []ctrl.Request
	for i := range groups.Items {
		group := &groups.Items[i]
		if group.Spec.Retention == nil {
			continue
		}
		if matched, _ := compile.GroupHosts(group, concerned); len(matched) > 0 {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(group)})
		}
	}
	return requests
}

// hostsFor returns the hosts among which those are that a RepoMaintenance concerns. Each of ten thousand hosts has one of its own: for one that names its
// host these are the few that share its repository.
func (r *Reconciler) hostsFor(ctx context.Context, m *v1alpha1.RepoMaintenance) ([]v1alpha1.Host, error) {
	options := []client.ListOption{client.InNamespace(m.Namespace), client.UnsafeDisableDeepCopy}
	if ref := m.Spec.HostRef; ref != nil {
		host := &v1alpha1.Host{}
		if err := r.Client.Get(ctx, types.NamespacedName{Namespace: m.Namespace, Name: ref.Name}, host, client.UnsafeDisableDeepCopy); err != nil {
			return nil, client.IgnoreNotFound(err)
		}
		options = append(options, client.MatchingFields{indexRepository: maintenance.Key(host)})
	}
	hosts := &v1alpha1.HostList{}
	err := r.Client.List(ctx, hosts, options...)
	return hosts.Items, err
}

// concerns returns the hosts whose repository a RepoMaintenance may be in force for.
func concerns(m *v1alpha1.RepoMaintenance, hosts []v1alpha1.Host) []v1alpha1.Host {
	repositories := map[string]bool{}
	for i := range hosts {
		if matches, err := compile.Matches(m.Spec.Selector, &hosts[i]); err == nil && matches {
			repositories[maintenance.Key(&hosts[i])] = true
		}
	}
	var concerned []v1alpha1.Host
	for i := range hosts {
		if repositories[maintenance.Key(&hosts[i])] {
			concerned = append(concerned, hosts[i])
		}
	}
	return concerned
}

// groupsInSet is asked for the set before and after a change.
func groupsInSet(_ context.Context, object client.Object) []ctrl.Request {
	set, ok := object.(*v1alpha1.ScheduleSet)
	if !ok {
		return nil
	}
	requests := make([]ctrl.Request, 0, len(set.Spec.Groups))
	for _, group := range set.Spec.Groups {
		requests = append(requests, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: set.Namespace, Name: group.Name}})
	}
	return requests
}
