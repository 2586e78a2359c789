package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RepoMaintenanceSpec says how a repository is kept healthy.
// +kubebuilder:validation:XValidation:rule="has(self.hostRef) != has(self.hostSelector)",message="exactly one of hostRef and hostSelector is needed"
// +kubebuilder:validation:XValidation:rule="has(self.forget) || has(self.prune) || has(self.check)",message="at least one of forget, prune and check is needed"
type RepoMaintenanceSpec struct {
	Selector `json:",inline"`
	// TimeZone is an IANA name, UTC by default; it holds for every cron expression here.
	// +optional
	// +kubebuilder:default=UTC
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone,omitempty"`
	// Forget removes the snapshots that no retention rule keeps.
	// +optional
	Forget *Cadence `json:"forget,omitempty"`
	// Prune frees the space of data that no snapshot needs.
	// +optional
	Prune *PruneCadence `json:"prune,omitempty"`
	// Check tests the repository.
	// +optional
	Check *CheckCadence `json:"check,omitempty"`
}

// Cadence says when an operation runs.
type Cadence struct {
	// Cron is in the syntax of a Schedule's cron.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=200
	Cron string `json:"cron"`
	// Suspend stops the operation.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// PruneCadence says when and how prune runs.
type PruneCadence struct {
	Cadence `json:",inline"`
	// MaxUnused is how much unused data may stay: a percentage (5% by default), a size, or unlimited.
	// +optional
	// +kubebuilder:default="5%"
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?%|[0-9]+[kKmMgGtT]?|unlimited)$`
	// +kubebuilder:validation:MaxLength=16
	MaxUnused string `json:"maxUnused,omitempty"`
}

// CheckCadence says when and how check runs.
type CheckCadence struct {
	Cadence `json:",inline"`
	// ReadDataSubset is how much data is read and verified: a percentage, a size, or n/t.
	// +optional
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?%|[0-9]+[kKmMgGtT]?|[0-9]+/[0-9]+)$`
	// +kubebuilder:validation:MaxLength=16
	ReadDataSubset string `json:"readDataSubset,omitempty"`
}

// RepoMaintenanceStatus is written by the controllers.
type RepoMaintenanceStatus struct {
	// ObservedGeneration is the generation that the status speaks of.
	// +optional
	// +kubebuilder:default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Ready, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// HostsMatched is the number of hosts that are selected.
	// +optional
	HostsMatched int32 `json:"hostsMatched,omitempty"`
}

// RepoMaintenance says when forget, prune and check run on the repositories of hosts. This version validates it and reports
// Ready=False, reason NotYetSupported: it does not run maintenance yet.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=repomaintenances,shortName=rmaint,categories=restic
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Forget",type=string,JSONPath=`.spec.forget.cron`
// +kubebuilder:printcolumn:name="Prune",type=string,JSONPath=`.spec.prune.cron`
// +kubebuilder:printcolumn:name="Check",type=string,JSONPath=`.spec.check.cron`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RepoMaintenance struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is how the repositories are kept healthy.
	Spec RepoMaintenanceSpec `json:"spec"`
	// Status is what has become of it.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status RepoMaintenanceStatus `json:"status,omitempty"`
}

// RepoMaintenanceList is a list of RepoMaintenances.
// +kubebuilder:object:root=true
type RepoMaintenanceList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RepoMaintenance `json:"items"`
}
