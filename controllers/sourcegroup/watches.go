package sourcegroup

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
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
		For(&v1alpha1.SourceGroup{}).
		Watches(&v1alpha1.Host{}, handler.EnqueueRequestsFromMapFunc(r.groupsForHost), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Watches(&v1alpha1.ScheduleSet{}, handler.EnqueueRequestsFromMapFunc(groupsInSet), builder.WithPredicates(status.SetProgressed)).
		Complete(r)
}

// groupsForHost is asked for the host before and after a change.
func (r *Reconciler) groupsForHost(ctx context.Context, object client.Object) []ctrl.Request {
	return selecting.Host(ctx, r.Client, &v1alpha1.SourceGroupList{}, object, func(g *v1alpha1.SourceGroup, host *v1alpha1.Host) (bool, error) {
		return compile.Matches(g.Spec.Selector, host)
	})
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
