package schedule

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/coalesce"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/controllers/status"
)

//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=schedules;sourcegroups;hosts;schedulesets,verbs=get;list;watch
//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=schedules/status,verbs=patch

// Reconciler writes the status of Schedules.
type Reconciler struct {
	Client client.Client
	Clock  clock.PassiveClock

	looks coalesce.Coalescer
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	schedule := &v1alpha1.Schedule{}
	if err := r.Client.Get(ctx, req.NamespacedName, schedule); err != nil {
		r.looks.Forget(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !schedule.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	r.looks.Began(req.NamespacedName, r.Clock.Now())
	seen, err := r.gather(ctx, schedule)
	if err != nil {
		return ctrl.Result{}, err
	}
	base := schedule.DeepCopy()
	waiting, err := decide(schedule, seen, r.Clock)
	soon := ctrl.Result{RequeueAfter: r.looks.Ran(req.NamespacedName, r.Clock.Now(), int(schedule.Status.HostsMatched), waiting)}
	if wait := r.looks.Settle(req.NamespacedName, &base.Status.FleetSummary, &schedule.Status.FleetSummary, base.Status.ObservedGeneration != schedule.Generation); wait > 0 {
		return status.Sooner(ctrl.Result{RequeueAfter: wait}, soon), nil
	}
	if again, written, patchErr := coalesce.Write(ctx, r.Client, base, schedule); !written {
		return again, patchErr
	}
	result, err := status.Result(err)
	return status.Sooner(status.Sooner(result, soon), r.atNextFire(schedule)), err
}

// gather reads shared objects of the cache, which must not be changed: the groups that the schedule names, the hosts that they select, and the sets of these.
func (r *Reconciler) gather(ctx context.Context, schedule *v1alpha1.Schedule) (facts, error) {
	var seen facts
	var asked []v1alpha1.Selector // groups of one Schedule are often for the same Hosts
	for _, name := range schedule.Spec.SourceGroups {
		group := &v1alpha1.SourceGroup{}
		switch err := r.Client.Get(ctx, client.ObjectKey{Namespace: schedule.Namespace, Name: name}, group, client.UnsafeDisableDeepCopy); {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return facts{}, fmt.Errorf("reading SourceGroup %s: %w", name, err)
		}
		seen.groups = append(seen.groups, *group)
		if slices.ContainsFunc(asked, func(s v1alpha1.Selector) bool { return equality.Semantic.DeepEqual(s, group.Spec.Selector) }) {
			continue
		}
		asked = append(asked, group.Spec.Selector)
		hosts, err := selecting.Unsorted(ctx, r.Client, schedule.Namespace, group.Spec.Selector)
		if err != nil {
			return facts{}, err
		}
		seen.hosts = append(seen.hosts, hosts...)
	}
	if len(asked) > 1 {
		seen.hosts = selecting.Unique(seen.hosts)
	}
	var err error
	seen.sets, err = selecting.Sets(ctx, r.Client, seen.hosts)
	return seen, err
}

func (r *Reconciler) atNextFire(schedule *v1alpha1.Schedule) ctrl.Result {
	next := schedule.Status.NextFireTime
	if next == nil {
		return ctrl.Result{}
	}
	return ctrl.Result{RequeueAfter: max(next.Sub(r.Clock.Now()), time.Millisecond)}
}
