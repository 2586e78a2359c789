package v1alpha1

// Condition types. Ready and Stalled have one meaning for every kind; health is in the others, so that a sync which waits for
// Ready never waits for a dead machine.
const (
	// ConditionReady: the spec is accepted and acted on.
	ConditionReady = "Ready"
	// ConditionStalled: present and true when nothing but a change of the object, or of one that it names, can help.
	ConditionStalled = "Stalled"
)

// Reasons of Ready and Stalled, for every kind.
const (
	ReasonAccepted = "Accepted"
	// ReasonInvalid: the spec cannot work; the message names the field and the remedy.
	ReasonInvalid = "Invalid"
	// ReasonReconcileError: an operation failed and is tried again.
	ReasonReconcileError = "ReconcileError"
)

// Conditions of a Host, and their reasons.
const (
	// ConditionEnrolled: the keys of a machine are pinned.
	ConditionEnrolled = "Enrolled"
	// ReasonIdentityPinned: by an enrolment; ReasonIdentityGiven: in the spec from the beginning.
	ReasonIdentityPinned = "IdentityPinned"
	ReasonIdentityGiven  = "IdentityGiven"
	// ReasonTokenMinted: waiting for a machine to use the token in Secret <host>-enrollment.
	ReasonTokenMinted = "WaitingForMachine"
	// ReasonTokenExpired: the token is too old; the annotation mint-enrollment-token asks for another.
	ReasonTokenExpired = "TokenExpired"
	// ReasonTokenVoid: too many wrong proofs were shown for the token; the annotation asks for another.
	ReasonTokenVoid = "TokenVoid"

	// ConditionConnected: an agent holds a session, or lost it less than 90 s ago.
	ConditionConnected       = "Connected"
	ReasonSessionEstablished = "SessionEstablished"
	ReasonNeverConnected     = "NeverConnected"
	// ReasonDisconnected: no session for 90 s. ReasonGatewayLost: the replica that held it is gone, with no newer session for 90 s.
	ReasonDisconnected = "Disconnected"
	ReasonGatewayLost  = "GatewayLost"

	// ConditionScheduleSetApplied: the agent runs the newest set.
	ConditionScheduleSetApplied = "ScheduleSetApplied"
	ReasonApplied               = "Applied"
	// ReasonPending: published, not acked yet. ReasonRefused: the agent refused it and keeps the one in force.
	ReasonPending = "Pending"
	ReasonRefused = "RefusedByAgent"
	// ReasonNotPublished: nothing to apply yet.
	ReasonNotPublished = "NotPublished"

	// ConditionRepositoryReady: the machine can open its repository. Unknown until it said so. False carries the agent's reason
	// (Unreachable, WrongPassword, HalfInitialised, Unauthorized, …).
	ConditionRepositoryReady = "RepositoryReady"
	ReasonRepositoryOpened   = "RepositoryOpened"
	ReasonNotReported        = "NotReported"
	// ReasonRetrying: restic is retrying an unreachable repository right now.
	ReasonRetrying = "Retrying"

	// ConditionClockSynchronised: the machine's clock is within a minute of the gateway's.
	ConditionClockSynchronised = "ClockSynchronised"
	ReasonClockWithinLimit     = "WithinLimit"
	ReasonClockSkewed          = "Skewed"

	// ConditionDuplicateIdentity: present and true while two machines use the same keys (a cloned VM).
	ConditionDuplicateIdentity = "DuplicateIdentity"
	ReasonTwoMachines          = "TwoMachines"

	// ConditionRepositoryHealthy: the last check and the last restore drill found nothing wrong. Unknown until one of them ran.
	ConditionRepositoryHealthy = "RepositoryHealthy"
	ReasonCheckPassed          = "CheckPassed"
	ReasonCheckFailed          = "CheckFailed"
	// ReasonVerificationPassed: a restore drill passed, and no check has run yet.
	ReasonVerificationPassed = "VerificationPassed"
	ReasonVerificationFailed = "VerificationFailed"
	ReasonNotCheckedYet      = "NotCheckedYet"

	// ConditionCredentialsExported is present for a Host whose repository password was made by the controllers: true once a person said that a copy
	// is kept outside the cluster (annotation credentials-exported on the Secret).
	ConditionCredentialsExported = "CredentialsExported"
	ReasonExportConfirmed        = "ExportConfirmed"
	ReasonExportNotConfirmed     = "ExportNotConfirmed"
	// ReasonMintedSecretMissing: the Secret is gone; another password would not open the repository, so none is made.
	ReasonMintedSecretMissing = "MintedSecretMissing"

	// ConditionAdminCredentialsExposed is present and true when the credentials that may delete go to the machine itself: no RepoMaintenance names
	// an executorRef.
	ConditionAdminCredentialsExposed = "AdminCredentialsExposed"
	ReasonNoExecutor                 = "NoExecutor"

	// ConditionAdminCredentialsReady: the Secret that adminCredentialsSecretRef names is there and labelled. Present while the reference is set. What
	// is in it is judged when a job needs it.
	ConditionAdminCredentialsReady = "AdminCredentialsReady"
	ReasonCredentialsFound         = "CredentialsFound"

	// ConditionAllowedByMachine: the machine's agent.yaml allows the hooks and commands that its set holds. Present when it holds any.
	ConditionAllowedByMachine = "AllowedByMachine"
	ReasonAllAllowed          = "AllAllowed"
	ReasonNotAllowedByMachine = "NotAllowedByMachine"

	// ConditionBackupsCurrent of a Host, and of a SourceGroup and a Schedule for all their Hosts: no backup is overdue. Overdue is a backup
	// that has not succeeded since a run of its Schedule, a quarter of the interval (10 minutes to 6 hours) and the time that the last one took later.
	// Unknown while there is nothing to judge by.
	ConditionBackupsCurrent = "BackupsCurrent"
	ReasonUpToDate          = "UpToDate"
	ReasonOverdue           = "Overdue"
	// ReasonHostOffline: overdue, but the machine is away, for less than spec.offlineGrace.
	ReasonHostOffline = "HostOffline"
	// ReasonWaitingForFirstBackup: something has not succeeded yet, and is not overdue.
	ReasonWaitingForFirstBackup = "WaitingForFirstBackup"
	// ReasonNothingScheduled: no Schedule fires anything here.
	ReasonNothingScheduled = "NothingScheduled"

	// Reasons of a Host that is not Ready.
	ReasonCredentialsMissing    = "CredentialsMissing"
	ReasonCredentialsNotLabeled = "CredentialsNotLabeled"
	ReasonCredentialsInvalid    = "CredentialsInvalid"
	ReasonNotEnrolled           = "NotEnrolled"
	ReasonPublished             = "Published"
	ReasonSuspended             = "Suspended"
)

