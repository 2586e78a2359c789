package wire

import (
	"fmt"
	"time"
)

// Outcome is how a job ended.
type Outcome string

// The outcomes.
const (
	OutcomeSucceeded Outcome = "Succeeded"
	// OutcomeCompletedWithErrors: a snapshot exists (or files were restored), and something is missing in it.
	OutcomeCompletedWithErrors Outcome = "CompletedWithErrors"
	OutcomeFailed              Outcome = "Failed"
	OutcomeCancelled           Outcome = "Cancelled"
)

// Reason classifies an outcome that is not a plain success, and the state of a repository.
type Reason string

// The reasons.
const (
	ReasonSourceMissing    Reason = "SourceMissing"
	ReasonSourceUnreadable Reason = "SourceUnreadable"
	ReasonNoRepository     Reason = "NoRepository"
	ReasonHalfInitialised  Reason = "HalfInitialised"
	ReasonLocked           Reason = "Locked"
	ReasonWrongPassword    Reason = "WrongPassword"
	ReasonUnauthorized     Reason = "Unauthorized"
	ReasonUnreachable      Reason = "Unreachable"
	ReasonTLS              Reason = "TLSError"
	ReasonNothingRestored  Reason = "NothingRestored"
	ReasonPartialRestore   Reason = "PartialRestore"
	ReasonNoSnapshot       Reason = "NoSnapshot"
	ReasonCancelled        Reason = "Cancelled"
	ReasonDeadlineExceeded Reason = "DeadlineExceeded"
	ReasonExpired          Reason = "Expired"
	// ReasonAgentRestarted: the agent or the machine stopped while the job ran.
	ReasonAgentRestarted Reason = "AgentRestarted"
	// ReasonRefused: the agent does not obey the command; the message holds the RefusalReason.
	ReasonRefused Reason = "Refused"
	// ReasonNoCredential: the agent holds no usable credential for the repository.
	ReasonNoCredential Reason = "NoCredential"
	// ReasonResticMissing: no usable restic on the machine.
	ReasonResticMissing Reason = "ResticMissing"
	// ReasonMissed: a fire could not start in time.
	ReasonMissed       Reason = "Missed"
	ReasonResticFailed Reason = "ResticFailed"
	// ReasonForgetRefused: the repository let nothing be removed (append-only), whatever the exit code says.
	ReasonForgetRefused Reason = "ForgetRefused"
	// ReasonNoAdminCredentials: prune is never begun without them.
	ReasonNoAdminCredentials Reason = "NoAdminCredentials"
	// ReasonRepositoryDamaged: check found damage.
	ReasonRepositoryDamaged Reason = "RepositoryDamaged"
	// ReasonVerificationFailed: a restored file differs from its snapshot, or could not be restored.
	ReasonVerificationFailed Reason = "VerificationFailed"
	// ReasonHookFailed: a hook with onError Fail failed or took too long.
	ReasonHookFailed Reason = "HookFailed"
	// ReasonCommandFailed: the command whose output is backed up failed; ReasonCommandEmpty: it printed nothing. No snapshot was written.
	ReasonCommandFailed Reason = "CommandFailed"
	ReasonCommandEmpty  Reason = "CommandEmpty"
	// ReasonNotAllowed: the machine's agent.yaml does not consent to the group's hooks or command.
	ReasonNotAllowed Reason = "NotAllowedByMachine"
	ReasonNoSpace    Reason = "NoSpace"
)

// ReportID orders the durable reports of one outbox.
type ReportID struct {
	// Epoch is random; a new one begins when no report is waiting, or when the machine went back in time. Numbers of different epochs say nothing of
	// each other.
	Epoch string `json:"epoch"`
	Seq   int64  `json:"seq"`
}

func (r ReportID) validate(c *checks) {
	c.name("report.epoch", r.Epoch)
	c.that(r.Seq > 0, "report.seq is missing")
}

// String is for logs.
func (r ReportID) String() string { return fmt.Sprintf("%s/%d", r.Epoch, r.Seq) }

// Report is a durable message: kept on the machine until it is acked.
type Report interface {
	Message
	// ID is the report's place in the outbox.
	ID() ReportID
	// SetID is called once, when the outbox takes the report.
	SetID(ReportID)
}

