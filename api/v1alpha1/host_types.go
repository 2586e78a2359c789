package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// HostSpec describes a machine outside the cluster.
type HostSpec struct {
	// Repository is where the machine's backups go.
	Repository Repository `json:"repository"`
	// Bandwidth caps restic on this machine.
	// +optional
	Bandwidth *Bandwidth `json:"bandwidth,omitempty"`
	// Hooks run around each backup of the machine, outside those of its SourceGroup.
	// +optional
	Hooks *Hooks `json:"hooks,omitempty"`
	// Suspend stops all scheduled work of the machine, maintenance too. HostJobs that people create still run.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// OfflineGrace is how long the machine may be away before its backups count as overdue, for laptops and the like; at most a year. None by
	// default: a backup that is late because the machine is off is as late as any other.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('8760h')",message="offlineGrace must be between 0s and 8760h"
	OfflineGrace *metav1.Duration `json:"offlineGrace,omitempty"`
	// Identity holds the machine's public keys. The controllers pin them at enrolment; give them here when the keys are made
	// elsewhere and kept in Git. Changing them takes the permission `update` on `hosts/identity`.
	// +optional
	Identity *HostIdentity `json:"identity,omitempty"`
}

// Repository is a restic repository.
// +kubebuilder:validation:XValidation:rule="!self.url.matches('^[^/]*//[^/]*@')",message="no user or password inside url: put them into the credentials Secret (RESTIC_REST_USERNAME, RESTIC_REST_PASSWORD)"
type Repository struct {
	// URL is a restic repository location, for instance rest:https://backup.example.com/web-1/ or s3:https://s3.example.com/bucket.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url"`
	// CredentialsSecretRef names a Secret with RESTIC_PASSWORD and what the backend needs (RESTIC_REST_USERNAME,
	// RESTIC_REST_PASSWORD, AWS_ACCESS_KEY_ID, …); tls.crt and tls.key in it are a client certificate for the repository's server. It must
	// carry the label backup.restic-manager.io/credentials: "true". When left out, Secret <host>-repo is made with a random password, and the
	// condition CredentialsExported says how to keep that password safe.
	// +optional
	CredentialsSecretRef *LocalReference `json:"credentialsSecretRef,omitempty"`
	// AdminCredentialsSecretRef names a Secret of the same shape for who may delete: prune is never begun without it, and forget uses it where
	// it is bound. RESTIC_REPOSITORY in it is the URL by which that access goes, where it is another one (the second instance beside an
	// append-only rest-server). It is sealed into single commands, goes to RepoMaintenance.spec.executorRef where one is named, and is never
	// stored on a machine.
	// +optional
	AdminCredentialsSecretRef *LocalReference `json:"adminCredentialsSecretRef,omitempty"`
	// CABundle is PEM: the authorities that signed the repository's certificate, for restic's --cacert.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`
}

// HostIdentity is the public half of a machine's keys.
type HostIdentity struct {
	// SigningKey is the Ed25519 public key, base64.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9+/]{43}=$`
	SigningKey string `json:"signingKey"`
	// SealingKey is the X25519 public key, base64.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9+/]{43}=$`
	SealingKey string `json:"sealingKey"`
}