// Conditions of SourceGroup and Schedule, and their reasons.
const (
	// ReasonNoHostMatches: nothing is selected; the object is accepted all the same.
	ReasonNoHostMatches = "NoHostMatches"
	ReasonHostNotFound  = "HostNotFound"

	// ConditionSourceGroupsFound: every group that a Schedule names exists and shares a host with it.
	ConditionSourceGroupsFound = "SourceGroupsFound"
	ReasonAllFound             = "AllFound"
	ReasonSourceGroupNotFound  = "SourceGroupNotFound"
	ReasonNoSharedHost         = "NoSharedHost"

	// ConditionApplied: every matched host has acked a set with this object in its present generation.
	ConditionApplied    = "Applied"
	ReasonAppliedByAll  = "AppliedByAll"
	ReasonNotAppliedYet = "NotAppliedYet"

	// ConditionRetentionEnforced of a SourceGroup: maintenance forgets snapshots by its rules.
	ConditionRetentionEnforced = "RetentionEnforced"
	// ReasonEnforced: a RepoMaintenance forgets on every matched host. ReasonNoRetention: there is no rule, nothing is ever forgotten.
	// ReasonNoForget: no RepoMaintenance with forget is in force for some host.
	ReasonEnforced    = "Enforced"
	ReasonNoRetention = "NoRetention"
	ReasonNoForget    = "NoForget"
	// ReasonTagShared: another group of the same host has the same tag, so the snapshots of both are kept.
	ReasonTagShared = "TagShared"
)

// Conditions of a RepoMaintenance, and their reasons.
const (
	// ConditionAdminCredentialsBound: each selected Host names admin credentials. Without them prune is skipped. Present when prune is asked for.
	ConditionAdminCredentialsBound = "AdminCredentialsBound"
	ReasonAllBound                 = "AllBound"
	ReasonNoAdminCredentials       = "NoAdminCredentials"
	// ConditionHealthy: the last run of each operation succeeded on every repository.
	ConditionHealthy           = "Healthy"
	ReasonAllSucceeded         = "AllSucceeded"
	ReasonOperationsFailing    = "OperationsFailing"
	ReasonNothingRunYet        = "NothingRunYet"
	ReasonExecutorNotFound     = "ExecutorNotFound"
	ReasonExecutorNotConnected = "ExecutorNotConnected"
	// ReasonOverridden: other RepoMaintenances are in force for all selected hosts: of several, those with an executorRef come
	// first, then the oldest that people made. Ready is true with a hostSelector, for which the next Host may come, and false with a hostRef.
	ReasonOverridden = "Overridden"
)

