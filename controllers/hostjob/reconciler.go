package hostjob

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/internal/tidings"
	"github.com/restic-manager/restic-manager/controllers/status"
)

//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=hostjobs,verbs=get;list;watch;patch;delete
//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=hostjobs/status,verbs=patch
//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=hosts;sourcegroups;repomaintenances,verbs=get;list;watch
//+kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
//+kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// conflictDelay is how long a reconciliation waits for the cache after somebody else wrote the job.
const conflictDelay = 200 * time.Millisecond

// Reconciler compiles and signs HostJobs and writes what the controllers own of their status.
type Reconciler struct {
	Client client.Client
	// Live reads the metadata of Secrets that the cache does not have.
	Live client.Reader
	// Namespaces reads as status.Terminating needs it.
	Namespaces client.Reader
	Clock      clock.PassiveClock
	Signer     Signer
	// News of the keys. May be empty.
	News     []*tidings.News
	Recorder events.EventRecorder
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	job := &v1alpha1.HostJob{}
	if err := r.Client.Get(ctx, req.NamespacedName, job); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	result, err := r.reconcile(ctx, job)
	switch {
	case apierrors.IsConflict(err):
		// The gateway dispatched it, or somebody cancelled it, since it was read: look again.
		log.FromContext(ctx).V(1).Info("the HostJob changed meanwhile")
		return ctrl.Result{RequeueAfter: conflictDelay}, nil
	case apierrors.IsNotFound(err):
		return ctrl.Result{}, nil
	}
	return result, err
}

func (r *Reconciler) reconcile(ctx context.Context, job *v1alpha1.HostJob) (ctrl.Result, error) {
	if terminating, err := status.Terminating(ctx, r.Namespaces, job.Namespace); terminating || err != nil || !job.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, err
	}
	if job.Status.Phase.Finished() {
		return r.finish(ctx, job)
	}
	seen, err := r.gather(ctx, job)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.adopt(ctx, seen); err != nil {
		return ctrl.Result{}, err
	}
	base := job.DeepCopy()
	next := decide(seen)
	if err := r.apply(seen, next); err != nil {
		return ctrl.Result{}, err
	}
	if err := status.Patch(ctx, r.Client, base, job, status.WithLock()); err != nil {
		return ctrl.Result{}, err
	}
	if job.Status.Phase.Finished() {
		log.FromContext(ctx).Info("ended a HostJob that never started", "phase", job.Status.Phase, "message", next.message)
		r.announce(job, next.message)
		return r.finish(ctx, job)
	}
	if next.again.IsZero() {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: max(next.again.Sub(r.Clock.Now()), time.Millisecond)}, nil
}

// adopt makes the Host the job's owner, so that both go together.
func (r *Reconciler) adopt(ctx context.Context, seen facts) error {
	if seen.host == nil || ownerUID(seen.job) != "" {
		return nil
	}
	base := seen.job.DeepCopy()
	if err := controllerutil.SetOwnerReference(seen.host, seen.job, r.Client.Scheme()); err != nil {
		return fmt.Errorf("making Host %s the owner of the HostJob: %w", seen.host.Name, err)
	}
	patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	return r.Client.Patch(ctx, seen.job, patch, client.FieldOwner(v1alpha1.ManagerControllers))
}

// ownerUID is that of the Host that was adopted as owner; empty when there is none yet.
func ownerUID(job *v1alpha1.HostJob) types.UID {
	for _, owner := range job.OwnerReferences {
		if owner.Kind == "Host" && owner.Name == job.Spec.HostRef.Name && owner.APIVersion == v1alpha1.GroupVersion.String() {
			return owner.UID
		}
	}
	return ""
}

// apply turns a decision into status.
func (r *Reconciler) apply(seen facts, next decision) error {
	job := seen.job
	if next.phase != "" {
		job.Status.Phase = next.phase
		if err := r.issue(seen, next.command); err != nil {
			return err
		}
	}
	if next.cancel != "" {
		job.Status.CancelCommand = r.sign(next.cancel, job.Status.CancelCommand)
	}
	if job.Status.Phase.Finished() {
		job.Status.CompletionTime = new(metav1.NewTime(r.Clock.Now()))
	}
	setConditions(job, next, r.Clock)
	return nil
}

// announce tells people that the controllers ended a job; what a machine ended, the gateway announces.
func (r *Reconciler) announce(job *v1alpha1.HostJob, message string) {
	kind := corev1.EventTypeWarning
	if job.Status.Phase == v1alpha1.JobCancelled {
		kind = corev1.EventTypeNormal
	}
	r.Recorder.Eventf(job, nil, kind, finalReasons[job.Status.Phase], "End", "%s: %s", job.Spec.Kind, wire.Cut(message, status.MaxNote))
}

// finish tells the result in conditions, takes the credentials out in the same write, and deletes the object once it was kept long enough.
func (r *Reconciler) finish(ctx context.Context, job *v1alpha1.HostJob) (ctrl.Result, error) {
	base := job.DeepCopy()
	setFinalConditions(job, r.Clock)
	withdrawCredentials(&job.Status)
	if err := status.Patch(ctx, r.Client, base, job); err != nil {
		return ctrl.Result{}, err
	}
	expiry, ok := deleteAt(job)
	if !ok {
		return ctrl.Result{}, nil
	}
	if left := expiry.Sub(r.Clock.Now()); left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	log.FromContext(ctx).Info("deleting a HostJob whose ttlSecondsAfterFinished have passed", "phase", job.Status.Phase)
	uid, version := job.UID, job.ResourceVersion
	return ctrl.Result{}, r.Client.Delete(ctx, job, client.Preconditions{UID: &uid, ResourceVersion: &version})
}