// HostStatus is what is known of the machine.
type HostStatus struct {
	// ObservedGeneration is the generation that the conditions speak of. Written by the controllers.
	// +optional
	// +kubebuilder:default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Ready, BackupsCurrent, Enrolled, Connected, ScheduleSetApplied, RepositoryReady, RepositoryHealthy, CredentialsExported, AdminCredentialsReady,
	// AdminCredentialsExposed, AllowedByMachine, ClockSynchronised, Stalled, DuplicateIdentity.
	// Written by the controllers.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Enrollment is the state of the enrolment. Written by the controllers.
	// +optional
	Enrollment *EnrollmentStatus `json:"enrollment,omitempty"`
	// EnrollmentRequest is the newest request of a machine that showed the id of the current token. Written by the gateway;
	// nothing is decided from it but by checking its proof.
	// +optional
	EnrollmentRequest *EnrollmentRequest `json:"enrollmentRequest,omitempty"`
	// Agent is what the agent said of itself when it connected. Written by the controllers, from the Host's ScheduleSet.
	// +optional
	Agent *AgentStatus `json:"agent,omitempty"`
	// Repository is what the machine last saw of its repository. Written by the gateway.
	// +optional
	Repository *RepositoryStatus `json:"repository,omitempty"`
	// MintedCredentials is set once the controllers made the Secret with the repository's password: they never make another. Written by the
	// controllers.
	// +optional
	MintedCredentials *MintedCredentials `json:"mintedCredentials,omitempty"`
	// Maintenance is the last run of each operation on the host's repository. Written by the controllers.
	// +optional
	Maintenance *MaintenanceStatus `json:"maintenance,omitempty"`
	// Schedules is when each Schedule runs on this machine. Written by the controllers.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Schedules []HostSchedule `json:"schedules,omitempty"`
	// NextRunTime is the soonest of schedules. Written by the controllers.
	// +optional
	NextRunTime *metav1.Time `json:"nextRunTime,omitempty"`
	// Overdue lists the backups that should have succeeded by now, the longest overdue first. Written by the controllers.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Overdue []OverdueBackup `json:"overdue,omitempty"`
	// SourceGroups is the last result of each source group. Written by the gateway.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	SourceGroups []SourceGroupResult `json:"sourceGroups,omitempty"`
	// LastSuccessTime is when a backup of any group last succeeded. Written by the gateway.
	// +optional
	LastSuccessTime *metav1.Time `json:"lastSuccessTime,omitempty"`
	// OldestSuccessTime is the last success of the group that is farthest behind, of those that a Schedule fires and that ever had one: everything on the
	// machine is backed up since then when none never ran. Written by the gateway with each result.
	// +optional
	OldestSuccessTime *metav1.Time `json:"oldestSuccessTime,omitempty"`
	// LastReport is the newest durable report that is stored here: one that comes again is recognised by it. Written by the gateway,
	// together with the result.
	// +optional
	LastReport *ReportPosition `json:"lastReport,omitempty"`
}

// EnrollmentStatus is the state of the enrolment.
type EnrollmentStatus struct {
	// TokenIDHash is the hex SHA-256 of the current token's id. Empty when no token is open.
	// +optional
	TokenIDHash string `json:"tokenIDHash,omitempty"`
	// ExpiresAt is when the current token expires.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// MintedFor is the value of the annotation mint-enrollment-token that the current or last token was minted for.
	// +optional
	MintedFor string `json:"mintedFor,omitempty"`
	// UsedTokenIDHash is that of the token which pinned the identity.
	// +optional
	UsedTokenIDHash string `json:"usedTokenIDHash,omitempty"`
	// FailedAttempts counts wrong proofs for the current token; after 5 the token is void.
	// +optional
	FailedAttempts int32 `json:"failedAttempts,omitempty"`
	// Verdict is the exact signed answer to the newest request.
	// +optional
	Verdict *SignedDocument `json:"verdict,omitempty"`
}

// EnrollmentRequest is a machine's wish to be enrolled.
type EnrollmentRequest struct {
	// TokenIDHash is the hex SHA-256 of the token's id that the machine showed.
	// +kubebuilder:validation:MaxLength=64
	TokenIDHash string `json:"tokenIDHash"`
	// SigningKey and SealingKey are the machine's public keys, base64.
	// +kubebuilder:validation:MaxLength=64
	SigningKey string `json:"signingKey"`
	// SealingKey is the machine's X25519 public key, base64.
	// +kubebuilder:validation:MaxLength=64
	SealingKey string `json:"sealingKey"`
	// Proof is the HMAC that shows possession of the token, base64.
	// +kubebuilder:validation:MaxLength=64
	Proof string `json:"proof"`
	// Hostname is what the machine calls itself.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Hostname string `json:"hostname,omitempty"`
	// ReceivedAt is when the gateway took the request.
	ReceivedAt metav1.Time `json:"receivedAt"`
}

