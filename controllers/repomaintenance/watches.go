package repomaintenance

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
)

// workers is how many repositories are looked at at the same time.
const workers = 4

// SetupWithManager makes both controllers run in mgr, whose cache has the indexes of package selecting.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := addIndexes(mgr); err != nil {
		return err
	}
	cached := lookup{finder{r.Client}}
	specChanged := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{})
	err := ctrl.NewControllerManagedBy(mgr).
		Named("repository").
		Watches(&v1alpha1.Host{}, handler.EnqueueRequestsFromMapFunc(cached.repositoriesOfHost), builder.WithPredicates(hostChanged)).
		Watches(&v1alpha1.HostJob{}, handler.EnqueueRequestsFromMapFunc(cached.repositoriesOfJob), builder.WithPredicates(jobChanged)).
		Watches(&v1alpha1.RepoMaintenance{}, handler.EnqueueRequestsFromMapFunc(cached.repositoriesOf), builder.WithPredicates(specChanged)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(&repositories{client: r.Client, live: r.Live, namespaces: r.Namespaces, clock: r.Clock})
	if err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		// Without a predicate: what was written here comes back, so that a status that was computed from a stale copy is mended.
		For(&v1alpha1.RepoMaintenance{}).
		Watches(&v1alpha1.Host{}, collected(r.Collect, cached.maintenancesOfHost), builder.WithPredicates(hostChanged)).
		Watches(&v1alpha1.HostJob{}, collected(r.Collect, cached.maintenancesOfJob), builder.WithPredicates(jobChanged)).
		Watches(&v1alpha1.RepoMaintenance{}, collected(r.Collect, cached.maintenancesBeside), builder.WithPredicates(specChanged)).
		Complete(r)
}

// collected enqueues after a delay: what comes meanwhile is looked at together.
func collected(delay time.Duration, requests handler.MapFunc) handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[ctrl.Request]
	add := func(ctx context.Context, q queue, objects ...client.Object) {
		for _, object := range objects {
			for _, request := range requests(ctx, object) {
				q.AddAfter(request, delay)
			}
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { add(ctx, q, e.Object) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { add(ctx, q, e.ObjectOld, e.ObjectNew) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { add(ctx, q, e.Object) },
	}
}

// hostChanged passes what a decision follows from: not the results of backups. status.maintenance, which is written here, comes back, so that what
// was computed from a stale copy is mended.
var hostChanged = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*v1alpha1.Host)
		if !ok {
			return false
		}
		after, ok := e.ObjectNew.(*v1alpha1.Host)
		return ok && !equality.Semantic.DeepEqual(lookedAt(before), lookedAt(after))
	},
}

func lookedAt(host *v1alpha1.Host) *v1alpha1.Host {
	seen := &v1alpha1.Host{
		ObjectMeta: metav1.ObjectMeta{UID: host.UID, Generation: host.Generation, Labels: host.Labels, DeletionTimestamp: host.DeletionTimestamp},
		Status:     v1alpha1.HostStatus{Maintenance: host.Status.Maintenance},
	}
	if c := meta.FindStatusCondition(host.Status.Conditions, v1alpha1.ConditionConnected); c != nil {
		seen.Status.Conditions = []metav1.Condition{{Status: c.Status, Reason: c.Reason}}
	}
	if host.Status.LastSuccessTime != nil {
		seen.Status.LastSuccessTime = &metav1.Time{} // whether there is a backup at all
	}
	return seen
}

// jobChanged passes a job that comes, ends or goes.
var jobChanged = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*v1alpha1.HostJob)
		if !ok {
			return false
		}
		after, ok := e.ObjectNew.(*v1alpha1.HostJob)
		return ok && before.Status.Phase.Finished() != after.Status.Phase.Finished()
	},
}

// lookup finds what has to be looked at again. Its methods are asked for an object before and after a change.
type lookup struct{ finder }

func (l lookup) repositoriesOfHost(ctx context.Context, object client.Object) []ctrl.Request {
	host, ok := object.(*v1alpha1.Host)
	if !ok {
		return nil
	}
	found := &unique{}
	found.repository(host)
	for _, m := range l.executedBy(ctx, host) {
		l.addRepositories(ctx, found, &m)
	}
	return found.requests
}

func (l lookup) repositoriesOfJob(ctx context.Context, object client.Object) []ctrl.Request {
	job, ok := object.(*v1alpha1.HostJob)
	if !ok {
		return nil
	}
	host, err := l.host(ctx, job.Namespace, job.TargetName())
	if err != nil {
		log.FromContext(ctx).Error(err, "finding the Host of a HostJob", "hostJob", client.ObjectKeyFromObject(job))
	}
	if host == nil {
		return nil
	}
	found := &unique{}
	found.repository(host)
	return found.requests
}

