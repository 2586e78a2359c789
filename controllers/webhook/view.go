package webhook

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=hosts;sourcegroups;schedules,verbs=get;list;watch
//+kubebuilder:rbac:groups="",resources=namespaces,verbs=get

// sight is how other objects are seen: the cache at no cost, and the API server.
type sight struct {
	cached client.Reader
	live   client.Reader
}

// view is the objects of one namespace, which are only read.
type view struct {
	reader    client.Reader
	namespace string
	live      bool
}

// twice asks the cache, and the API server before anything is said.
func (s sight) twice(namespace string, ask func(view) ([]string, error)) ([]string, error) {
	said, err := ask(view{reader: s.cached, namespace: namespace})
	if err != nil || len(said) == 0 {
		return nil, err
	}
	return ask(view{reader: s.live, namespace: namespace, live: true})
}

// terminating tells whether a namespace is going, or gone. It is read live.
func (s sight) terminating(ctx context.Context, name string) (bool, error) {
	namespace := &corev1.Namespace{}
	err := s.live.Get(ctx, types.NamespacedName{Name: name}, namespace)
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("reading Namespace %s: %w", name, err)
	}
	return !namespace.DeletionTimestamp.IsZero() || namespace.Status.Phase == corev1.NamespaceTerminating, nil
}

// hosts are all of the namespace; live, with their metadata alone: there may be thousands, and labels are what selectors look at.
func (v view) hosts(ctx context.Context) ([]v1alpha1.Host, error) {
	if !v.live {
		hosts := &v1alpha1.HostList{}
		err := v.list(ctx, hosts, "Hosts")
		return hosts.Items, err
	}
	metadata := &metav1.PartialObjectMetadataList{}
	metadata.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("HostList"))
	if err := v.list(ctx, metadata, "Hosts"); err != nil {
		return nil, err
	}
	hosts := make([]v1alpha1.Host, len(metadata.Items))
	for i := range metadata.Items {
		hosts[i].ObjectMeta = metadata.Items[i].ObjectMeta
	}
	return hosts, nil
}

func (v view) groups(ctx context.Context) ([]v1alpha1.SourceGroup, error) {
	groups := &v1alpha1.SourceGroupList{}
	err := v.list(ctx, groups, "SourceGroups")
	return groups.Items, err
}

func (v view) schedules(ctx context.Context) ([]v1alpha1.Schedule, error) {
	schedules := &v1alpha1.ScheduleList{}
	err := v.list(ctx, schedules, "Schedules")
	return schedules.Items, err
}

// host returns nil when there is none.
func (v view) host(ctx context.Context, name string) (*v1alpha1.Host, error) {
	host := &v1alpha1.Host{}
	found, err := v.get(ctx, name, host)
	if !found {
		return nil, err
	}
	return host, nil
}

// group returns nil when there is none.
func (v view) group(ctx context.Context, name string) (*v1alpha1.SourceGroup, error) {
	group := &v1alpha1.SourceGroup{}
	found, err := v.get(ctx, name, group)
	if !found {
		return nil, err
	}
	return group, nil
}

func (v view) get(ctx context.Context, name string, into client.Object) (bool, error) {
	err := v.reader.Get(ctx, types.NamespacedName{Namespace: v.namespace, Name: name}, into, v.options()...)
	if err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return into.GetDeletionTimestamp().IsZero(), nil
}

func (v view) list(ctx context.Context, into client.ObjectList, what string) error {
	options := []client.ListOption{client.InNamespace(v.namespace)}
	if !v.live {
		options = append(options, client.UnsafeDisableDeepCopy)
	}
	if err := v.reader.List(ctx, into, options...); err != nil {
		return fmt.Errorf("listing %s: %w", what, err)
	}
	return nil
}

func (v view) options() []client.GetOption {
	if v.live {
		return nil
	}
	return []client.GetOption{client.UnsafeDisableDeepCopy}
}