// SignedDocument is a document with its signatures.
type SignedDocument struct {
	// Document is the exact text that was signed.
	// +kubebuilder:validation:MaxLength=524288
	Document string `json:"document"`
	// Signatures by the controllers' keys.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Signatures []Signature `json:"signatures"`
}

// Signature is one signature over the exact bytes of a document.
type Signature struct {
	// KeyID names the key: the first 16 hex digits of the SHA-256 of its public half.
	// +kubebuilder:validation:MaxLength=64
	KeyID string `json:"keyID"`
	// Value is the Ed25519 signature, base64.
	// +kubebuilder:validation:MaxLength=128
	Value string `json:"value"`
}

// AgentStatus is what an agent says of itself.
type AgentStatus struct {
	// Version of the agent.
	// +optional
	Version string `json:"version,omitempty"`
	// Protocol that the agent speaks.
	// +optional
	Protocol int32 `json:"protocol,omitempty"`
	// ResticVersion on the machine; empty when no usable restic was found.
	// +optional
	ResticVersion string `json:"resticVersion,omitempty"`
	// OS, for instance linux.
	// +optional
	OS string `json:"os,omitempty"`
	// Arch, for instance amd64.
	// +optional
	Arch string `json:"arch,omitempty"`
	// Hostname is what the machine calls itself.
	// +optional
	Hostname string `json:"hostname,omitempty"`
	// ClockSkewSeconds is the machine's clock minus the gateway's when it last connected, rounded to seconds.
	// +optional
	ClockSkewSeconds int64 `json:"clockSkewSeconds,omitempty"`
}

// RepositoryStatus is what the machine last saw of its repository.
type RepositoryStatus struct {
	// State is Ready, Retrying or Failed.
	// +kubebuilder:validation:Enum=Ready;Retrying;Failed
	State string `json:"state"`
	// Reason classifies a state that is not Ready.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Reason string `json:"reason,omitempty"`
	// Message says what is wrong and what to do.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message,omitempty"`
	// URL of the repository that was meant, redacted.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	URL string `json:"url,omitempty"`
	// Time of the change.
	Time metav1.Time `json:"time"`
	// LockPresent says that the last job failed on, or waits for, somebody else's lock. Stale locks are removed by the machines themselves.
	// +optional
	LockPresent bool `json:"lockPresent,omitempty"`
	// Stats is what the machine knows of its own snapshots.
	// +optional
	Stats *RepositoryStats `json:"stats,omitempty"`
}

// RepositoryStats is what a machine knows of its own snapshots; those of other hosts in a shared repository are not counted.
type RepositoryStats struct {
	// Time is when this became true.
	Time metav1.Time `json:"time"`
	// ListedTime is when the snapshots were last listed; backups are counted on from there.
	ListedTime metav1.Time `json:"listedTime"`
	// Snapshots of this host.
	Snapshots int64 `json:"snapshots"`
	// RestoreBytes is the size of the files in the newest snapshot of each group: what a full restore brings back.
	RestoreBytes int64 `json:"restoreBytes"`
	// RawBytes is the size of the data that the snapshots of the repository refer to, of all hosts. What a prune would free is not in it.
	// +optional
	RawBytes int64 `json:"rawBytes,omitempty"`
	// RawTime is when it was measured.
	// +optional
	RawTime *metav1.Time `json:"rawTime,omitempty"`
	// FutureSnapshots are dated in the future: a clock was wrong, or somebody means to push real ones out of a retention that counts. keepWithin
	// ignores them.
	// +optional
	FutureSnapshots int64 `json:"futureSnapshots,omitempty"`
	// Groups by source group.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Groups []GroupStats `json:"groups,omitempty"`
}

// GroupStats is the snapshots of one source group.
type GroupStats struct {
	// Name of the SourceGroup.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Snapshots of the group.
	Snapshots int64 `json:"snapshots"`
	// RestoreBytes is the size of the files in the newest one.
	RestoreBytes int64 `json:"restoreBytes"`
	// Oldest is the time of the oldest snapshot.
	// +optional
	Oldest *metav1.Time `json:"oldest,omitempty"`
	// Newest is the time of the newest snapshot.
	// +optional
	Newest *metav1.Time `json:"newest,omitempty"`
}

