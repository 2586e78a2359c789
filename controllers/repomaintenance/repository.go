package repomaintenance

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
	"github.com/restic-manager/restic-manager/controllers/status"
)

//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=repomaintenances;hosts;sourcegroups;hostjobs,verbs=get;list;watch
//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=repomaintenances;hostjobs,verbs=create;delete
//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=hosts/status,verbs=patch

// staleDelay is how long a reconciliation waits for the cache when it lags behind what was read live.
const staleDelay = time.Second

// repositories keeps repositories healthy. A request names one by its hash, which is no object.
type repositories struct {
	client     client.Client
	live       client.Reader
	namespaces client.Reader
	clock      clock.PassiveClock
	made       made
}

// Reconcile implements reconcile.Reconciler.
func (r *repositories) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if terminating, err := status.Terminating(ctx, r.namespaces, req.Namespace); terminating || err != nil {
		return ctrl.Result{}, err
	}
	repository, err := r.gather(ctx, req)
	if err != nil || repository == nil {
		return ctrl.Result{}, err
	}
	ctx = log.IntoContext(ctx, log.FromContext(ctx).WithValues("host", maintenance.Anchor(repository.Hosts).Name))
	if err := r.keepDefaults(ctx, repository); err != nil {
		return ctrl.Result{}, err
	}
	return r.maintain(ctx, req, repository)
}

// gather is nil for a repository that no Host has.
func (r *repositories) gather(ctx context.Context, req ctrl.Request) (*maintenance.Repository, error) {
	find := finder{r.client}
	hosts, err := find.sharing(ctx, req.Namespace, req.Name)
	if err != nil {
		return nil, err
	}
	if len(hosts) == 0 {
		r.made.done(req)
		return nil, nil
	}
	all, err := find.selecting(ctx, req.Namespace, hosts)
	if err != nil {
		return nil, err
	}
	jobs, err := find.on(ctx, req.Namespace, hosts)
	if err != nil {
		return nil, err
	}
	if jobs, err = r.withMade(ctx, req, jobs); err != nil {
		return nil, err
	}
	groups := &v1alpha1.SourceGroupList{}
	if err := r.client.List(ctx, groups, client.InNamespace(req.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	repository := &maintenance.Repository{Hosts: hosts, Maintenances: maintenance.NewIndex(all), Jobs: jobs, Groups: groups.Items}
	if _, m := repository.Maintenances.InForceForRepository(hosts); m != nil && m.Spec.ExecutorRef != nil {
		if repository.Executor, err = find.host(ctx, req.Namespace, m.Spec.ExecutorRef.Name); err != nil {
			return nil, err
		}
	}
	return repository, nil
}

// maintain does what is due, writes down what became of it and what comes next, and clears away what is over.
func (r *repositories) maintain(ctx context.Context, req ctrl.Request, repository *maintenance.Repository) (ctrl.Result, error) {
	now := r.clock.Now()
	tasks := repository.Tasks(now)
	decision := maintenance.Decide(now, tasks, repository.UnderWay(now) != nil)
	if decision.Run != nil {
		job, err := r.run(ctx, repository, decision.Run)
		if errors.Is(err, errStale) {
			return ctrl.Result{RequeueAfter: staleDelay}, nil
		}
		if status.InTerminatingNamespace(err) {
			return ctrl.Result{}, nil // what is due goes with its Hosts
		}
		if err != nil {
			return ctrl.Result{}, err
		}
		r.made.add(req, job)
		repository.Jobs = append(repository.Jobs, job)
	}
	err := r.writeDown(ctx, repository, tasks, decision.Plans, now)
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: staleDelay}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	again, err := r.clearAway(ctx, repository, tasks, now)
	if err != nil {
		return ctrl.Result{}, err
	}
	return status.Sooner(r.at(decision.Again, now), r.at(again, now)), nil
}

func (r *repositories) at(when, now time.Time) ctrl.Result {
	if when.IsZero() {
		return ctrl.Result{}
	}
	return ctrl.Result{RequeueAfter: max(when.Sub(now), time.Millisecond)}
}

// writeDown writes status.maintenance of each host, where it differs. It conflicts with a host that the cache shows as it was: a plan that was made
// from there might take the place of one that has come due.
func (r *repositories) writeDown(ctx context.Context, repository *maintenance.Repository, tasks []maintenance.Task, plans []maintenance.Plan, now time.Time) error {
	for _, host := range repository.Hosts {
		want := repository.Status(host, tasks, plans, now)
		if equality.Semantic.DeepEqual(want, host.Status.Maintenance) {
			continue
		}
		written := host.DeepCopy()
		written.Status.Maintenance = want
		if err := status.Patch(ctx, r.client, host, written, status.WithLock()); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

// clearAway deletes the jobs that were kept long enough, and says when it has to be done again.
func (r *repositories) clearAway(ctx context.Context, repository *maintenance.Repository, tasks []maintenance.Task, now time.Time) (time.Time, error) {
	obsolete, again := repository.Obsolete(tasks, now)
	for _, job := range obsolete {
		log.FromContext(ctx).Info("deleting a HostJob that was kept long enough", "hostJob", job.Name, "phase", job.Status.Phase)
		if err := r.remove(ctx, job); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return time.Time{}, err
		}
	}
	return again, nil
}

// remove deletes a job as it was read: one that has changed since is looked at again.
func (r *repositories) remove(ctx context.Context, job *v1alpha1.HostJob) error {
	uid, version := job.UID, job.ResourceVersion
	return r.client.Delete(ctx, job, client.Preconditions{UID: &uid, ResourceVersion: &version}, client.PropagationPolicy("Background"))
}
