package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SourceGroupSpec says what to back up together.
// +kubebuilder:validation:XValidation:rule="has(self.hostRef) != has(self.hostSelector)",message="exactly one of hostRef and hostSelector is needed"
// +kubebuilder:validation:XValidation:rule="has(self.includes) != has(self.command)",message="exactly one of includes (files) and command (the output of a command) is needed"
// +kubebuilder:validation:XValidation:rule="has(self.command) == has(self.fileName)",message="fileName belongs to command: the name of the file in the snapshot that holds its output"
type SourceGroupSpec struct {
	Selector `json:",inline"`
	// Includes are absolute paths. restic does not expand wildcards here: name a folder and use excludes.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=200
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4096
	// +kubebuilder:validation:XValidation:rule="self.all(p, p.startsWith('/'))",message="every include must be an absolute path"
	Includes []string `json:"includes,omitempty"`
	// Command is backed up by what it prints, as one file, instead of files: for instance [/usr/bin/pg_dump, -Fc, shop]. It is run as root by the agent
	// without a shell; the machine must allow it (agent.yaml, allow.commands), and setting it takes the permission `update` on
	// `sourcegroups/hooks`. When it fails or prints nothing, there is no snapshot and the job has failed.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=4096
	// +kubebuilder:validation:XValidation:rule="self[0].startsWith('/')",message="the first word must be an absolute path: there is no shell and no PATH"
	Command []string `json:"command,omitempty"`
	// FileName is the name in the snapshot of the file that holds the command's output, for instance shop.dump.
	// +optional
	// +kubebuilder:validation:Pattern=`^[^/]+$`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	FileName string `json:"fileName,omitempty"`
	// Excludes are restic exclude patterns.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=200
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4096
	Excludes []string `json:"excludes,omitempty"`
	// IExcludes are restic exclude patterns that ignore case.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=200
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4096
	IExcludes []string `json:"iexcludes,omitempty"`
	// ExcludeIfPresent excludes folders that hold a file of one of these names, as restic's --exclude-if-present.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	ExcludeIfPresent []string `json:"excludeIfPresent,omitempty"`
	// ExcludeCaches excludes folders marked by a CACHEDIR.TAG file.
	// +optional
	ExcludeCaches bool `json:"excludeCaches,omitempty"`
	// ExcludeLargerThan excludes files above this size, for instance 2G (k, M, G, T).
	// +optional
	// +kubebuilder:validation:Pattern=`^[0-9]+[kKmMgGtT]?$`
	// +kubebuilder:validation:MaxLength=16
	ExcludeLargerThan string `json:"excludeLargerThan,omitempty"`
	// OneFileSystem does not cross file system boundaries.
	// +optional
	OneFileSystem bool `json:"oneFileSystem,omitempty"`
	// Tag marks the snapshots of this group. Default: the object's name. A comma is not allowed (restic reads it as AND).
	// +optional
	// +kubebuilder:validation:Pattern=`^[^,\s]+$`
	// +kubebuilder:validation:MaxLength=253
	Tag string `json:"tag,omitempty"`
	// Bandwidth overrides the host's caps for this group.
	// +optional
	Bandwidth *Bandwidth `json:"bandwidth,omitempty"`
	// Hooks run around each backup of the group.
	// +optional
	Hooks *Hooks `json:"hooks,omitempty"`
	// Retention says which snapshots to keep. Nothing is ever forgotten without it.
	// +optional
	Retention *Retention `json:"retention,omitempty"`
}

// SourceGroupStatus is written by the controllers.
type SourceGroupStatus struct {
	// ObservedGeneration is the generation that the status speaks of.
	// +optional
	// +kubebuilder:default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Ready, Stalled, Applied, BackupsCurrent, RetentionEnforced.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions   []metav1.Condition `json:"conditions,omitempty"`
	FleetSummary `json:",inline"`
}

// SourceGroup says what to back up together, on which hosts, kept how long.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rsg,categories=restic
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Hosts",type=integer,JSONPath=`.status.hostsMatched`
// +kubebuilder:printcolumn:name="Applied",type=integer,JSONPath=`.status.hostsApplied`
// +kubebuilder:printcolumn:name="Succeeded",type=integer,JSONPath=`.status.hostsSucceeded`
// +kubebuilder:printcolumn:name="Failing",type=integer,JSONPath=`.status.hostsFailing`
// +kubebuilder:printcolumn:name="Never Ran",type=integer,JSONPath=`.status.hostsNeverRan`
// +kubebuilder:printcolumn:name="Overdue",type=integer,JSONPath=`.status.hostsOverdue`
// +kubebuilder:printcolumn:name="Oldest Success",type=date,JSONPath=`.status.oldestSuccessTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Includes",type=string,priority=1,JSONPath=`.spec.includes`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type SourceGroup struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what to back up.
	Spec SourceGroupSpec `json:"spec"`
	// Status is what has become of it.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status SourceGroupStatus `json:"status,omitempty"`
}

// TagOrName is the tag of the group's snapshots.
func (g *SourceGroup) TagOrName() string {
	if g.Spec.Tag != "" {
		return g.Spec.Tag
	}
	return g.Name
}

// SourceGroupList is a list of SourceGroups.
// +kubebuilder:object:root=true
type SourceGroupList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SourceGroup `json:"items"`
}