// MintedCredentials is what is remembered of a password that the controllers made.
type MintedCredentials struct {
	// SecretName of the Secret. It has no owner: it stays when the Host goes.
	SecretName string `json:"secretName"`
	// Time is when it was made.
	Time metav1.Time `json:"time"`
}

// MaintenanceStatus is the last run of each operation.
type MaintenanceStatus struct {
	// URL of the repository that this is about. What is known of another one, which the Host had before, says nothing of the present one.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url,omitempty"`
	// Since is when the Host came to this repository from another one; runs from before are not counted.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
	// Forget removes the snapshots that no retention rule keeps.
	// +optional
	Forget *OperationStatus `json:"forget,omitempty"`
	// Prune frees the space of data that no snapshot needs.
	// +optional
	Prune *OperationStatus `json:"prune,omitempty"`
	// Check tests the repository.
	// +optional
	Check *OperationStatus `json:"check,omitempty"`
	// Verify is the restore drill.
	// +optional
	Verify *OperationStatus `json:"verify,omitempty"`
}

// OperationStatus is the last run of one operation.
type OperationStatus struct {
	// LastScheduleTime is the time of the cron expression (before jitter) that the last run was for.
	// +optional
	LastScheduleTime *metav1.Time `json:"lastScheduleTime,omitempty"`
	// NextScheduleTime is when it is due next, jitter included.
	// +optional
	NextScheduleTime *metav1.Time `json:"nextScheduleTime,omitempty"`
	// HostJob of the last run, and Executor the Host that did it where it was another one.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	HostJob string `json:"hostJob,omitempty"`
	// Executor is the Host that did it, where it was another one.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Executor string `json:"executor,omitempty"`
	// Result of the last run that ended.
	// +optional
	Result JobResult `json:"result,omitempty"`
	// Reason classifies a result that is not Succeeded.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Reason string `json:"reason,omitempty"`
	// Message says in one sentence what it did, or what is wrong and what to do.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`
	// FinishTime of the last run that ended.
	// +optional
	FinishTime *metav1.Time `json:"finishTime,omitempty"`
	// LastSuccessTime is when it last succeeded.
	// +optional
	LastSuccessTime *metav1.Time `json:"lastSuccessTime,omitempty"`
	// ConsecutiveFailures since then.
	// +optional
	ConsecutiveFailures int32 `json:"consecutiveFailures,omitempty"`
	// ReadDataSubset is the part that the last check read; the next one of a rotation follows from it.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	ReadDataSubset string `json:"readDataSubset,omitempty"`
}

// HostSchedule is when one Schedule runs on one machine.
type HostSchedule struct {
	// Name of the Schedule.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Cron and TimeZone are those of the Schedule.
	// +kubebuilder:validation:MaxLength=253
	Cron string `json:"cron"`
	// TimeZone is an IANA name.
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone"`
	// Suspended says that the Schedule or the Host is suspended.
	// +optional
	Suspended bool `json:"suspended,omitempty"`
	// SourceGroups that it fires on this machine.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	SourceGroups []HostScheduleGroup `json:"sourceGroups"`
	// Delay is this machine's part of the Schedule's jitter: how long after the nominal time it starts.
	// +optional
	Delay *metav1.Duration `json:"delay,omitempty"`
	// NextRunTime is the next start, delay included, as of the last run or change. Empty while suspended.
	// +optional
	NextRunTime *metav1.Time `json:"nextRunTime,omitempty"`
}

// HostScheduleGroup is a source group that a Schedule fires on a machine.
type HostScheduleGroup struct {
	// Name of the SourceGroup.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Since is from when on backups are expected: since the group is in the Schedule for this machine, and its expression, zone and suspend are what they
	// are. While a backup is overdue a change of these does not move it.
	Since metav1.Time `json:"since"`
}

