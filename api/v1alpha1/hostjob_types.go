package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// HostJobKind is what a HostJob does.
// +kubebuilder:validation:Enum=Backup;Restore;Init;Forget;Prune;Check;Unlock;Verify
type HostJobKind string

// The kinds of HostJobs.
const (
	HostJobBackup  HostJobKind = "Backup"
	HostJobRestore HostJobKind = "Restore"
	HostJobInit    HostJobKind = "Init"
	// HostJobForget removes the snapshots that the retention of the SourceGroups does not keep.
	HostJobForget HostJobKind = "Forget"
	// HostJobPrune frees the space of data that no snapshot needs; it needs admin credentials.
	HostJobPrune HostJobKind = "Prune"
	// HostJobCheck tests the repository.
	HostJobCheck HostJobKind = "Check"
	// HostJobUnlock removes stale locks, never live ones.
	HostJobUnlock HostJobKind = "Unlock"
	// HostJobVerify is a restore drill: it restores a sample of each group's newest snapshot and compares it.
	HostJobVerify HostJobKind = "Verify"
)

// HostJobSpec is one piece of work on one host. It cannot be changed, but for cancel.
// +kubebuilder:validation:XValidation:rule="self.kind == oldSelf.kind && self.hostRef == oldSelf.hostRef && has(self.backup) == has(oldSelf.backup) && (!has(self.backup) || self.backup == oldSelf.backup) && has(self.restore) == has(oldSelf.restore) && (!has(self.restore) || self.restore == oldSelf.restore) && has(self.targetRef) == has(oldSelf.targetRef) && (!has(self.targetRef) || self.targetRef == oldSelf.targetRef) && has(self.forget) == has(oldSelf.forget) && (!has(self.forget) || self.forget == oldSelf.forget) && has(self.prune) == has(oldSelf.prune) && (!has(self.prune) || self.prune == oldSelf.prune) && has(self.check) == has(oldSelf.check) && (!has(self.check) || self.check == oldSelf.check) && has(self.verify) == has(oldSelf.verify) && (!has(self.verify) || self.verify == oldSelf.verify) && self.activeDeadlineSeconds == oldSelf.activeDeadlineSeconds && self.startingDeadlineSeconds == oldSelf.startingDeadlineSeconds",message="a HostJob cannot be changed, only cancelled: create another one"
// +kubebuilder:validation:XValidation:rule="has(self.backup) == (self.kind == 'Backup')",message="backup is needed for kind Backup, and only there"
// +kubebuilder:validation:XValidation:rule="has(self.restore) == (self.kind == 'Restore')",message="restore is needed for kind Restore, and only there"
// +kubebuilder:validation:XValidation:rule="!has(self.forget) || self.kind == 'Forget'",message="forget belongs to kind Forget"
// +kubebuilder:validation:XValidation:rule="!has(self.prune) || self.kind == 'Prune'",message="prune belongs to kind Prune"
// +kubebuilder:validation:XValidation:rule="!has(self.check) || self.kind == 'Check'",message="check belongs to kind Check"
// +kubebuilder:validation:XValidation:rule="!has(self.verify) || self.kind == 'Verify'",message="verify belongs to kind Verify"
// +kubebuilder:validation:XValidation:rule="!has(self.targetRef) || self.kind in ['Forget', 'Prune', 'Check', 'Unlock']",message="targetRef is for kinds Forget, Prune, Check and Unlock: all others work on the machine itself"
// +kubebuilder:validation:XValidation:rule="!oldSelf.cancel || self.cancel",message="a cancellation cannot be taken back"
type HostJobSpec struct {
	// HostRef names the Host that does the work.
	HostRef LocalReference `json:"hostRef"`
	// TargetRef names the Host whose repository the work is on, where it is another one: hostRef must then be the executorRef of the
	// RepoMaintenance that selects it.
	// +optional
	TargetRef *LocalReference `json:"targetRef,omitempty"`
	// Kind is what to do.
	Kind HostJobKind `json:"kind"`
	// Backup says what to back up, for kind Backup.
	// +optional
	Backup *BackupJob `json:"backup,omitempty"`
	// Restore says what to restore and where, for kind Restore.
	// +optional
	Restore *RestoreJob `json:"restore,omitempty"`
	// Forget narrows a job of kind Forget.
	// +optional
	Forget *ForgetJob `json:"forget,omitempty"`
	// Prune holds options for kind Prune.
	// +optional
	Prune *PruneOptions `json:"prune,omitempty"`
	// Check holds options for kind Check.
	// +optional
	Check *CheckJob `json:"check,omitempty"`
	// Verify holds options for kind Verify.
	// +optional
	Verify *VerifyJob `json:"verify,omitempty"`
	// Cancel asks to stop the job: restic is interrupted, and killed if it does not end.
	// +optional
	// +kubebuilder:default=false
	Cancel bool `json:"cancel"`
	// ActiveDeadlineSeconds bounds the run. A day by default.
	// +optional
	// +kubebuilder:default=86400
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2592000
	ActiveDeadlineSeconds int64 `json:"activeDeadlineSeconds,omitempty"`
	// StartingDeadlineSeconds is how long after its creation the job may still be started: an offline host does not get it for ever. An
	// hour by default.
	// +optional
	// +kubebuilder:default=3600
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=604800
	StartingDeadlineSeconds int64 `json:"startingDeadlineSeconds,omitempty"`
	// TTLSecondsAfterFinished deletes the object so long after its end. Kept when left out.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=31536000
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// BackupJob is a backup on demand.
type BackupJob struct {
	// SourceGroup names the group to back up; it must be for this host.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SourceGroup string `json:"sourceGroup"`
}

// ForgetJob narrows a forget. The rules are always those of the SourceGroups; a group without retention is never touched. In a repository that several
// Hosts share, the snapshots of all of them are looked at, host by host and group by group.
type ForgetJob struct {
	// SourceGroup narrows it to one group. All by default.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SourceGroup string `json:"sourceGroup,omitempty"`
}

// CheckJob is how a check is done.
type CheckJob struct {
	// ReadDataSubset is how much data is read and verified: a percentage, a size (with its unit), or n/t. None by default.
	// +optional
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?%|[0-9]+[kKmMgGtT]|[0-9]+/[0-9]+)$`
	// +kubebuilder:validation:MaxLength=16
	ReadDataSubset string `json:"readDataSubset,omitempty"`
}

// VerifyJob is how a restore drill is done.
type VerifyJob struct {
	// SourceGroup narrows it to one group. All of the host by default.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SourceGroup string `json:"sourceGroup,omitempty"`
	// Sample is how many files of each group are restored and compared. 20 by default.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Sample int32 `json:"sample,omitempty"`
}

// RestoreJob is a restore.
// +kubebuilder:validation:XValidation:rule="!(has(self.includes) && has(self.excludes))",message="includes and excludes exclude each other (restic allows one of them)"
// +kubebuilder:validation:XValidation:rule="self.snapshot != 'latest' || has(self.sourceGroup)",message="snapshot latest needs a sourceGroup"
type RestoreJob struct {
	// Snapshot is an id of at least 8 hex digits, or latest (default). Put quotes around an id: YAML reads some as numbers.
	// +optional
	// +kubebuilder:default=latest
	// +kubebuilder:validation:Pattern=`^(latest|[0-9a-f]{8,64})$`
	Snapshot string `json:"snapshot,omitempty"`
	// SourceGroup names the group whose latest snapshot is meant.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SourceGroup string `json:"sourceGroup,omitempty"`
	// Target is an absolute folder on the machine. Default: a fresh folder below /var/lib/restic-manager/restore. Any other folder must
	// have been allowed on the machine (enroll --allow-restore).
	// +optional
	// +kubebuilder:validation:Pattern=`^/.*`
	// +kubebuilder:validation:MaxLength=4096
	Target string `json:"target,omitempty"`
	// Includes restores only what matches these restic patterns.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=200
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4096
	Includes []string `json:"includes,omitempty"`
	// Excludes restores all but what matches these restic patterns.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=200
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4096
	Excludes []string `json:"excludes,omitempty"`
	// Overwrite says what happens to files that exist: Always, IfChanged (default), IfNewer or Never.
	// +optional
	// +kubebuilder:default=IfChanged
	Overwrite OverwritePolicy `json:"overwrite,omitempty"`
	// DryRun tells what would be restored and writes nothing.
	// +optional
	DryRun bool `json:"dryRun,omitempty"`
	// Verify reads the restored files again and compares them with the snapshot.
	// +optional
	Verify bool `json:"verify,omitempty"`
}

// OverwritePolicy is restic's --overwrite.
// +kubebuilder:validation:Enum=Always;IfChanged;IfNewer;Never
type OverwritePolicy string

// The policies.
const (
	OverwriteAlways    OverwritePolicy = "Always"
	OverwriteIfChanged OverwritePolicy = "IfChanged"
	OverwriteIfNewer   OverwritePolicy = "IfNewer"
	OverwriteNever     OverwritePolicy = "Never"
)

// HostJobPhase is where a job stands.
// +kubebuilder:validation:Enum=Pending;Dispatched;Running;Succeeded;CompletedWithErrors;Failed;Cancelled;Expired
type HostJobPhase string

// The phases. Controllers write Pending, and Expired, Failed or Cancelled only from Pending; the gateway writes the others.
const (
	JobPending             HostJobPhase = "Pending"
	JobDispatched          HostJobPhase = "Dispatched"
	JobRunning             HostJobPhase = "Running"
	JobSucceeded           HostJobPhase = "Succeeded"
	JobCompletedWithErrors HostJobPhase = "CompletedWithErrors"
	JobFailed              HostJobPhase = "Failed"
	JobCancelled           HostJobPhase = "Cancelled"
	JobExpired             HostJobPhase = "Expired"
)

// Finished says whether a job in this phase can still change.
func (p HostJobPhase) Finished() bool {
	switch p {
	case JobSucceeded, JobCompletedWithErrors, JobFailed, JobCancelled, JobExpired:
		return true
	}
	return false
}

// HostJobStatus is what has become of the job.
type HostJobStatus struct {
	// ObservedGeneration is the generation that the conditions speak of. Written by the controllers.
	// +optional
	// +kubebuilder:default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Ready, Reconciling, Complete, Failed, Stalled. Written by the controllers.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Phase is where the job stands. Written by the controllers while Pending, then by the gateway.
	// +optional
	Phase HostJobPhase `json:"phase,omitempty"`
	// Command is the signed command for the machine. Written by the controllers.
	// +optional
	Command *SignedDocument `json:"command,omitempty"`
	// Credentials are sealed to the machine, for this command alone; gone once the job has ended. Written by the controllers.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=4
	Credentials []SealedCredential `json:"credentials,omitempty"`
	// CredentialsDigest tells the controllers, and nobody else, whether the Secret changed since the credentials were sealed. Written by the controllers.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	CredentialsDigest string `json:"credentialsDigest,omitempty"`
	// CancelCommand is the signed cancellation. Written by the controllers.
	// +optional
	CancelCommand *SignedDocument `json:"cancelCommand,omitempty"`
	// Session is the agent's session counter of the newest report: an older connection's late write is dropped. Written by the gateway.
	// +optional
	Session int64 `json:"session,omitempty"`
	// DispatchTime is when the command was first sent. Written by the gateway.
	// +optional
	DispatchTime *metav1.Time `json:"dispatchTime,omitempty"`
	// Queued is true while the machine runs another job of the same repository first. Written by the gateway.
	// +optional
	Queued bool `json:"queued,omitempty"`
	// StartTime is when the machine started. Written by the gateway.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// CompletionTime is when the job ended. Written by the gateway, or by the controllers when the job never left Pending.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// Progress is renewed at most every 10 seconds while the job runs. Written by the gateway.
	// +optional
	Progress *JobProgress `json:"progress,omitempty"`
	// Result is how the job ended. Written by the gateway.
	// +optional
	Result *JobResultStatus `json:"result,omitempty"`
	// LogTail is the end of the job's log. Written by the gateway.
	// +optional
	// +kubebuilder:validation:MaxLength=8192
	LogTail string `json:"logTail,omitempty"`
}

// JobProgress is how far a job is.
type JobProgress struct {
	// Percent of the bytes.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent int32 `json:"percent"`
	// FilesDone so far.
	FilesDone int64 `json:"filesDone"`
	// FilesTotal as known so far.
	FilesTotal int64 `json:"filesTotal"`
	// BytesDone so far.
	BytesDone int64 `json:"bytesDone"`
	// BytesTotal as known so far.
	BytesTotal int64 `json:"bytesTotal"`
	// Retrying is set while restic retries an unreachable repository: the last error.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Retrying string `json:"retrying,omitempty"`
	// Attempt counts the attempts, from 1; only from the second on.
	// +optional
	Attempt int64 `json:"attempt,omitempty"`
	// UpdateTime is when the gateway wrote this.
	UpdateTime metav1.Time `json:"updateTime"`
}

// JobResultStatus is how a job ended.
type JobResultStatus struct {
	// Reason classifies a result that is not Succeeded.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Reason string `json:"reason,omitempty"`
	// Message says in one sentence what happened and what to do.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message,omitempty"`
	// ExitCode is restic's own; -1 when restic did not run or was killed.
	ExitCode int32 `json:"exitCode"`
	// Backup is restic's summary, for kind Backup.
	// +optional
	Backup *BackupSummary `json:"backup,omitempty"`
	// Restore is restic's summary, for kind Restore.
	// +optional
	Restore *RestoreSummary `json:"restore,omitempty"`
	// Forget is what was really removed, for kind Forget.
	// +optional
	Forget *ForgetSummary `json:"forget,omitempty"`
	// Prune is what was freed, for kind Prune.
	// +optional
	Prune *PruneSummary `json:"prune,omitempty"`
	// Check is what was found, for kind Check.
	// +optional
	Check *CheckSummary `json:"check,omitempty"`
	// Verify is what was compared, for kind Verify.
	// +optional
	Verify *VerifySummary `json:"verify,omitempty"`
	// Attempts is how often it was tried, where more than once.
	// +optional
	Attempts int64 `json:"attempts,omitempty"`
	// LocksRemoved counts the stale locks that were removed on the way.
	// +optional
	LocksRemoved int64 `json:"locksRemoved,omitempty"`
	// HookFailures says which hooks failed.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	HookFailures []string `json:"hookFailures,omitempty"`
}

