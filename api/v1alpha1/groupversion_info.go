package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of this package.
var GroupVersion = schema.GroupVersion{Group: "backup.restic-manager.io", Version: "v1alpha1"}

var schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

// AddToScheme registers the kinds of this package.
var AddToScheme = schemeBuilder.AddToScheme

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&Host{}, &HostList{},
		&SourceGroup{}, &SourceGroupList{},
		&Schedule{}, &ScheduleList{},
		&RepoMaintenance{}, &RepoMaintenanceList{},
		&HostJob{}, &HostJobList{},
		&HostQuery{}, &HostQueryList{},
		&ScheduleSet{}, &ScheduleSetList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
