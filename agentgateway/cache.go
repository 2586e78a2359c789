package agentgateway

import (
	"context"
	"encoding/base64"

	"github.com/restic-manager/restic-manager/agentgateway/internal/slim"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
)

// newCluster connects to the API server. The cache holds ScheduleSets, HostJobs and HostQueries alone, all of them slim.
func newCluster(config *rest.Config, objects *slim.Objects) (cluster.Cluster, error) {
	kinds := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(kinds); err != nil {
			return nil, err
		}
	}
	return cluster.New(config, func(o *cluster.Options) {
		o.Scheme = kinds
		o.Cache.ReaderFailOnMissingInformer = true
		o.Cache.ByObject = map[client.Object]cache.ByObject{
			&v1alpha1.ScheduleSet{}: {Transform: objects.Set},
			&v1alpha1.HostJob{}:     {Transform: slim.Job},
			&v1alpha1.HostQuery{}:   {Transform: slim.Query},
		}
	})
}

// published returns a host's set as the cache has it.
func (g *Gateway) published(ctx context.Context, host wire.HostRef) (*v1alpha1.ScheduleSet, error) {
	var set v1alpha1.ScheduleSet
	if err := g.cluster.GetCache().Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: host.Name}, &set); err != nil {
		return nil, err
	}
	return &set, nil
}

// SigningKey implements session.Handler: a host is known by its published set, with the keys that were pinned when it was made.
func (g *Gateway) SigningKey(host wire.HostRef) ([]byte, bool) {
	set, err := g.published(context.Background(), host)
	if err != nil || !set.DeletionTimestamp.IsZero() {
		return nil, false
	}
	signing, err := base64.StdEncoding.DecodeString(set.Spec.Host.Identity.SigningKey)
	if err != nil || len(signing) != wire.KeySize {
		return nil, false
	}
	return signing, true
}
