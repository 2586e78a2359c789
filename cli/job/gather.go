package job

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Gather reads what a request on a host is planned from. A host without a set has no groups yet.
func Gather(ctx context.Context, c client.Client, host *v1alpha1.Host) (Facts, error) {
	f := Facts{Host: host}
	var err error
	if f.Groups, err = Groups(ctx, c, host); err != nil {
		return f, err
	}
	list := &v1alpha1.RepoMaintenanceList{}
	if err := c.List(ctx, list, client.InNamespace(host.Namespace)); err != nil {
		return f, err
	}
	f.Maintenances = list.Items
	return f, nil
}

// Groups are the source groups of a host.
func Groups(ctx context.Context, c client.Client, host *v1alpha1.Host) ([]string, error) {
	set := &v1alpha1.ScheduleSet{}
	err := c.Get(ctx, types.NamespacedName{Namespace: host.Namespace, Name: host.Name}, set)
	if client.IgnoreNotFound(err) != nil || apierrors.IsNotFound(err) {
		return nil, client.IgnoreNotFound(err)
	}
	var names []string
	for _, g := range set.Spec.Groups {
		names = append(names, g.Name)
	}
	slices.Sort(names)
	return names, nil
}
