package repomaintenance

import (
	"context"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
)

// errStale: the cache does not show yet what the API server knows.
var errStale = errors.New("the cache lags behind")

// run creates the job of a run, and returns the one that has its name already when there is one.
func (r *repositories) run(ctx context.Context, repository *maintenance.Repository, run *maintenance.Run) (*v1alpha1.HostJob, error) {
	if err := r.confirm(ctx, repository, run); err != nil {
		return nil, err
	}
	job := repository.Job(run)
	if !run.Past.Expired.IsZero() {
		if err := r.replaceExpired(ctx, repository, job.Name); err != nil {
			return nil, err
		}
	}
	err := r.client.Create(ctx, job, client.FieldOwner(v1alpha1.ManagerControllers))
	switch {
	case apierrors.IsAlreadyExists(err):
		present := &v1alpha1.HostJob{}
		if err := r.live.Get(ctx, client.ObjectKeyFromObject(job), present); err != nil {
			return nil, fmt.Errorf("reading HostJob %s: %w", job.Name, err)
		}
		return present, nil
	case err != nil:
		return nil, fmt.Errorf("creating HostJob %s: %w", job.Name, err)
	}
	log.FromContext(ctx).Info("created a HostJob for an operation that is due", "hostJob", job.Name, "executor", job.Spec.HostRef.Name, "target", job.TargetName(),
		"repoMaintenance", run.Maintenance.Name)
	return job, nil
}

// confirm reads the Host that holds the record live. The cache may not show yet that the run was done, or that the Host was changed or deleted.
func (r *repositories) confirm(ctx context.Context, repository *maintenance.Repository, run *maintenance.Run) error {
	holder := maintenance.Anchor(repository.Hosts)
	if run.Host != "" {
		holder = run.Target
	}
	host := &v1alpha1.Host{}
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(holder), host); err != nil {
		if apierrors.IsNotFound(err) {
			return errStale
		}
		return fmt.Errorf("reading Host %s: %w", holder.Name, err)
	}
	if host.UID != holder.UID || host.Generation != holder.Generation || !host.DeletionTimestamp.IsZero() {
		return errStale
	}
	if record := maintenance.Recorded(host, run.Operation); record != nil && record.LastScheduleTime != nil {
		last := record.LastScheduleTime.Time
		if last.After(run.Slot) || last.Equal(run.Slot) && run.Past.Expired.IsZero() {
			return errStale
		}
	}
	return nil
}

// replaceExpired removes the job that never ran for the same slot.
func (r *repositories) replaceExpired(ctx context.Context, repository *maintenance.Repository, name string) error {
	for i, job := range repository.Jobs {
		if job.Name != name {
			continue
		}
		if err := r.remove(ctx, job); client.IgnoreNotFound(err) != nil {
			if apierrors.IsConflict(err) {
				return errStale
			}
			return fmt.Errorf("deleting the expired HostJob %s: %w", name, err)
		}
		repository.Jobs = append(repository.Jobs[:i:i], repository.Jobs[i+1:]...)
		return nil
	}
	return nil
}

// withMade adds the job that was made last, as long as the cache does not show it.
func (r *repositories) withMade(ctx context.Context, req ctrl.Request, jobs []*v1alpha1.HostJob) ([]*v1alpha1.HostJob, error) {
	made, ok := r.made.get(req)
	if !ok {
		return jobs, nil
	}
	for _, job := range jobs {
		if job.UID == made.uid {
			r.made.done(req)
			return jobs, nil
		}
	}
	job := &v1alpha1.HostJob{}
	err := r.live.Get(ctx, types.NamespacedName{Namespace: req.Namespace, Name: made.name}, job)
	switch {
	case apierrors.IsNotFound(err), err == nil && (job.UID != made.uid || !job.DeletionTimestamp.IsZero()):
		r.made.done(req) // and deleted since
		return jobs, nil
	case err != nil:
		return nil, fmt.Errorf("reading HostJob %s: %w", made.name, err)
	}
	return append(jobs, job), nil
}

// made remembers, for each repository, the job that was created last, until the cache shows it.
type made struct {
	mu   sync.Mutex
	jobs map[types.NamespacedName]madeJob
}

type madeJob struct {
	name string
	uid  types.UID
}

func (m *made) add(req ctrl.Request, job *v1alpha1.HostJob) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.jobs == nil {
		m.jobs = map[types.NamespacedName]madeJob{}
	}
	m.jobs[req.NamespacedName] = madeJob{name: job.Name, uid: job.UID}
}

func (m *made) get(req ctrl.Request) (madeJob, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	job, ok := m.jobs[req.NamespacedName]
	return job, ok
}

func (m *made) done(req ctrl.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.jobs, req.NamespacedName)
}
