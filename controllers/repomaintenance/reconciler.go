package repomaintenance

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/restic-manager/restic-manager/api/cronspec"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/controllers/status"
)

//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=repomaintenances;hosts,verbs=get;list;watch
//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=repomaintenances/status,verbs=patch

// Reconciler writes the status of RepoMaintenances.
type Reconciler struct {
	Client client.Client
	Clock  clock.PassiveClock
}

// SetupWithManager makes the reconciler run in mgr.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		// Without a predicate: what was written here comes back, so that a status that was computed from a stale copy is mended.
		For(&v1alpha1.RepoMaintenance{}).
		Watches(&v1alpha1.Host{}, handler.EnqueueRequestsFromMapFunc(r.forHost), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Complete(r)
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	maintenance := &v1alpha1.RepoMaintenance{}
	if err := r.Client.Get(ctx, req.NamespacedName, maintenance); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !maintenance.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	hosts := &v1alpha1.HostList{}
	if err := r.Client.List(ctx, hosts, client.InNamespace(req.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, err
	}
	base := maintenance.DeepCopy()
	err := decide(maintenance, hosts.Items, r.Clock)
	if patchErr := status.Patch(ctx, r.Client, base, maintenance); patchErr != nil {
		return ctrl.Result{}, client.IgnoreNotFound(patchErr)
	}
	return status.Result(err)
}

// decide fills the status in. There is always an error: nothing is acted on.
func decide(maintenance *v1alpha1.RepoMaintenance, hosts []v1alpha1.Host, clk clock.PassiveClock) error {
	matched, err := 0, check(&maintenance.Spec)
	for i := range hosts {
		// check has found a selector that does not parse; such a one matches nothing.
		if matches, _ := compile.Matches(maintenance.Spec.Selector, &hosts[i]); matches && hosts[i].DeletionTimestamp.IsZero() {
			matched++
		}
	}
	if err != nil {
		err = status.Stalled(v1alpha1.ReasonInvalid, "%w", err)
	} else {
		err = status.Stalled(v1alpha1.ReasonNotYetSupported, "the object is valid, but this version does not run forget, prune or check: run them with restic until it does")
	}
	maintenance.Status.ObservedGeneration = maintenance.Generation
	maintenance.Status.HostsMatched = int32(matched)
	status.For(&maintenance.Status.Conditions, maintenance.Generation, clk).Ready(err, "", "")
	return err
}

// check names the field that does not parse.
func check(spec *v1alpha1.RepoMaintenanceSpec) error {
	if _, err := metav1.LabelSelectorAsSelector(spec.HostSelector); err != nil {
		return fmt.Errorf("spec.hostSelector: %w", err)
	}
	operations := []struct {
		field   string
		cadence *v1alpha1.Cadence
	}{{"forget", spec.Forget}, {"prune", nil}, {"check", nil}}
	if spec.Prune != nil {
		operations[1].cadence = &spec.Prune.Cadence
	}
	if spec.Check != nil {
		operations[2].cadence = &spec.Check.Cadence
	}
	for _, operation := range operations {
		if operation.cadence == nil {
			continue
		}
		if _, err := cronspec.Parse(operation.cadence.Cron, spec.TimeZone); err != nil {
			field := "spec." + operation.field + ".cron"
			if strings.HasPrefix(err.Error(), "timeZone") {
				field = "spec.timeZone"
			}
			return fmt.Errorf("%s: %w", field, err)
		}
	}
	return nil
}

// forHost is asked for the host before and after a change.
func (r *Reconciler) forHost(ctx context.Context, object client.Object) []ctrl.Request {
	return selecting.Host(ctx, r.Client, &v1alpha1.RepoMaintenanceList{}, object, func(m *v1alpha1.RepoMaintenance, host *v1alpha1.Host) (bool, error) {
		return compile.Matches(m.Spec.Selector, host)
	})
}
