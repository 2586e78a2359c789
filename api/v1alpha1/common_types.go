package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// LocalReference names an object in the same namespace.
type LocalReference struct {
	// Name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Bandwidth caps what restic may use of the network.
type Bandwidth struct {
	// UploadKBps caps uploads, in KiB per second, as restic's --limit-upload. No cap when left out.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000000
	UploadKBps int32 `json:"uploadKBps,omitempty"`
	// DownloadKBps caps downloads, in KiB per second, as restic's --limit-download. No cap when left out.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000000
	DownloadKBps int32 `json:"downloadKBps,omitempty"`
}

// Retention says which snapshots forget keeps, in restic's own words. At least one rule is needed.
// +kubebuilder:validation:MinProperties=1
type Retention struct {
	// KeepLast keeps the n newest snapshots.
	// +optional
	// +kubebuilder:validation:Minimum=1
	KeepLast int32 `json:"keepLast,omitempty"`
	// KeepHourly keeps the newest snapshot of each of the last n hours that have one.
	// +optional
	// +kubebuilder:validation:Minimum=1
	KeepHourly int32 `json:"keepHourly,omitempty"`
	// KeepDaily keeps the newest snapshot of each of the last n days that have one.
	// +optional
	// +kubebuilder:validation:Minimum=1
	KeepDaily int32 `json:"keepDaily,omitempty"`
	// KeepWeekly keeps the newest snapshot of each of the last n weeks that have one.
	// +optional
	// +kubebuilder:validation:Minimum=1
	KeepWeekly int32 `json:"keepWeekly,omitempty"`
	// KeepMonthly keeps the newest snapshot of each of the last n months that have one.
	// +optional
	// +kubebuilder:validation:Minimum=1
	KeepMonthly int32 `json:"keepMonthly,omitempty"`
	// KeepYearly keeps the newest snapshot of each of the last n years that have one.
	// +optional
	// +kubebuilder:validation:Minimum=1
	KeepYearly int32 `json:"keepYearly,omitempty"`
	// KeepWithin keeps every snapshot younger than this restic duration, for instance 14d or 1y6m. It ignores snapshots dated in
	// the future, which makes it the safest rule where a machine might be taken over.
	// +optional
	// +kubebuilder:validation:Pattern=`^([0-9]+[yYmMdDhH])+$`
	// +kubebuilder:validation:MaxLength=32
	KeepWithin string `json:"keepWithin,omitempty"`
}

// Selector chooses hosts of the same namespace: exactly one of its fields is set.
type Selector struct {
	// HostRef names one Host.
	// +optional
	HostRef *LocalReference `json:"hostRef,omitempty"`
	// HostSelector selects Hosts by label. An empty selector selects every Host of the namespace.
	// +optional
	HostSelector *metav1.LabelSelector `json:"hostSelector,omitempty"`
}

// JobResult is how a job ended.
// +kubebuilder:validation:Enum=Succeeded;CompletedWithErrors;Failed;Cancelled
type JobResult string

// The results of a job.
const (
	ResultSucceeded           JobResult = "Succeeded"
	ResultCompletedWithErrors JobResult = "CompletedWithErrors"
	ResultFailed              JobResult = "Failed"
	ResultCancelled           JobResult = "Cancelled"
)

// BackupSummary is restic's own summary of a backup. Written by the gateway.
type BackupSummary struct {
	// SnapshotID of the snapshot that was written; empty when there is none.
	// +optional
	SnapshotID string `json:"snapshotID,omitempty"`
	// FilesNew is the number of files that the parent snapshot did not have.
	FilesNew int64 `json:"filesNew"`
	// FilesChanged is the number of files that differ from the parent snapshot.
	FilesChanged int64 `json:"filesChanged"`
	// FilesUnmodified is the number of files that did not change.
	FilesUnmodified int64 `json:"filesUnmodified"`
	// FilesProcessed is the number of files in the snapshot.
	FilesProcessed int64 `json:"filesProcessed"`
	// BytesProcessed is the size of the files in the snapshot.
	BytesProcessed int64 `json:"bytesProcessed"`
	// BytesAdded is the size of the new data, before compression.
	BytesAdded int64 `json:"bytesAdded"`
	// BytesStored is the size of the new data as stored.
	BytesStored int64 `json:"bytesStored"`
	// Errors is the number of files that could not be read.
	// +optional
	Errors int64 `json:"errors,omitempty"`
	// FailedPaths names at most 20 of them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	FailedPaths []string `json:"failedPaths,omitempty"`
}