// JobFinished is the result of a job. Agent → gateway; durable.
type JobFinished struct {
	Report  ReportID `json:"report"`
	Job     JobRef   `json:"job"`
	Outcome Outcome  `json:"outcome"`
	Reason  Reason   `json:"reason,omitempty"`
	// Message says in one sentence what happened and what to do; required unless the job succeeded.
	Message string `json:"message,omitempty"`
	// ExitCode is restic's own, -1 when restic did not run or was killed.
	ExitCode   int       `json:"exitCode"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	FinishedAt time.Time `json:"finishedAt"`
	// Offline says that the job started without a verdict.
	Offline bool `json:"offline,omitempty"`
	// Attempts is how often it was tried, where more than once.
	Attempts int64 `json:"attempts,omitempty"`
	// LocksRemoved counts the stale locks that were removed on the way.
	LocksRemoved int64 `json:"locksRemoved,omitempty"`
	// HookFailures says which hooks failed, at most MaxListed.
	HookFailures []string        `json:"hookFailures,omitempty"`
	Backup       *BackupSummary  `json:"backup,omitempty"`
	Restore      *RestoreSummary `json:"restore,omitempty"`
	Forget       *ForgetSummary  `json:"forget,omitempty"`
	Prune        *PruneSummary   `json:"prune,omitempty"`
	Check        *CheckSummary   `json:"check,omitempty"`
	Verify       *VerifySummary  `json:"verify,omitempty"`
	// Stats is what is known of this host's part of its repository after the job, counted on from the last listing; nothing extra is run for it.
	Stats *RepositoryStats `json:"stats,omitempty"`
	// LogTail is the end of the job's log, at most MaxLogTail bytes.
	LogTail string `json:"logTail,omitempty"`
}

// MessageType implements Message.
func (*JobFinished) MessageType() Type { return TypeJobFinished }

// ID implements Report.
func (m *JobFinished) ID() ReportID { return m.Report }

// SetID implements Report.
func (m *JobFinished) SetID(id ReportID) { m.Report = id }

// Validate implements Message.
func (m *JobFinished) Validate() error {
	var c checks
	m.Report.validate(&c)
	c.nested("job", m.Job.Validate())
	switch m.Outcome {
	case OutcomeSucceeded:
	case OutcomeCompletedWithErrors, OutcomeFailed, OutcomeCancelled:
		c.name("reason", string(m.Reason))
		c.that(m.Message != "", "message is missing")
	default:
		c.failf("outcome %q is not known", m.Outcome)
	}
	c.text("message", m.Message, MaxString)
	c.that(!m.FinishedAt.IsZero(), "finishedAt is missing")
	c.text("logTail", m.LogTail, MaxLogTail)
	if m.Backup != nil {
		c.texts("backup.failedPaths", m.Backup.FailedPaths, MaxListed)
		c.optionalName("backup.snapshotID", m.Backup.SnapshotID)
	}
	if m.Restore != nil {
		c.texts("restore.failedPaths", m.Restore.FailedPaths, MaxListed)
		c.optionalName("restore.snapshotID", m.Restore.SnapshotID)
		c.text("restore.target", m.Restore.Target, MaxString)
	}
	c.that(m.Attempts >= 0 && m.LocksRemoved >= 0, "a count is negative")
	c.texts("hookFailures", m.HookFailures, MaxListed)
	m.checkMaintenance(&c)
	if m.Stats != nil {
		c.nested("stats", m.Stats.Validate())
	}
	return c.err
}

// BackupSummary is restic's own summary of a backup.
type BackupSummary struct {
	// SnapshotID is empty when no snapshot was written.
	SnapshotID      string `json:"snapshotID,omitempty"`
	FilesNew        int64  `json:"filesNew"`
	FilesChanged    int64  `json:"filesChanged"`
	FilesUnmodified int64  `json:"filesUnmodified"`
	FilesProcessed  int64  `json:"filesProcessed"`
	BytesProcessed  int64  `json:"bytesProcessed"`
	// BytesAdded is new data before compression, BytesStored after it.
	BytesAdded  int64 `json:"bytesAdded"`
	BytesStored int64 `json:"bytesStored"`
	// Errors counts files that could not be read; FailedPaths names at most MaxListed of them.
	Errors      int64    `json:"errors,omitempty"`
	FailedPaths []string `json:"failedPaths,omitempty"`
}

// RestoreSummary is the result of a restore.
type RestoreSummary struct {
	SnapshotID    string   `json:"snapshotID,omitempty"`
	Target        string   `json:"target,omitempty"`
	FilesTotal    int64    `json:"filesTotal"`
	FilesRestored int64    `json:"filesRestored"`
	FilesSkipped  int64    `json:"filesSkipped"`
	BytesTotal    int64    `json:"bytesTotal"`
	BytesRestored int64    `json:"bytesRestored"`
	DryRun        bool     `json:"dryRun,omitempty"`
	Errors        int64    `json:"errors,omitempty"`
	FailedPaths   []string `json:"failedPaths,omitempty"`
}

// ReportAck says that all reports of an epoch up to a sequence number are stored or discarded. Gateway → agent; cumulative.
type ReportAck struct {
	Report ReportID `json:"report"`
	// Discarded says that the report was not stored, and Reason why; the agent logs it and drops the report.
	Discarded bool   `json:"discarded,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

// MessageType implements Message.
func (*ReportAck) MessageType() Type { return TypeReportAck }

// Validate implements Message.
func (m *ReportAck) Validate() error {
	var c checks
	m.Report.validate(&c)
	c.text("reason", m.Reason, MaxString)
	return c.err
}