// ForgetSummary is what a forget really removed.
type ForgetSummary struct {
	// Kept snapshots.
	Kept int64 `json:"kept"`
	// Removed snapshots.
	Removed int64 `json:"removed"`
	// Refused counts the snapshots that the repository would not let go: it is append-only for these credentials.
	// +optional
	Refused int64 `json:"refused,omitempty"`
	// Groups of it, at most 100; those with trouble first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Groups []ForgetGroupResult `json:"groups,omitempty"`
}

// ForgetGroupResult is one group of a forget.
type ForgetGroupResult struct {
	// Name of the SourceGroup.
	Name string `json:"name"`
	// Host that the snapshots are of.
	Host string `json:"host"`
	// Kept snapshots.
	Kept int64 `json:"kept"`
	// Removed snapshots.
	Removed int64 `json:"removed"`
	// Refused by the repository.
	// +optional
	Refused int64 `json:"refused,omitempty"`
	// Error says why this group could not be done.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Error string `json:"error,omitempty"`
}

// PruneSummary is what a prune freed, by restic's own figures.
type PruneSummary struct {
	// BytesFreed by the prune.
	BytesFreed int64 `json:"bytesFreed"`
	// BytesRemaining in the repository.
	BytesRemaining int64 `json:"bytesRemaining"`
	// BytesUnused of them that no snapshot needs and that were left (maxUnused).
	// +optional
	BytesUnused int64 `json:"bytesUnused,omitempty"`
}

