package agentgateway

import (
	"context"
	"encoding/base64"
	"slices"
	"unique"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
)

// newCluster connects to the API server. The cache holds ScheduleSets, HostJobs and HostQueries alone, all stripped to what is decided from them.
func newCluster(config *rest.Config) (cluster.Cluster, error) {
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
			&v1alpha1.ScheduleSet{}: {Transform: stripSet},
			&v1alpha1.HostJob{}:     {Transform: stripJob},
			&v1alpha1.HostQuery{}:   {Transform: stripQuery},
		}
	})
}

// stripSet drops what is read from the API server when it is sent, and what only people look at. Each replica has every set, so what many of them say is kept once.
func stripSet(object any) (any, error) {
	set, ok := object.(*v1alpha1.ScheduleSet)
	if !ok {
		return object, nil
	}
	set.ObjectMeta = metav1.ObjectMeta{
		Namespace: once(set.Namespace), Name: set.Name, UID: set.UID, ResourceVersion: set.ResourceVersion, Generation: set.Generation,
		DeletionTimestamp: set.DeletionTimestamp,
	}
	set.TypeMeta = metav1.TypeMeta{}
	host := &set.Spec.Host
	set.Spec = v1alpha1.ScheduleSetSpec{
		Host:      v1alpha1.ScheduleSetHost{Name: set.Name, UID: host.UID, Identity: v1alpha1.HostIdentity{SigningKey: host.Identity.SigningKey}, Suspended: host.Suspended},
		Tombstone: set.Spec.Tombstone, Revision: set.Spec.Revision, Serial: set.Spec.Serial, Schedules: slices.Clip(set.Spec.Schedules),
	}
	for i := range set.Spec.Schedules {
		schedule := &set.Spec.Schedules[i]
		schedule.Name, schedule.SourceGroups = once(schedule.Name), slices.Clone(schedule.SourceGroups)
		for g, name := range schedule.SourceGroups {
			schedule.SourceGroups[g] = once(name)
		}
	}
	if c := set.Status.Connection; c != nil {
		c.Gateway = once(c.Gateway)
	}
	if set.Status.AppliedRevision == set.Spec.Revision {
		set.Status.AppliedRevision = set.Spec.Revision
	}
	if set.Status.OfferedRevision == set.Spec.Revision {
		set.Status.OfferedRevision = set.Spec.Revision
	}
	return set, nil
}

// once returns the one copy of a text.
func once(text string) string { return unique.Make(text).Value() }

// stripJob keeps the command and the sealed credentials of a job that may still have to be sent, and next to nothing of a finished one.
func stripJob(object any) (any, error) {
	job, ok := object.(*v1alpha1.HostJob)
	if !ok {
		return object, nil
	}
	job.ManagedFields = nil
	job.Status.LogTail, job.Status.Progress, job.Status.Result, job.Status.Conditions = "", nil, nil, nil
	if job.Status.Phase.Finished() {
		job.Spec = v1alpha1.HostJobSpec{HostRef: job.Spec.HostRef, Kind: job.Spec.Kind}
		job.Status.Command, job.Status.CancelCommand, job.Status.Credentials = nil, nil, nil
	}
	return job, nil
}

// stripQuery drops what the signed command says too.
func stripQuery(object any) (any, error) {
	if query, ok := object.(*v1alpha1.HostQuery); ok {
		query.ManagedFields = nil
		query.Spec.Parameters, query.Spec.PublicKey = nil, nil
		query.Status.Conditions, query.Status.Gateway = nil, nil
	}
	return object, nil
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
