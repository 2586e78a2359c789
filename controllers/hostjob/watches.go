package hostjob

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/tidings"
)

// SetupWithManager makes the reconciler run in mgr, whose cache has the indexes of package selecting.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := setupIndex(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
	changed := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{})
	generation := predicate.GenerationChangedPredicate{}
	jobs := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.HostJob{}, builder.WithPredicates(jobMoved)).
		Watches(&v1alpha1.HostJob{}, handler.EnqueueRequestsFromMapFunc(r.jobsBehind), builder.WithPredicates(gaveWay)).
		Watches(&v1alpha1.Host{}, handler.EnqueueRequestsFromMapFunc(r.jobsOfHost), builder.WithPredicates(changed)).
		Watches(&v1alpha1.SourceGroup{}, handler.EnqueueRequestsFromMapFunc(r.jobsOfGroup), builder.WithPredicates(generation)).
		Watches(&v1alpha1.RepoMaintenance{}, handler.EnqueueRequestsFromMapFunc(r.jobsOfMaintenance), builder.WithPredicates(changed)).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.jobsOfSecret), builder.WithPredicates(secretChanged))
	for _, n := range r.News {
		jobs.WatchesRawSource(n.Source(tidings.Every(r.Client, &v1alpha1.HostJobList{})))
	}
	return jobs.Complete(r)
}

// jobMoved passes a change of what was asked for, of the phase, and of the conditions (which are written here, perhaps from a stale copy), not
// progress.
var jobMoved = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*v1alpha1.HostJob)
		if !ok {
			return false
		}
		after, ok := e.ObjectNew.(*v1alpha1.HostJob)
		return ok && (before.Generation != after.Generation || before.Status.Phase != after.Status.Phase ||
			before.Status.Queued != after.Status.Queued ||
			!equality.Semantic.DeepEqual(before.Status.Conditions, after.Status.Conditions))
	},
}

// gaveWay passes an exclusive job that has ended, was deleted, or lost its command: another one may have its turn.
var gaveWay = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
	DeleteFunc: func(e event.DeleteEvent) bool {
		job, ok := e.Object.(*v1alpha1.HostJob)
		return ok && exclusive(job) && !job.Status.Phase.Finished()
	},
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*v1alpha1.HostJob)
		if !ok || !exclusive(before) {
			return false
		}
		after, ok := e.ObjectNew.(*v1alpha1.HostJob)
		return ok && (!before.Status.Phase.Finished() && after.Status.Phase.Finished() ||
			before.Status.Command != nil && after.Status.Command == nil)
	},
}

var secretChanged = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*corev1.Secret)
		if !ok {
			return false
		}
		after, ok := e.ObjectNew.(*corev1.Secret)
		return ok && !equality.Semantic.DeepEqual(before.Data, after.Data)
	},
}

// jobsBehind are the exclusive jobs on the repository of one that gave way.
func (r *Reconciler) jobsBehind(ctx context.Context, object client.Object) []ctrl.Request {
	job, ok := object.(*v1alpha1.HostJob)
	if !ok {
		return nil
	}
	target := &v1alpha1.Host{}
	found, err := r.find(ctx, job.Namespace, job.TargetName(), target)
	if err != nil || !found {
		return nil // of a Host that is gone, the cause is told by its own jobs
	}
	sharing, err := r.sharing(ctx, target)
	if err != nil {
		return failedToList(ctx, err)
	}
	jobs, err := r.exclusiveJobs(ctx, job.Namespace, sharing)
	if err != nil {
		return failedToList(ctx, err)
	}
	var requests []ctrl.Request
	for _, other := range jobs {
		if other.UID != job.UID && !isUnderWay(other) {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(other)})
		}
	}
	return requests
}

// jobsOfHost are those that name the Host, and those on a repository that it shares: its snapshots are forgotten with the others, and it may be the one whose
// RepoMaintenance counts. It is asked for the Host before and after a change.
func (r *Reconciler) jobsOfHost(ctx context.Context, object client.Object) []ctrl.Request {
	host, ok := object.(*v1alpha1.Host)
	if !ok {
		return nil
	}
	requests := r.unfinished(ctx, host.Namespace, keyHost(host.Name), nil)
	sharing, err := r.sharing(ctx, host)
	if err != nil {
		return append(requests, failedToList(ctx, err)...)
	}
	for _, other := range sharing {
		if other.Name != host.Name {
			requests = append(requests, r.unfinished(ctx, host.Namespace, keyHost(other.Name), maintained)...)
		}
	}
	return requests
}

func (r *Reconciler) jobsOfGroup(ctx context.Context, group client.Object) []ctrl.Request {
	requests := r.unfinished(ctx, group.GetNamespace(), keyGroup(group.GetName()), nil)
	return append(requests, r.unfinished(ctx, group.GetNamespace(), keyAllGroups, nil)...)
}

// jobsOfMaintenance takes all that it may concern: they are few, and most are.
func (r *Reconciler) jobsOfMaintenance(ctx context.Context, m client.Object) []ctrl.Request {
	return r.unfinished(ctx, m.GetNamespace(), keyMaintained, nil)
}

func (r *Reconciler) jobsOfSecret(ctx context.Context, secret client.Object) []ctrl.Request {
	return r.unfinished(ctx, secret.GetNamespace(), keyMaintained, func(job *v1alpha1.HostJob) bool {
		target := r.target(ctx, job)
		if target == nil {
			return false
		}
		admin := target.Spec.Repository.AdminCredentialsSecretRef
		return target.CredentialsSecretName() == secret.GetName() || admin != nil && admin.Name == secret.GetName()
	})
}

// target is nil when there is none.
func (r *Reconciler) target(ctx context.Context, job *v1alpha1.HostJob) *v1alpha1.Host {
	host := &v1alpha1.Host{}
	key := client.ObjectKey{Namespace: job.Namespace, Name: job.TargetName()}
	if err := r.Client.Get(ctx, key, host, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	return host
}

// unfinished are the unfinished jobs with a key of the index; concerns narrows them, nil does not.
func (r *Reconciler) unfinished(ctx context.Context, namespace, key string, concerns func(*v1alpha1.HostJob) bool) []ctrl.Request {
	jobs := &v1alpha1.HostJobList{}
	if err := r.listIndexed(ctx, jobs, namespace, indexJobs, key); err != nil {
		return failedToList(ctx, err)
	}
	var requests []ctrl.Request
	for i := range jobs.Items {
		if job := &jobs.Items[i]; concerns == nil || concerns(job) {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(job)})
		}
	}
	return requests
}

func failedToList(ctx context.Context, err error) []ctrl.Request {
	log.FromContext(ctx).Error(err, "finding the HostJobs that a change may concern")
	return nil
}