// CheckSummary is what a check found.
type CheckSummary struct {
	// Errors found.
	Errors int64 `json:"errors"`
	// ReadDataSubset that was read.
	// +optional
	ReadDataSubset string `json:"readDataSubset,omitempty"`
	// Problems are restic's first messages.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Problems []string `json:"problems,omitempty"`
	// SuggestRepairIndex is restic's hint to run restic repair index.
	// +optional
	SuggestRepairIndex bool `json:"suggestRepairIndex,omitempty"`
	// SuggestPrune is restic's hint to run a prune.
	// +optional
	SuggestPrune bool `json:"suggestPrune,omitempty"`
}

// VerifySummary is the result of a restore drill.
type VerifySummary struct {
	// FilesVerified were restored and found equal to what the snapshot holds.
	FilesVerified int64 `json:"filesVerified"`
	// BytesVerified of them.
	BytesVerified int64 `json:"bytesVerified"`
	// FilesMatchingLive are those of them that were also compared with the unchanged file on the machine.
	FilesMatchingLive int64 `json:"filesMatchingLive"`
	// FilesFailed could not be restored, or differ.
	// +optional
	FilesFailed int64 `json:"filesFailed,omitempty"`
	// FailedPaths names at most 20 of them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	FailedPaths []string `json:"failedPaths,omitempty"`
	// Groups of the drill.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=100
	Groups []VerifyGroupResult `json:"groups,omitempty"`
}