// Conditions of a HostJob, as in batch/v1, and their reasons.
const (
	// ConditionComplete is true once the job succeeded. A job that completed with errors is not Complete.
	ConditionComplete = "Complete"
	// ConditionFailed is true once the job ended in any other way.
	ConditionFailed = "Failed"
	// ConditionReconciling is present and true until the job has ended, so that kstatus does not take an accepted job for a done one.
	ConditionReconciling = "Reconciling"

	ReasonSucceeded           = "Succeeded"
	ReasonCompletedWithErrors = "CompletedWithErrors"
	ReasonFailed              = "Failed"
	ReasonCancelled           = "Cancelled"
	ReasonExpired             = "Expired"
	ReasonSourceGroupMissing  = "SourceGroupNotFound"
	ReasonWaitingForHost      = "WaitingForHost"
	ReasonInProgress          = "InProgress"
	// ReasonNoReport: the machine took it, and its result has not come although it must have ended. The phase stays: whether it ran is not known.
	ReasonNoReport = "NoReport"
	// ReasonWaitingForRepository: another forget, prune or check of the same repository is under way.
	ReasonWaitingForRepository = "WaitingForRepository"
	// ReasonNotTheExecutor: the RepoMaintenance that selects the target names another Host as its executor, or none.
	ReasonNotTheExecutor = "NotTheExecutor"
	// ReasonNothingToDo: no source group has what the job is for, for instance a retention.
	ReasonNothingToDo = "NothingToDo"
)

// Reasons of a HostQuery.
const (
	// ReasonSigned: the machine takes the query, and its answer can be collected at status.gateway.
	ReasonSigned = "Signed"
)

// Reasons of Events about a Host. An Event is for people and expires; status is the record.
const (
	EventEnrolled         = "Enrolled"
	EventEnrolmentRefused = "EnrollmentRefused"
	EventTokenMinted      = "EnrollmentTokenMinted"
	EventDisconnected     = "Disconnected"
	// EventSigningKey comes on the Secret with the signing keys, at each step of a rotation; EventSigningKeyProblem when one cannot go on.
	EventSigningKey        = "SigningKeyRotation"
	EventSigningKeyProblem = "SigningKeyProblem"
	// EventBackupsOverdue and EventBackupsRecovered come once each, when BackupsCurrent becomes False and True again.
	EventBackupsOverdue    = "BackupsOverdue"
	EventBackupsRecovered  = "BackupsRecovered"
	EventSetRefused        = "ScheduleSetRefused"
	EventCommandRefused    = "CommandRefused"
	EventDuplicateIdentity = "DuplicateIdentity"
	EventBackupSucceeded   = "BackupSucceeded"
	EventBackupIncomplete  = "BackupCompletedWithErrors"
	EventBackupFailed      = "BackupFailed"
	EventBackupCancelled   = "BackupCancelled"
	EventRestoreSucceeded  = "RestoreSucceeded"
	EventRestoreIncomplete = "RestoreCompletedWithErrors"
	EventRestoreFailed     = "RestoreFailed"
	EventRestoreCancelled  = "RestoreCancelled"
	EventRepositoryReady   = "RepositoryReady"
	EventRepositoryFailed  = "RepositoryFailed"
	EventForgetSucceeded   = "ForgetSucceeded"
	EventForgetFailed      = "ForgetFailed"
	EventPruneSucceeded    = "PruneSucceeded"
	EventPruneFailed       = "PruneFailed"
	EventCheckSucceeded    = "CheckSucceeded"
	EventCheckFailed       = "CheckFailed"
	EventUnlockSucceeded   = "UnlockSucceeded"
	EventUnlockFailed      = "UnlockFailed"
	EventVerifySucceeded   = "VerifySucceeded"
	EventVerifyFailed      = "VerifyFailed"
	// EventMaintenanceCancelled: of any of these.
	EventMaintenanceCancelled = "MaintenanceCancelled"
	// EventRepositoryLocked: a job waits for, or failed on, a lock. EventStaleLocksRemoved: a machine removed locks of dead processes.
	EventRepositoryLocked  = "RepositoryLocked"
	EventStaleLocksRemoved = "StaleLocksRemoved"
	// EventCredentialsMinted: a repository password was made; the condition CredentialsExported says what to do with it.
	EventCredentialsMinted = "CredentialsMinted"
	EventInitFailed        = "InitFailed"
	EventInitSucceeded     = "RepositoryInitialised"
)