func (l lookup) repositoriesOf(ctx context.Context, object client.Object) []ctrl.Request {
	m, ok := object.(*v1alpha1.RepoMaintenance)
	if !ok {
		return nil
	}
	found := &unique{}
	l.addRepositories(ctx, found, m)
	return found.requests
}

func (l lookup) maintenancesOfHost(ctx context.Context, object client.Object) []ctrl.Request {
	host, ok := object.(*v1alpha1.Host)
	if !ok {
		return nil
	}
	found := &unique{}
	l.addSelecting(ctx, found, host)
	for _, m := range l.executedBy(ctx, host) {
		found.add(client.ObjectKeyFromObject(&m))
	}
	return found.requests
}

func (l lookup) maintenancesOfJob(ctx context.Context, object client.Object) []ctrl.Request {
	job, ok := object.(*v1alpha1.HostJob)
	if !ok || job.Labels[v1alpha1.LabelMaintenance] == "" {
		return nil
	}
	host, err := l.host(ctx, job.Namespace, job.TargetName())
	if err != nil {
		log.FromContext(ctx).Error(err, "finding the Host of a HostJob", "hostJob", client.ObjectKeyFromObject(job))
	}
	if host == nil {
		return nil
	}
	found := &unique{}
	l.addSelecting(ctx, found, host)
	return found.requests
}

// maintenancesBeside are those that select a host which this one selects too: one of them may come into force instead.
func (l lookup) maintenancesBeside(ctx context.Context, object client.Object) []ctrl.Request {
	m, ok := object.(*v1alpha1.RepoMaintenance)
	if !ok {
		return nil
	}
	hosts, err := l.selected(ctx, m)
	if err != nil {
		log.FromContext(ctx).Error(err, "listing the Hosts that a RepoMaintenance selects", "repoMaintenance", client.ObjectKeyFromObject(m))
		return nil
	}
	found := &unique{}
	for _, host := range hosts {
		l.addSelecting(ctx, found, host)
	}
	return found.requests
}

func (l lookup) addRepositories(ctx context.Context, found *unique, m *v1alpha1.RepoMaintenance) {
	hosts, err := l.selected(ctx, m)
	if err != nil {
		log.FromContext(ctx).Error(err, "listing the Hosts that a RepoMaintenance selects", "repoMaintenance", client.ObjectKeyFromObject(m))
	}
	for _, host := range hosts {
		found.repository(host)
	}
}

// addSelecting adds the RepoMaintenances that select a host or one that shares its repository.
func (l lookup) addSelecting(ctx context.Context, found *unique, host *v1alpha1.Host) {
	sharing, err := l.sharing(ctx, host.Namespace, maintenance.RepositoryHash(host))
	if err != nil {
		log.FromContext(ctx).Error(err, "listing the Hosts that share a repository", "host", client.ObjectKeyFromObject(host))
	}
	sharing = append(sharing, host) // as it was, perhaps
	all, err := l.selecting(ctx, host.Namespace, sharing)
	if err != nil {
		log.FromContext(ctx).Error(err, "listing the RepoMaintenances that select a Host", "host", client.ObjectKeyFromObject(host))
	}
	index := maintenance.NewIndex(all)
	for _, h := range sharing {
		for _, m := range index.Selecting(h) {
			found.add(client.ObjectKeyFromObject(m))
		}
	}
}

func (l lookup) executedBy(ctx context.Context, host *v1alpha1.Host) []v1alpha1.RepoMaintenance {
	list := &v1alpha1.RepoMaintenanceList{}
	if err := l.list(ctx, list, host.Namespace, indexExecutor, host.Name); err != nil {
		log.FromContext(ctx).Error(err, "listing the RepoMaintenances that a Host executes", "host", client.ObjectKeyFromObject(host))
	}
	return list.Items
}

// unique collects requests.
type unique struct {
	requests []ctrl.Request
	seen     map[types.NamespacedName]bool
}

func (u *unique) repository(host *v1alpha1.Host) {
	u.add(types.NamespacedName{Namespace: host.Namespace, Name: maintenance.RepositoryHash(host)})
}

func (u *unique) add(name types.NamespacedName) {
	if u.seen == nil {
		u.seen = map[types.NamespacedName]bool{}
	}
	if !u.seen[name] {
		u.seen[name] = true
		u.requests = append(u.requests, ctrl.Request{NamespacedName: name})
	}
}
