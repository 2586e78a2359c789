package schedule

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// SetupWithManager makes the reconciler run in mgr.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		// Without a predicate: what was written here comes back, so that a status that was computed from a stale copy is mended.
		For(&v1alpha1.Schedule{}).
		Watches(&v1alpha1.Host{}, handler.EnqueueRequestsFromMapFunc(r.schedulesForHost), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Watches(&v1alpha1.SourceGroup{}, handler.EnqueueRequestsFromMapFunc(r.schedulesForGroup), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.ScheduleSet{}, handler.EnqueueRequestsFromMapFunc(schedulesInSet), builder.WithPredicates(status.SetProgressed)).
		Complete(r)
}

// schedulesForHost is asked for the host before and after a change.
func (r *Reconciler) schedulesForHost(ctx context.Context, object client.Object) []ctrl.Request {
	var names []string
	for _, group := range selecting.Host(ctx, r.Client, &v1alpha1.SourceGroupList{}, object, func(g *v1alpha1.SourceGroup, host *v1alpha1.Host) (bool, error) {
		return compile.Matches(g.Spec.Selector, host)
	}) {
		names = append(names, group.Name)
	}
	return r.schedulesNaming(ctx, object.GetNamespace(), names...)
}

func (r *Reconciler) schedulesForGroup(ctx context.Context, object client.Object) []ctrl.Request {
	return r.schedulesNaming(ctx, object.GetNamespace(), object.GetName())
}

func (r *Reconciler) schedulesNaming(ctx context.Context, namespace string, groups ...string) []ctrl.Request {
	schedules := &v1alpha1.ScheduleList{}
	if err := r.Client.List(ctx, schedules, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "listing the Schedules that name SourceGroups", "namespace", namespace, "sourceGroups", groups)
		return nil
	}
	var requests []ctrl.Request
	for i := range schedules.Items {
		named := schedules.Items[i].Spec.SourceGroups
		if slices.ContainsFunc(groups, func(group string) bool { return slices.Contains(named, group) }) {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&schedules.Items[i])})
		}
	}
	return requests
}

// schedulesInSet is asked for the set before and after a change.
func schedulesInSet(_ context.Context, object client.Object) []ctrl.Request {
	set, ok := object.(*v1alpha1.ScheduleSet)
	if !ok {
		return nil
	}
	requests := make([]ctrl.Request, 0, len(set.Spec.Schedules))
	for _, schedule := range set.Spec.Schedules {
		requests = append(requests, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: set.Namespace, Name: schedule.Name}})
	}
	return requests
}
