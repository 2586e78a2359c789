package schedule

import (
	"context"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/coalesce"
	"github.com/restic-manager/restic-manager/controllers/internal/fleet"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// workers let an object of one Host pass those of thousands, which take longer to look at.
const workers = 4

// SetupWithManager makes the reconciler run in mgr, whose cache has the indexes of package selecting.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.Schedule{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		// What was written here comes back, so that a status that was computed from a stale copy is mended; not at once, or each write of a burst would bring
		// the next.
		Watches(&v1alpha1.Schedule{}, r.looks.Handler(r.Clock, coalesce.Results, coalesce.Itself)).
		Watches(&v1alpha1.Host{}, r.looks.Mapped(r.Clock, coalesce.Acks, r.schedulesForHost), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Watches(&v1alpha1.Host{}, r.looks.Handler(r.Clock, coalesce.Results, coalesce.ByStatus(fleet.ChangedSchedules))).
		Watches(&v1alpha1.SourceGroup{}, handler.EnqueueRequestsFromMapFunc(r.schedulesForGroup), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.ScheduleSet{}, r.looks.Sets(r.Clock, status.Schedules)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
}

// schedulesForHost is asked for the host before and after a change.
func (r *Reconciler) schedulesForHost(ctx context.Context, object client.Object) []ctrl.Request {
	host, ok := object.(*v1alpha1.Host)
	if !ok {
		return nil
	}
	groups, err := selecting.Groups(ctx, r.Client, host)
	if err != nil {
		log.FromContext(ctx).Error(err, "listing the SourceGroups that select a Host", "host", client.ObjectKeyFromObject(host))
		return nil
	}
	var names []string
	for i := range groups {
		names = append(names, groups[i].Name)
	}
	return r.schedulesNaming(ctx, host.Namespace, names...)
}

func (r *Reconciler) schedulesForGroup(ctx context.Context, object client.Object) []ctrl.Request {
	return r.schedulesNaming(ctx, object.GetNamespace(), object.GetName())
}

func (r *Reconciler) schedulesNaming(ctx context.Context, namespace string, groups ...string) []ctrl.Request {
	schedules, err := selecting.Schedules(ctx, r.Client, namespace, groups...)
	if err != nil {
		log.FromContext(ctx).Error(err, "listing the Schedules that name SourceGroups", "namespace", namespace, "sourceGroups", groups)
		return nil
	}
	var names []string
	for i := range schedules {
		names = append(names, schedules[i].Name)
	}
	return coalesce.Named(namespace, names)
}
