package sourcegroup

import (
	"context"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/coalesce"
	"github.com/restic-manager/restic-manager/controllers/status"
)

//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=sourcegroups;hosts;schedulesets;repomaintenances,verbs=get;list;watch
//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=sourcegroups/status,verbs=patch

// Reconciler writes the status of SourceGroups.
type Reconciler struct {
	Client client.Client
	Clock  clock.PassiveClock

	looks   coalesce.Coalescer
	forgets forgets
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	group := &v1alpha1.SourceGroup{}
	if err := r.Client.Get(ctx, req.NamespacedName, group); err != nil {
		r.looks.Forget(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !group.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	r.looks.Began(req.NamespacedName, r.Clock.Now())
	seen, err := r.gather(ctx, group)
	if err != nil {
		return ctrl.Result{}, err
	}
	base := group.DeepCopy()
	waiting, err := decide(group, seen, r.Clock)
	soon := ctrl.Result{RequeueAfter: r.looks.Ran(req.NamespacedName, r.Clock.Now(), len(seen.hosts), waiting)}
	if wait := r.looks.Settle(req.NamespacedName, &base.Status.FleetSummary, &group.Status.FleetSummary, base.Status.ObservedGeneration != group.Generation); wait > 0 {
		return status.Sooner(ctrl.Result{RequeueAfter: wait}, soon), nil
	}
	if again, written, patchErr := coalesce.Write(ctx, r.Client, base, group); !written {
		return again, patchErr
	}
	result, err := status.Result(err)
	return status.Sooner(result, soon), err
}