// VerifyGroupResult is one group of a restore drill.
type VerifyGroupResult struct {
	// Name of the SourceGroup.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// SnapshotID that was drilled; empty when the group has none.
	// +optional
	SnapshotID string `json:"snapshotID,omitempty"`
	// SnapshotTime is that of the snapshot.
	// +optional
	SnapshotTime *metav1.Time `json:"snapshotTime,omitempty"`
	// FilesInSnapshot from which the sample was drawn.
	FilesInSnapshot int64 `json:"filesInSnapshot"`
	// FilesVerified of the sample.
	FilesVerified int64 `json:"filesVerified"`
	// FilesFailed of the sample.
	// +optional
	FilesFailed int64 `json:"filesFailed,omitempty"`
	// Error says why the group could not be drilled at all.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Error string `json:"error,omitempty"`
}

// RestoreSummary is the result of a restore.
type RestoreSummary struct {
	// SnapshotID that was restored.
	// +optional
	SnapshotID string `json:"snapshotID,omitempty"`
	// Target is the folder on the machine.
	// +optional
	Target string `json:"target,omitempty"`
	// FilesTotal that were selected.
	FilesTotal int64 `json:"filesTotal"`
	// FilesRestored of them.
	FilesRestored int64 `json:"filesRestored"`
	// FilesSkipped by the overwrite policy.
	FilesSkipped int64 `json:"filesSkipped"`
	// BytesTotal of the selected files.
	BytesTotal int64 `json:"bytesTotal"`
	// BytesRestored of them.
	BytesRestored int64 `json:"bytesRestored"`
	// DryRun says that nothing was written.
	// +optional
	DryRun bool `json:"dryRun,omitempty"`
	// Errors is the number of files that could not be restored.
	// +optional
	Errors int64 `json:"errors,omitempty"`
	// FailedPaths names at most 20 of them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	FailedPaths []string `json:"failedPaths,omitempty"`
}

