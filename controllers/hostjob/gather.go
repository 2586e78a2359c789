package hostjob

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/credentials"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// missingSecretDelay is how long a job waits before it looks again for a Secret: one that comes without its label causes no event.
const missingSecretDelay = time.Minute

// gather reads what a decision follows from, and of credentials only those that the job is to have.
func (r *Reconciler) gather(ctx context.Context, job *v1alpha1.HostJob) (facts, error) {
	seen := facts{job: job, now: r.Clock.Now()}
	if err := r.gatherHosts(ctx, &seen); err != nil {
		return facts{}, err
	}
	if err := r.gatherGroups(ctx, &seen); err != nil {
		return facts{}, err
	}
	if seen.host == nil || seen.target == nil || !maintained(job) || isUnderWay(job) {
		return seen, nil
	}
	if err := r.gatherRepository(ctx, &seen); err != nil {
		return facts{}, err
	}
	var err error
	seen.credential, err = r.readCredential(ctx, seen)
	return seen, err
}

func (r *Reconciler) gatherHosts(ctx context.Context, seen *facts) error {
	find := func(name string) (*v1alpha1.Host, error) {
		host := &v1alpha1.Host{}
		if found, err := r.find(ctx, seen.job.Namespace, name, host); err != nil || !found {
			return nil, err
		}
		return host, nil
	}
	var err error
	if seen.host, err = find(seen.job.Spec.HostRef.Name); err != nil {
		return err
	}
	seen.target = seen.host
	if name := seen.job.TargetName(); name != seen.job.Spec.HostRef.Name {
		seen.target, err = find(name)
	}
	return err
}

func (r *Reconciler) gatherGroups(ctx context.Context, seen *facts) error {
	job := seen.job
	if name := job.GroupName(); name != "" {
		group := &v1alpha1.SourceGroup{}
		found, err := r.find(ctx, job.Namespace, name, group)
		if err != nil {
			return err
		}
		if found {
			seen.group = group
		}
	}
	if usesGroups(job) {
		groups := &v1alpha1.SourceGroupList{}
		if err := r.Client.List(ctx, groups, client.InNamespace(job.Namespace), client.UnsafeDisableDeepCopy); err != nil {
			return fmt.Errorf("listing SourceGroups: %w", err)
		}
		seen.groups = groups.Items
	}
	return nil
}

// gatherRepository finds the hosts that share the target's repository, the RepoMaintenances that may select one of them, and the other exclusive jobs on it.
func (r *Reconciler) gatherRepository(ctx context.Context, seen *facts) error {
	hosts, err := r.sharing(ctx, seen.target)
	if err != nil {
		return err
	}
	seen.sharing = hosts
	names := map[string]bool{seen.target.Name: true}
	for _, host := range hosts {
		names[host.Name] = true
	}
	seen.maintenances, err = selecting.Maintenances(ctx, r.Client, seen.job.Namespace, slices.Collect(maps.Keys(names)))
	if err != nil {
		return err
	}
	if exclusive(seen.job) {
		seen.others, err = r.exclusiveJobs(ctx, seen.job.Namespace, hosts)
	}
	return err
}

// sharing returns the hosts with the same repository, oldest first.
func (r *Reconciler) sharing(ctx context.Context, target *v1alpha1.Host) ([]*v1alpha1.Host, error) {
	hosts, err := selecting.OnRepository(ctx, r.Client, target.Namespace, maintenance.RepositoryHash(target))
	if err != nil {
		return nil, err
	}
	return maintenance.Sharing(target, hosts), nil
}

// exclusiveJobs returns the unfinished jobs of which only one at a time may be on the repository that these hosts share.
func (r *Reconciler) exclusiveJobs(ctx context.Context, namespace string, sharing []*v1alpha1.Host) ([]*v1alpha1.HostJob, error) {
	var jobs []*v1alpha1.HostJob
	for _, host := range sharing {
		list := &v1alpha1.HostJobList{}
		if err := r.listIndexed(ctx, list, namespace, indexJobs, keyExclusive(host.Name)); err != nil {
			return nil, err
		}
		for i := range list.Items {
			jobs = append(jobs, &list.Items[i])
		}
	}
	return jobs, nil
}

// listIndexed lists without copies: nothing here changes what it returns.
func (r *Reconciler) listIndexed(ctx context.Context, list client.ObjectList, namespace, index, key string) error {
	if err := r.Client.List(ctx, list, client.InNamespace(namespace), client.MatchingFields{index: key}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing by %s: %w", index, err)
	}
	return nil
}

// readCredential reads the Secret that the job needs beside what the machine has; nil when it needs none, or is to have none.
func (r *Reconciler) readCredential(ctx context.Context, seen facts) (*credential, error) {
	with, err := accessOf(seen)
	if err != nil || with.secret == "" {
		return nil, nil // an error is found again, and told, when the command is compiled
	}
	reader := credentials.Reader{Cache: r.Client, Live: r.Live}
	read := &credential{url: seen.target.Spec.Repository.URL}
	if with.credential == wire.CredentialAdmin {
		var admin credentials.Admin
		admin, err = reader.ReadAdmin(ctx, seen.target.Namespace, with.secret, read.url)
		read.plain, read.url = admin.Plain, admin.URL
	} else {
		read.plain, err = reader.Read(ctx, seen.target.Namespace, with.secret, read.url)
	}
	var problem *credentials.Problem
	if errors.As(err, &problem) {
		// Never final: what is wrong with a Secret can be mended while the job waits.
		read.err = status.Waiting(problem.Reason, missingSecretDelay, "Host %q: %w", seen.target.Name, problem)
		return read, nil
	}
	return read, err
}

// find takes an object that is being deleted for absent.
func (r *Reconciler) find(ctx context.Context, namespace, name string, object client.Object) (bool, error) {
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, object)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil && object.GetDeletionTimestamp().IsZero(), err
}
