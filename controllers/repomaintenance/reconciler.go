package repomaintenance

import (
	"context"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
	"github.com/restic-manager/restic-manager/controllers/status"
)

//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=repomaintenances/status,verbs=patch

// DefaultCollect keeps a night of results from writing a status thousands of times, and a person from waiting.
const DefaultCollect = 3 * time.Second

// Reconciler writes the status of RepoMaintenances. Its SetupWithManager also adds the controller that runs maintenance.
type Reconciler struct {
	Client client.Client
	// Live reads the API server itself.
	Live client.Reader
	// Namespaces reads as status.Terminating needs it.
	Namespaces client.Reader
	Clock      clock.PassiveClock
	// Collect is how long what happens to hosts and jobs is collected before a status is written.
	Collect time.Duration
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	m := &v1alpha1.RepoMaintenance{}
	if err := r.Client.Get(ctx, req.NamespacedName, m); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !m.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	seen, err := r.gather(ctx, m)
	if err != nil {
		return ctrl.Result{}, err
	}
	base := m.DeepCopy()
	err = decide(m, seen, r.Clock)
	if patchErr := status.Patch(ctx, r.Client, base, m); patchErr != nil {
		return ctrl.Result{}, client.IgnoreNotFound(patchErr)
	}
	return status.Result(err)
}

// gather reads shared objects of the cache: they must not be changed.
func (r *Reconciler) gather(ctx context.Context, m *v1alpha1.RepoMaintenance) (facts, error) {
	find := finder{r.Client}
	seen := facts{sharing: map[string][]*v1alpha1.Host{}}
	var err error
	if seen.hosts, err = find.selected(ctx, m); err != nil {
		return facts{}, err
	}
	var all []*v1alpha1.Host
	for _, host := range seen.hosts {
		key := maintenance.Key(host)
		if seen.sharing[key] != nil {
			continue
		}
		if seen.sharing[key], err = find.sharing(ctx, m.Namespace, maintenance.RepositoryHash(host)); err != nil {
			return facts{}, err
		}
		all = append(all, seen.sharing[key]...)
	}
	maintenances, err := r.maintenances(ctx, m, all)
	if err != nil {
		return facts{}, err
	}
	seen.index = maintenance.NewIndex(maintenances)
	if ref := m.Spec.ExecutorRef; ref != nil {
		if seen.executor, err = find.host(ctx, m.Namespace, ref.Name); err != nil {
			return facts{}, err
		}
	}
	running := &v1alpha1.HostJobList{}
	if err := find.list(ctx, running, m.Namespace, indexMaintenance, maintenance.LabelValue(m.Name)); err != nil {
		return facts{}, err
	}
	seen.running = len(running.Items)
	return seen, nil
}

// maintenances are those that may select one of the hosts. For many hosts all of the namespace are read at once.
func (r *Reconciler) maintenances(ctx context.Context, m *v1alpha1.RepoMaintenance, hosts []*v1alpha1.Host) ([]v1alpha1.RepoMaintenance, error) {
	if m.Spec.HostRef != nil {
		return finder{r.Client}.selecting(ctx, m.Namespace, hosts)
	}
	list := &v1alpha1.RepoMaintenanceList{}
	if err := r.Client.List(ctx, list, client.InNamespace(m.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	return list.Items, nil
}
