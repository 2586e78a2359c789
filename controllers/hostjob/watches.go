package hostjob

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// SetupWithManager makes the reconciler run in mgr.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	hostChanged := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{})
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.HostJob{}, builder.WithPredicates(jobMoved)).
		Watches(&v1alpha1.Host{}, handler.EnqueueRequestsFromMapFunc(r.jobsOfHost), builder.WithPredicates(hostChanged)).
		Watches(&v1alpha1.SourceGroup{}, handler.EnqueueRequestsFromMapFunc(r.jobsOfGroup), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Complete(r)
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

func (r *Reconciler) jobsOfHost(ctx context.Context, host client.Object) []ctrl.Request {
	return r.unfinished(ctx, host.GetNamespace(), func(job *v1alpha1.HostJob) bool { return job.Spec.HostRef.Name == host.GetName() })
}

func (r *Reconciler) jobsOfGroup(ctx context.Context, group client.Object) []ctrl.Request {
	return r.unfinished(ctx, group.GetNamespace(), func(job *v1alpha1.HostJob) bool { return groupName(job) == group.GetName() })
}

func (r *Reconciler) unfinished(ctx context.Context, namespace string, concerns func(*v1alpha1.HostJob) bool) []ctrl.Request {
	jobs := &v1alpha1.HostJobList{}
	if err := r.Client.List(ctx, jobs, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "listing the HostJobs that a change may concern", "namespace", namespace)
		return nil
	}
	var requests []ctrl.Request
	for i := range jobs.Items {
		if job := &jobs.Items[i]; !job.Status.Phase.Finished() && concerns(job) {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(job)})
		}
	}
	return requests
}
