package repomaintenance

import (
	"context"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
)

// Field indexes of the cache.
const (
	indexTarget      = "maintenance.target"      // of HostJobs: the Host whose repository they are on
	indexMaintenance = "maintenance.unfinished"  // of HostJobs that have not finished: the label of their RepoMaintenance
	indexExecutor    = "maintenance.executorRef" // of RepoMaintenances: the executor that they name
)

func addIndexes(mgr ctrl.Manager) error {
	for _, index := range []struct {
		object client.Object
		field  string
		of     client.IndexerFunc
	}{
		{&v1alpha1.HostJob{}, indexTarget, indexed(func(j *v1alpha1.HostJob) string { return j.TargetName() })},
		{&v1alpha1.HostJob{}, indexMaintenance, indexed(func(j *v1alpha1.HostJob) string {
			if j.Status.Phase.Finished() {
				return ""
			}
			return j.Labels[v1alpha1.LabelMaintenance]
		})},
		{&v1alpha1.RepoMaintenance{}, indexExecutor, indexed(func(m *v1alpha1.RepoMaintenance) string {
			if m.Spec.ExecutorRef == nil {
				return ""
			}
			return m.Spec.ExecutorRef.Name
		})},
	} {
		if err := mgr.GetFieldIndexer().IndexField(context.Background(), index.object, index.field, index.of); err != nil {
			return fmt.Errorf("indexing by %s: %w", index.field, err)
		}
	}
	return nil
}

// indexed is for a field with one value, which may be empty: then the object is not in the index.
func indexed[T client.Object](of func(T) string) client.IndexerFunc {
	return func(object client.Object) []string {
		typed, ok := object.(T)
		if !ok {
			return nil
		}
		if value := of(typed); value != "" {
			return []string{value}
		}
		return nil
	}
}

// finder reads the cache. What it returns is shared and must not be changed.
type finder struct{ client.Reader }

// sharing are the hosts of a repository, oldest first, without those that are being deleted.
func (f finder) sharing(ctx context.Context, namespace, hash string) ([]*v1alpha1.Host, error) {
	hosts, err := selecting.OnRepository(ctx, f, namespace, hash)
	if err != nil {
		return nil, err
	}
	for i := range hosts {
		if hosts[i].DeletionTimestamp.IsZero() {
			return maintenance.Sharing(&hosts[i], hosts), nil
		}
	}
	return nil, nil
}

// selecting are the RepoMaintenances that may select one of the hosts: those that name it, and all that select by label.
func (f finder) selecting(ctx context.Context, namespace string, hosts []*v1alpha1.Host) ([]v1alpha1.RepoMaintenance, error) {
	names := make([]string, len(hosts))
	for i, host := range hosts {
		names[i] = host.Name
	}
	return selecting.Maintenances(ctx, f, namespace, names)
}

// selected are the hosts that a RepoMaintenance selects, sorted by name, without those that are being deleted.
func (f finder) selected(ctx context.Context, m *v1alpha1.RepoMaintenance) ([]*v1alpha1.Host, error) {
	hosts, err := selecting.Hosts(ctx, f, m.Namespace, m.Spec.Selector)
	return maintenance.Selected(m, hosts), err
}

// host is nil when there is none, or it is being deleted.
func (f finder) host(ctx context.Context, namespace, name string) (*v1alpha1.Host, error) {
	host := &v1alpha1.Host{}
	err := f.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, host)
	if client.IgnoreNotFound(err) != nil {
		return nil, err
	}
	if err != nil || !host.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	return host, nil
}

// on are the HostJobs on the repositories of hosts.
func (f finder) on(ctx context.Context, namespace string, hosts []*v1alpha1.Host) ([]*v1alpha1.HostJob, error) {
	var jobs []*v1alpha1.HostJob
	for _, host := range hosts {
		list := &v1alpha1.HostJobList{}
		if err := f.list(ctx, list, namespace, indexTarget, host.Name); err != nil {
			return nil, err
		}
		for i := range list.Items {
			if list.Items[i].DeletionTimestamp.IsZero() {
				jobs = append(jobs, &list.Items[i])
			}
		}
	}
	return jobs, nil
}

func (f finder) list(ctx context.Context, list client.ObjectList, namespace, field, value string) error {
	if err := f.List(ctx, list, client.InNamespace(namespace), client.MatchingFields{field: value}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing by %s: %w", field, err)
	}
	return nil
}
