package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RepoMaintenanceSpec says how repositories are kept healthy.
// +kubebuilder:validation:XValidation:rule="has(self.hostRef) != has(self.hostSelector)",message="exactly one of hostRef and hostSelector is needed"
// +kubebuilder:validation:XValidation:rule="has(self.forget) || has(self.prune) || has(self.check) || has(self.verify)",message="at least one of forget, prune, check and verify is needed"
type RepoMaintenanceSpec struct {
	Selector `json:",inline"`
	// ExecutorRef names a trusted Host, for instance an agent beside the repository, that does forget, prune and check for all selected hosts:
	// the credentials that may delete go there and nowhere else. Without it each machine does its own, and the Host's condition
	// AdminCredentialsExposed says so. The restore drill is always done by the machine itself.
	// +optional
	ExecutorRef *LocalReference `json:"executorRef,omitempty"`
	// TimeZone is an IANA name, UTC by default; it holds for every cron expression here.
	// +optional
	// +kubebuilder:default=UTC
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone,omitempty"`
	// Jitter spreads the operations of the selected repositories over this long, for each always the same part of it. At most a day.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="jitter must be between 0s and 24h"
	Jitter *metav1.Duration `json:"jitter,omitempty"`
	// Suspend stops all operations. What is under way goes on.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// Forget removes the snapshots that no retention rule of their SourceGroup keeps.
	// +optional
	Forget *Cadence `json:"forget,omitempty"`
	// Prune frees the space of data that no snapshot needs. It needs admin credentials; where none are bound it is skipped.
	// +optional
	Prune *PruneCadence `json:"prune,omitempty"`
	// Check tests the repository.
	// +optional
	Check *CheckCadence `json:"check,omitempty"`
	// Verify is a restore drill: a sample of each group's newest snapshot is restored on the machine, compared and removed again.
	// +optional
	Verify *VerifyCadence `json:"verify,omitempty"`
	// SuccessTTLSeconds is how long the HostJob of an operation that succeeded is kept. An hour by default. One that failed is kept until the
	// next of its kind succeeded; the newest of each kind always tells the last result.
	// +optional
	// +kubebuilder:default=3600
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=31536000
	SuccessTTLSeconds *int32 `json:"successTTLSeconds,omitempty"`
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

// PruneOptions is how prune is done.
type PruneOptions struct {
	// MaxUnused is how much unused data may stay: a percentage (5% by default), a size, or unlimited.
	// +optional
	// +kubebuilder:default="5%"
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?%|[0-9]+[kKmMgGtT]?|unlimited)$`
	// +kubebuilder:validation:MaxLength=16
	MaxUnused string `json:"maxUnused,omitempty"`
	// MaxRepackSize bounds how much is rewritten in one run: a size. No bound by default.
	// +optional
	// +kubebuilder:validation:Pattern=`^[0-9]+[kKmMgGtT]?$`
	// +kubebuilder:validation:MaxLength=16
	MaxRepackSize string `json:"maxRepackSize,omitempty"`
}

// PruneCadence says when and how prune runs.
type PruneCadence struct {
	Cadence      `json:",inline"`
	PruneOptions `json:",inline"`
}

// CheckCadence says when and how check runs.
// +kubebuilder:validation:XValidation:rule="!(has(self.readDataSubset) && has(self.readDataRotation))",message="readDataSubset and readDataRotation exclude each other"
type CheckCadence struct {
	Cadence `json:",inline"`
	// ReadDataSubset is how much data is read and verified: a percentage, a size (with its unit), or n/t. None by default.
	// +optional
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?%|[0-9]+[kKmMgGtT]|[0-9]+/[0-9]+)$`
	// +kubebuilder:validation:MaxLength=16
	ReadDataSubset string `json:"readDataSubset,omitempty"`
	// ReadDataRotation reads another n-th part at each check, so that after so many checks the whole repository was read.
	// +optional
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=256
	ReadDataRotation int32 `json:"readDataRotation,omitempty"`
}

// VerifyCadence says when and how the restore drill runs.
type VerifyCadence struct {
	Cadence `json:",inline"`
	// Sample is how many files of each group are restored and compared. 20 by default.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Sample int32 `json:"sample,omitempty"`
}

// RepoMaintenanceStatus is written by the controllers.
type RepoMaintenanceStatus struct {
	// ObservedGeneration is the generation that the status speaks of.
	// +optional
	// +kubebuilder:default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Ready, Stalled, AdminCredentialsBound, Healthy.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// HostsMatched is the number of hosts that are selected.
	// +optional
	// +kubebuilder:default=0
	HostsMatched int32 `json:"hostsMatched"`
	// Repositories is the number of repositories that this object maintains: hosts that share one count once.
	// +optional
	// +kubebuilder:default=0
	Repositories int32 `json:"repositories"`
	// Failing is the number of those in which the last run of an operation failed.
	// +optional
	// +kubebuilder:default=0
	Failing int32 `json:"failing"`
	// Running is the number of HostJobs of this object that have not ended.
	// +optional
	// +kubebuilder:default=0
	Running int32 `json:"running"`
}

// RepoMaintenance says when forget, prune, check and restore drills run on the repositories of hosts. At most one operation runs on a
// repository at a time, in the order forget, prune, check, verify. The results are in each Host's status.maintenance. A Host that none
// selects gets one of its own with sensible defaults, named <host>-default.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=repomaintenances,shortName=rmaint,categories=restic
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Repositories",type=integer,JSONPath=`.status.repositories`
// +kubebuilder:printcolumn:name="Failing",type=integer,JSONPath=`.status.failing`
// +kubebuilder:printcolumn:name="Running",type=integer,JSONPath=`.status.running`
// +kubebuilder:printcolumn:name="Forget",type=string,JSONPath=`.spec.forget.cron`
// +kubebuilder:printcolumn:name="Prune",type=string,JSONPath=`.spec.prune.cron`
// +kubebuilder:printcolumn:name="Check",type=string,JSONPath=`.spec.check.cron`
// +kubebuilder:printcolumn:name="Verify",type=string,JSONPath=`.spec.verify.cron`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
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