// HostJob is one piece of work on one host: created by people, and by RepoMaintenance when an operation is due.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rjob,categories=restic
// +kubebuilder:printcolumn:name="Host",type=string,JSONPath=`.spec.hostRef.name`
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.kind`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Percent",type=integer,JSONPath=`.status.progress.percent`
// +kubebuilder:printcolumn:name="Started",type=date,JSONPath=`.status.startTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type HostJob struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what to do.
	Spec HostJobSpec `json:"spec"`
	// Status is what has become of it.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status HostJobStatus `json:"status,omitempty"`
}

// HostJobList is a list of HostJobs.
// +kubebuilder:object:root=true
type HostJobList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []HostJob `json:"items"`
}

// TargetName is the Host whose repository the job is on.
func (j *HostJob) TargetName() string {
	if j.Spec.TargetRef != nil {
		return j.Spec.TargetRef.Name
	}
	return j.Spec.HostRef.Name
}

// GroupName is the SourceGroup that the job cannot do without; empty when there is none.
func (j *HostJob) GroupName() string {
	switch {
	case j.Spec.Backup != nil:
		return j.Spec.Backup.SourceGroup
	case j.Spec.Restore != nil && j.Spec.Restore.Latest():
		return j.Spec.Restore.SourceGroup
	case j.Spec.Forget != nil:
		return j.Spec.Forget.SourceGroup
	case j.Spec.Verify != nil:
		return j.Spec.Verify.SourceGroup
	}
	return ""
}

// Latest tells a restore of a group's newest snapshot from one by its id.
func (r *RestoreJob) Latest() bool { return r.Snapshot == "" || r.Snapshot == "latest" }
