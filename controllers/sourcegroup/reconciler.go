package sourcegroup

import (
	"context"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/status"
)

//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=sourcegroups;hosts;schedulesets;repomaintenances,verbs=get;list;watch
//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=sourcegroups/status,verbs=patch

// Reconciler writes the status of SourceGroups.
type Reconciler struct {
	Client client.Client
	Clock  clock.PassiveClock
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	group := &v1alpha1.SourceGroup{}
	if err := r.Client.Get(ctx, req.NamespacedName, group); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !group.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	seen, err := r.gather(ctx, req.Namespace)
	if err != nil {
		return ctrl.Result{}, err
	}
	base := group.DeepCopy()
	err = decide(group, seen, r.Clock)
	if patchErr := status.Patch(ctx, r.Client, base, group); patchErr != nil {
		return ctrl.Result{}, client.IgnoreNotFound(patchErr)
	}
	return status.Result(err)
}

// gather reads shared objects of the cache: they must not be changed.
func (r *Reconciler) gather(ctx context.Context, namespace string) (seen, error) {
	hosts, sets := &v1alpha1.HostList{}, &v1alpha1.ScheduleSetList{}
	maintenances, groups := &v1alpha1.RepoMaintenanceList{}, &v1alpha1.SourceGroupList{}
	for _, list := range []client.ObjectList{hosts, sets, maintenances, groups} {
		if err := r.Client.List(ctx, list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
			return seen{}, err
		}
	}
	return seen{hosts: hosts.Items, sets: sets.Items, maintenances: maintenances.Items, groups: groups.Items}, nil
}
