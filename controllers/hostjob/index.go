package hostjob

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
)

// Field indexes of the cache: what one job concerns is found without a look at all others. Finished jobs are not in them.
const (
	indexJobs         = "hostjob/unfinished"
	indexHosts        = "hostjob/repository"
	indexMaintenances = "hostjob/selects"
)

// Keys of the indexes.
const (
	keyMaintained = "maintained" // jobs whose access a RepoMaintenance may decide
	keyAllGroups  = "groups"     // jobs that any SourceGroup may concern
	keyBySelector = "selector"   // RepoMaintenances that select by label
)

func keyHost(name string) string { return "host/" + name }

func keyGroup(name string) string { return "group/" + name }

// keyExclusive is of the exclusive jobs on a Host's repository.
func keyExclusive(target string) string { return "exclusive/" + target }

func setupIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, index := range []struct {
		object  client.Object
		field   string
		extract client.IndexerFunc
	}{
		{&v1alpha1.HostJob{}, indexJobs, jobKeys},
		{&v1alpha1.Host{}, indexHosts, hostKeys},
		{&v1alpha1.RepoMaintenance{}, indexMaintenances, maintenanceKeys},
	} {
		if err := indexer.IndexField(ctx, index.object, index.field, index.extract); err != nil {
			return fmt.Errorf("indexing %T by %s: %w", index.object, index.field, err)
		}
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

func hostKeys(object client.Object) []string {
	host, ok := object.(*v1alpha1.Host)
	if !ok {
		return nil
	}
	return []string{maintenance.Key(host)}
}

func maintenanceKeys(object client.Object) []string {
	m, ok := object.(*v1alpha1.RepoMaintenance)
	switch {
	case !ok:
		return nil
	case m.Spec.HostRef != nil:
		return []string{keyHost(m.Spec.HostRef.Name)}
	}
	return []string{keyBySelector}
}

// maintained tells the kinds whose credentials a RepoMaintenance may decide.
func maintained(job *v1alpha1.HostJob) bool {
	return exclusive(job) || job.Spec.Kind == v1alpha1.HostJobUnlock
}

// usesGroups tells the kinds that work on every group that has what it takes.
func usesGroups(job *v1alpha1.HostJob) bool {
	return job.Spec.Kind == v1alpha1.HostJobForget || job.Spec.Kind == v1alpha1.HostJobVerify
}
