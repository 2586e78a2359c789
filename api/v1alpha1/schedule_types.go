package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// WhenDisconnected says what an agent does with a due backup while it has no gateway.
// +kubebuilder:validation:Enum=Run;Wait
type WhenDisconnected string

// The policies.
const (
	// WhenDisconnectedRun starts the backup from the last verified set and reports later.
	WhenDisconnectedRun WhenDisconnected = "Run"
	// WhenDisconnectedWait starts it once the gateway admits it, within the starting deadline.
	WhenDisconnectedWait WhenDisconnected = "Wait"
)

// ScheduleSpec says when to back up.
type ScheduleSpec struct {
	// Cron has five fields (minute, hour, day of month, month, day of week) or is one of @hourly, @daily, @weekly, @monthly, @yearly.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=200
	Cron string `json:"cron"`
	// TimeZone is an IANA name such as Europe/Zurich; UTC by default. Each local time runs once, also where the clocks change.
	// +optional
	// +kubebuilder:default=UTC
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone,omitempty"`
	// Jitter spreads the hosts evenly over this long after the nominal time; the same host always gets the same part of it.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="jitter must be between 0s and 24h"
	Jitter *metav1.Duration `json:"jitter,omitempty"`
	// Suspend stops the schedule; what falls due meanwhile is not made up for.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// SourceGroups names the groups, in the same namespace.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	SourceGroups []string `json:"sourceGroups"`
	// HostSelector narrows the hosts of the groups by label. All of them when left out.
	// +optional
	HostSelector *metav1.LabelSelector `json:"hostSelector,omitempty"`
	// WhenDisconnected is Run (default: start from the last verified set, report later) or Wait (for the gateway).
	// +optional
	// +kubebuilder:default=Run
	WhenDisconnected WhenDisconnected `json:"whenDisconnected,omitempty"`
	// StartingDeadline is how late a missed backup may still start. No limit when left out.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('720h')",message="startingDeadline must be between 1m and 720h"
	StartingDeadline *metav1.Duration `json:"startingDeadline,omitempty"`
}

// ScheduleStatus is written by the controllers.
type ScheduleStatus struct {
	// ObservedGeneration is the generation that the status speaks of.
	// +optional
	// +kubebuilder:default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Ready, Stalled, SourceGroupsFound, Applied, BackupsCurrent.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions   []metav1.Condition `json:"conditions,omitempty"`
	FleetSummary `json:",inline"`
	// LastFireTime is the last nominal time, before jitter.
	// +optional
	LastFireTime *metav1.Time `json:"lastFireTime,omitempty"`
	// NextFireTime is the next nominal time, before jitter. Empty while suspended, invalid, or for no host.
	// +optional
	NextFireTime *metav1.Time `json:"nextFireTime,omitempty"`
}

// Schedule says when to back up which source groups.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rsched,categories=restic
// +kubebuilder:printcolumn:name="Cron",type=string,JSONPath=`.spec.cron`
// +kubebuilder:printcolumn:name="Time Zone",type=string,JSONPath=`.spec.timeZone`
// +kubebuilder:printcolumn:name="Suspend",type=boolean,JSONPath=`.spec.suspend`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Hosts",type=integer,JSONPath=`.status.hostsMatched`
// +kubebuilder:printcolumn:name="Applied",type=integer,JSONPath=`.status.hostsApplied`
// +kubebuilder:printcolumn:name="Succeeded",type=integer,JSONPath=`.status.hostsSucceeded`
// +kubebuilder:printcolumn:name="Failing",type=integer,JSONPath=`.status.hostsFailing`
// +kubebuilder:printcolumn:name="Never Ran",type=integer,JSONPath=`.status.hostsNeverRan`
// +kubebuilder:printcolumn:name="Overdue",type=integer,JSONPath=`.status.hostsOverdue`
// +kubebuilder:printcolumn:name="Oldest Success",type=date,JSONPath=`.status.oldestSuccessTime`
// +kubebuilder:printcolumn:name="Next",type=string,priority=1,JSONPath=`.status.nextFireTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Groups Found",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="SourceGroupsFound")].status`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type Schedule struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is when to back up.
	Spec ScheduleSpec `json:"spec"`
	// Status is what has become of it.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status ScheduleStatus `json:"status,omitempty"`
}

// ScheduleList is a list of Schedules.
// +kubebuilder:object:root=true
type ScheduleList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Schedule `json:"items"`
}
