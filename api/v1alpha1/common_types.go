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
	// Windows hold other caps by the time of day; the first that holds the time at which restic starts counts for that run.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=24
	Windows []BandwidthWindow `json:"windows,omitempty"`
	// TimeZone of the windows, an IANA name; UTC by default.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone,omitempty"`
}

// BandwidthWindow is a part of each day. What it leaves out is not capped in it.
// +kubebuilder:validation:XValidation:rule="self.from != self.to",message="from and to are equal: write 00:00 to 24:00 for the whole day"
type BandwidthWindow struct {
	// From is when it begins, as 15:04.
	// +kubebuilder:validation:Pattern=`^([01][0-9]|2[0-3]):[0-5][0-9]$`
	From string `json:"from"`
	// To is when it ends, as 15:04 or 24:00; earlier than from means on the next day.
	// +kubebuilder:validation:Pattern=`^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$`
	To string `json:"to"`
	// UploadKBps caps uploads, in KiB per second. No cap when left out.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000000
	UploadKBps int32 `json:"uploadKBps,omitempty"`
	// DownloadKBps caps downloads, in KiB per second. No cap when left out.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000000
	DownloadKBps int32 `json:"downloadKBps,omitempty"`
}

// Hooks are commands around a backup, run as root by the agent; the machine must allow them (agent.yaml, allow.hooks), and setting them
// takes the permission `update` on `hosts/hooks` or `sourcegroups/hooks`. A Host's own are around those of each SourceGroup.
type Hooks struct {
	// PreBackup run before the backup, in order.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	PreBackup []Hook `json:"preBackup,omitempty"`
	// PostBackup run after the backup, in order, whatever became of it: thaw here what preBackup froze.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	PostBackup []Hook `json:"postBackup,omitempty"`
	// OnFailure run when the backup failed, before postBackup. A cancelled backup is not a failed one.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	OnFailure []Hook `json:"onFailure,omitempty"`
}

// Hook is one command. Its environment says what is going on: RESTIC_MANAGER_HOST, _NAMESPACE, _SOURCE_GROUP, _JOB_ID, _HOOK, and after the backup
// _OUTCOME, _REASON, _EXIT_CODE, _SNAPSHOT_ID and _MESSAGE.
type Hook struct {
	// Command is a list of words, run without a shell; the first is an absolute path.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=4096
	// +kubebuilder:validation:XValidation:rule="self[0].startsWith('/')",message="the first word must be an absolute path: there is no shell and no PATH"
	Command []string `json:"command"`
	// Timeout after which the command is stopped and counts as failed. 10 minutes by default, a day at most.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="timeout must be between 1s and 24h"
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// OnError says what becomes of the job when the command fails: Fail (default) or Continue. A preBackup that fails keeps the backup from starting.
	// +optional
	// +kubebuilder:default=Fail
	OnError HookErrorPolicy `json:"onError,omitempty"`
}

// HookErrorPolicy says what becomes of a job when a hook fails.
// +kubebuilder:validation:Enum=Fail;Continue
type HookErrorPolicy string

// The policies.
const (
	HookFail     HookErrorPolicy = "Fail"
	HookContinue HookErrorPolicy = "Continue"
)

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
	// KeepWithinHourly keeps, of the snapshots younger than this, the newest of each hour.
	// +optional
	// +kubebuilder:validation:Pattern=`^([0-9]+[yYmMdDhH])+$`
	// +kubebuilder:validation:MaxLength=32
	KeepWithinHourly string `json:"keepWithinHourly,omitempty"`
	// KeepWithinDaily keeps, of the snapshots younger than this, the newest of each day.
	// +optional
	// +kubebuilder:validation:Pattern=`^([0-9]+[yYmMdDhH])+$`
	// +kubebuilder:validation:MaxLength=32
	KeepWithinDaily string `json:"keepWithinDaily,omitempty"`
	// KeepWithinWeekly keeps, of the snapshots younger than this, the newest of each week.
	// +optional
	// +kubebuilder:validation:Pattern=`^([0-9]+[yYmMdDhH])+$`
	// +kubebuilder:validation:MaxLength=32
	KeepWithinWeekly string `json:"keepWithinWeekly,omitempty"`
	// KeepWithinMonthly keeps, of the snapshots younger than this, the newest of each month.
	// +optional
	// +kubebuilder:validation:Pattern=`^([0-9]+[yYmMdDhH])+$`
	// +kubebuilder:validation:MaxLength=32
	KeepWithinMonthly string `json:"keepWithinMonthly,omitempty"`
	// KeepWithinYearly keeps, of the snapshots younger than this, the newest of each year.
	// +optional
	// +kubebuilder:validation:Pattern=`^([0-9]+[yYmMdDhH])+$`
	// +kubebuilder:validation:MaxLength=32
	KeepWithinYearly string `json:"keepWithinYearly,omitempty"`
	// KeepTags keeps every snapshot that has one of these tags, for instance one that was added by hand with restic tag.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:Pattern=`^[^,\s]+$`
	// +kubebuilder:validation:items:MaxLength=253
	KeepTags []string `json:"keepTags,omitempty"`
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

// FleetSummary counts the Hosts of a SourceGroup or a Schedule. Each Host is one of succeeded, failing and never ran; of a Schedule, the worst of its
// groups counts.
type FleetSummary struct {
	// HostsMatched is the number of Hosts that the object is for.
	// +optional
	// +kubebuilder:default=0
	HostsMatched int32 `json:"hostsMatched"`
	// HostsApplied is the number of them that have acked a set with the object in its present generation.
	// +optional
	// +kubebuilder:default=0
	HostsApplied int32 `json:"hostsApplied"`
	// HostsSucceeded is the number of Hosts whose last backup succeeded.
	// +optional
	// +kubebuilder:default=0
	HostsSucceeded int32 `json:"hostsSucceeded"`
	// HostsFailing is the number of Hosts whose last backup failed, or completed with errors.
	// +optional
	// +kubebuilder:default=0
	HostsFailing int32 `json:"hostsFailing"`
	// FailingHosts names the first ten of them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	FailingHosts []string `json:"failingHosts,omitempty"`
	// HostsNeverRan is the number of Hosts that have not made a backup yet.
	// +optional
	// +kubebuilder:default=0
	HostsNeverRan int32 `json:"hostsNeverRan"`
	// HostsOverdue is the number of Hosts with an overdue backup, whatever became of the last one.
	// +optional
	// +kubebuilder:default=0
	HostsOverdue int32 `json:"hostsOverdue"`
	// OverdueHosts names the first ten of them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	OverdueHosts []string `json:"overdueHosts,omitempty"`
	// OldestSuccessTime is the last success of the Host that is farthest behind, of those that ever had one: everything is backed up since then when
	// none never ran.
	// +optional
	OldestSuccessTime *metav1.Time `json:"oldestSuccessTime,omitempty"`
}