// OverdueBackup is a backup that should have succeeded by now.
type OverdueBackup struct {
	// SourceGroup that has no recent enough backup.
	// +kubebuilder:validation:MaxLength=253
	SourceGroup string `json:"sourceGroup"`
	// Schedule by which it was due.
	// +kubebuilder:validation:MaxLength=253
	Schedule string `json:"schedule"`
	// DueTime is the start of the first run that brought no success.
	DueTime metav1.Time `json:"dueTime"`
}

// SourceGroupResult is the last result of one source group on one host.
type SourceGroupResult struct {
	// Name of the SourceGroup.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// JobID of the last job.
	// +kubebuilder:validation:MaxLength=253
	JobID string `json:"jobID"`
	// Schedule that fired it, or empty for a HostJob.
	// +optional
	Schedule string `json:"schedule,omitempty"`
	// Result of the last job.
	Result JobResult `json:"result"`
	// Reason classifies a result that is not Succeeded.
	// +optional
	Reason string `json:"reason,omitempty"`
	// Message says in one sentence what happened and what to do.
	// +optional
	Message string `json:"message,omitempty"`
	// StartTime and FinishTime of the last job, by the machine's clock, never later than the gateway received them.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// FinishTime of the last job.
	// +optional
	FinishTime *metav1.Time `json:"finishTime,omitempty"`
	// Backup is restic's summary of the last job.
	// +optional
	Backup *BackupSummary `json:"backup,omitempty"`
	// LastSuccessTime is when a backup of this group last succeeded.
	// +optional
	LastSuccessTime *metav1.Time `json:"lastSuccessTime,omitempty"`
	// LastSnapshotID is the newest snapshot that a job of this group wrote.
	// +optional
	LastSnapshotID string `json:"lastSnapshotID,omitempty"`
	// ConsecutiveFailures counts the failed jobs since the last one that wrote a snapshot.
	// +optional
	ConsecutiveFailures int32 `json:"consecutiveFailures,omitempty"`
}

// ReportPosition is a place in a machine's outbox.
type ReportPosition struct {
	// Epoch is random; a new one begins when no report was waiting on the machine, or when its disk went back in time.
	// +kubebuilder:validation:MaxLength=253
	Epoch string `json:"epoch"`
	// Seq is the report's number within the epoch.
	Seq int64 `json:"seq"`
}

// Host is one machine outside the cluster that is backed up with restic.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rhost,categories=restic
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Connected",type=string,JSONPath=`.status.conditions[?(@.type=="Connected")].status`
// +kubebuilder:printcolumn:name="Applied",type=string,JSONPath=`.status.conditions[?(@.type=="ScheduleSetApplied")].status`
// +kubebuilder:printcolumn:name="Repository",type=string,JSONPath=`.status.conditions[?(@.type=="RepositoryReady")].reason`
// +kubebuilder:printcolumn:name="Backups",type=string,JSONPath=`.status.conditions[?(@.type=="BackupsCurrent")].reason`
// +kubebuilder:printcolumn:name="Oldest Success",type=date,JSONPath=`.status.oldestSuccessTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Last Success",type=date,priority=1,JSONPath=`.status.lastSuccessTime`
// +kubebuilder:printcolumn:name="Next Run",type=string,priority=1,JSONPath=`.status.nextRunTime`
// +kubebuilder:printcolumn:name="Agent",type=string,priority=1,JSONPath=`.status.agent.version`
// +kubebuilder:printcolumn:name="Restic",type=string,priority=1,JSONPath=`.status.agent.resticVersion`
type Host struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the machine is to be.
	Spec HostSpec `json:"spec"`
	// Status is what is known of the machine.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status HostStatus `json:"status,omitempty"`
}

// HostList is a list of Hosts.
// +kubebuilder:object:root=true
type HostList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Host `json:"items"`
}

// CredentialsSecretName is the Secret that opens the repository: the one that is named, or the one that the controllers make.
func (h *Host) CredentialsSecretName() string {
	if ref := h.Spec.Repository.CredentialsSecretRef; ref != nil {
		return ref.Name
	}
	return MintedSecretName(h.Name)
}
