package hostjob

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// indexJobs is a field index of the cache: what one job concerns is found without a look at all others. Finished jobs are not in it.
const indexJobs = "hostjob/unfinished"

// Keys in it.
const (
	keyMaintained = "maintained" // jobs whose access a RepoMaintenance may decide
	keyAllGroups  = "groups"     // jobs that any SourceGroup may concern
)

func keyHost(name string) string { return "host/" + name }

func keyGroup(name string) string { return "group/" + name }

// keyExclusive is of the exclusive jobs on a Host's repository.
func keyExclusive(target string) string { return "exclusive/" + target }

func setupIndex(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &v1alpha1.HostJob{}, indexJobs, jobKeys); err != nil {
		return fmt.Errorf("indexing HostJobs by %s: %w", indexJobs, err)
	}
	return nil
}

func jobKeys(object client.Object) []string {
	job, ok := object.(*v1alpha1.HostJob)
	if !ok || job.Status.Phase.Finished() {
		return nil
	}
	keys := []string{keyHost(job.Spec.HostRef.Name)}
	if target := job.TargetName(); target != job.Spec.HostRef.Name {
		keys = append(keys, keyHost(target))
	}
	if name := job.GroupName(); name != "" {
		keys = append(keys, keyGroup(name))
	}
	if usesGroups(job) {
		keys = append(keys, keyAllGroups)
	}
	if maintained(job) {
		keys = append(keys, keyMaintained)
	}
	if exclusive(job) {
		keys = append(keys, keyExclusive(job.TargetName()))
	}
	return keys
}

// maintained tells the kinds whose credentials a RepoMaintenance may decide.
func maintained(job *v1alpha1.HostJob) bool {
	return exclusive(job) || job.Spec.Kind == v1alpha1.HostJobUnlock
}

// usesGroups tells the kinds that work on every group that has what it takes.
func usesGroups(job *v1alpha1.HostJob) bool {
	return job.Spec.Kind == v1alpha1.HostJobForget || job.Spec.Kind == v1alpha1.HostJobVerify
}
