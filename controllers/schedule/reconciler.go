package schedule

import (
	"context"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/status"
)

//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=schedules;sourcegroups;hosts;schedulesets,verbs=get;list;watch
//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=schedules/status,verbs=patch

// Reconciler writes the status of Schedules.
type Reconciler struct {
	Client client.Client
	Clock  clock.PassiveClock
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	schedule := &v1alpha1.Schedule{}
	if err := r.Client.Get(ctx, req.NamespacedName, schedule); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !schedule.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	seen, err := r.gather(ctx, req.Namespace)
	if err != nil {
		return ctrl.Result{}, err
	}
	base := schedule.DeepCopy()
	err = decide(schedule, seen, r.Clock)
	if patchErr := status.Patch(ctx, r.Client, base, schedule); patchErr != nil {
		return ctrl.Result{}, client.IgnoreNotFound(patchErr)
	}
	result, err := status.Result(err)
	return status.Sooner(result, r.atNextFire(schedule)), err
}

// gather reads shared objects of the cache: they must not be changed.
func (r *Reconciler) gather(ctx context.Context, namespace string) (facts, error) {
	hosts, groups, sets := &v1alpha1.HostList{}, &v1alpha1.SourceGroupList{}, &v1alpha1.ScheduleSetList{}
	for _, list := range []client.ObjectList{hosts, groups, sets} {
		if err := r.Client.List(ctx, list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
			return facts{}, err
		}
	}
	return facts{hosts: hosts.Items, groups: groups.Items, sets: sets.Items}, nil
}

func (r *Reconciler) atNextFire(schedule *v1alpha1.Schedule) ctrl.Result {
	next := schedule.Status.NextFireTime
	if next == nil {
		return ctrl.Result{}
	}
	return ctrl.Result{RequeueAfter: max(next.Sub(r.Clock.Now()), time.Millisecond)}
}
