package kube

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Scheme knows our kinds and Secrets.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(v1alpha1.AddToScheme(s))
	utilruntime.Must(corev1.AddToScheme(s))
	return s
}

// NewClient returns a client that may do what config's user may.
func NewClient(config *rest.Config) (client.WithWatch, error) {
	config = rest.CopyConfig(config)
	// A person's few requests are not to wait for each other.
	config.QPS, config.Burst = 50, 100
	return client.NewWithWatch(config, client.Options{Scheme: Scheme(), Mapper: mapper()})
}

// mapper knows the resources of the kinds in Scheme that are asked for.
func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper([]schema.GroupVersion{v1alpha1.GroupVersion, corev1.SchemeGroupVersion})
	for kind, resource := range map[string]string{
		"Host": "hosts", "HostJob": "hostjobs", "HostQuery": "hostqueries", "RepoMaintenance": "repomaintenances",
		"Schedule": "schedules", "ScheduleSet": "schedulesets", "SourceGroup": "sourcegroups",
	} {
		group := v1alpha1.GroupVersion
		m.AddSpecific(group.WithKind(kind), group.WithResource(resource), group.WithResource(resource), meta.RESTScopeNamespace)
	}
	m.AddSpecific(corev1.SchemeGroupVersion.WithKind("Secret"), corev1.SchemeGroupVersion.WithResource("secrets"),
		corev1.SchemeGroupVersion.WithResource("secret"), meta.RESTScopeNamespace)
	return m
}
