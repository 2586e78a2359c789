package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Labels of the signed job documents.
const (
	JobCommandLabel = "restic-manager/job-command/v1"
	JobCancelLabel  = "restic-manager/job-cancel/v1"
)

// JobKind is what a job does.
type JobKind string

// The kinds of jobs.
const (
	JobBackup  JobKind = "Backup"
	JobRestore JobKind = "Restore"
	JobInit    JobKind = "Init"
)

// FireID is the id of a scheduled backup: equal for the same host, schedule, group and nominal local time, so that a fire runs
// at most once across restarts, reconnects, clock jumps and the repeated hour in autumn.
func FireID(host HostRef, schedule, group, nominal string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{host.Namespace, host.Name, schedule, group, nominal}, "\n")))
	return "fire-" + hex.EncodeToString(sum[:12])
}

// CommandID is the id of the job that a HostJob asks for.
func CommandID(uid string) string { return "job-" + uid }

// JobCommand is one signed piece of work.
type JobCommand struct {
	Label string  `json:"label"`
	Host  HostRef `json:"host"`
	// IdentityHash binds the command to the machine's keys.
	IdentityHash string `json:"identityHash"`
	// Name and UID are those of the HostJob. The job's id is CommandID(UID).
	Name string `json:"name"`
	UID  string `json:"uid"`
	// NotAfter is when the command ceases to be valid for starting. The agent remembers ids beyond it.
	NotAfter time.Time `json:"notAfter"`
	// ActiveDeadlineSeconds bounds the run; 0 means no bound.
	ActiveDeadlineSeconds int64   `json:"activeDeadlineSeconds,omitempty"`
	Kind                  JobKind `json:"kind"`
	// ResticHost is the value of restic's --host.
	ResticHost string     `json:"resticHost"`
	Repository Repository `json:"repository"`
	Bandwidth  Bandwidth  `json:"bandwidth,omitzero"`
	// Backup is set for kind Backup, Restore for kind Restore.
	Backup  *SourceGroup `json:"backup,omitempty"`
	Restore *Restore     `json:"restore,omitempty"`
}

// Restore describes a restore.
type Restore struct {
	// Snapshot is an id (at least 8 hex digits) or "latest".
	Snapshot string `json:"snapshot"`
	// ResticHost and Tag filter "latest"; empty ResticHost means the machine's own.
	ResticHost string `json:"resticHost,omitempty"`
	Tag        string `json:"tag,omitempty"`
	// Target is an absolute folder on the machine; empty means a fresh folder below the agent's own restore folder.
	Target   string   `json:"target,omitempty"`
	Includes []string `json:"includes,omitempty"`
	Excludes []string `json:"excludes,omitempty"`
	// Overwrite is restic's --overwrite: always, if-changed, if-newer or never.
	Overwrite string `json:"overwrite,omitempty"`
	DryRun    bool   `json:"dryRun,omitempty"`
	// Verify reads the restored files again.
	Verify bool `json:"verify,omitempty"`
}

// LatestSnapshot stands for the newest snapshot of a group.
const LatestSnapshot = "latest"

// Validate checks the command's own consistency.
func (j *JobCommand) Validate() error {
	var c checks
	c.that(j.Label == JobCommandLabel, "label is %q, want %q", j.Label, JobCommandLabel)
	c.nested("host", j.Host.Validate())
	c.name("identityHash", j.IdentityHash)
	c.name("name", j.Name)
	c.name("uid", j.UID)
	c.that(!j.NotAfter.IsZero(), "notAfter is missing")
	c.that(j.ActiveDeadlineSeconds >= 0, "activeDeadlineSeconds is negative")
	c.name("resticHost", j.ResticHost)
	c.that(j.Repository.URL != "", "repository.url is missing")
	c.text("repository.url", j.Repository.URL, MaxString)
	c.text("repository.caBundle", j.Repository.CABundle, 64<<10)
	c.name("repository.credential", j.Repository.Credential)
	c.that((j.Backup != nil) == (j.Kind == JobBackup), "backup belongs to kind Backup, and only there")
	c.that((j.Restore != nil) == (j.Kind == JobRestore), "restore belongs to kind Restore, and only there")
	switch j.Kind {
	case JobBackup:
		if j.Backup != nil {
			c.nested("backup", j.Backup.Validate())
		}
	case JobRestore:
		if j.Restore != nil {
			c.nested("restore", j.Restore.Validate())
		}
	case JobInit:
	default:
		c.failf("kind %q is not known to this version", j.Kind)
	}
	return c.err
}

// Validate checks a restore.
func (r *Restore) Validate() error {
	var c checks
	c.that(r.Snapshot == LatestSnapshot || isSnapshotID(r.Snapshot), "snapshot %q is neither an id nor latest", r.Snapshot)
	c.optionalName("resticHost", r.ResticHost)
	c.optionalName("tag", r.Tag)
	c.that(r.Target == "" || strings.HasPrefix(r.Target, "/"), "target %q is not an absolute path", r.Target)
	c.text("target", r.Target, MaxString)
	c.texts("includes", r.Includes, MaxPaths)
	c.texts("excludes", r.Excludes, MaxPaths)
	c.that(len(r.Includes) == 0 || len(r.Excludes) == 0, "includes and excludes exclude each other")
	switch r.Overwrite {
	case "", "always", "if-changed", "if-newer", "never":
	default:
		c.failf("overwrite is %q, want always, if-changed, if-newer or never", r.Overwrite)
	}
	return c.err
}

func isSnapshotID(s string) bool {
	if len(s) < 8 || len(s) > 64 {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}

// ParseJobCommand parses and validates a command whose signature the caller has verified.
func ParseJobCommand(raw string) (*JobCommand, error) { return parseDocument[JobCommand](raw) }

// JobCancel is a signed wish that a job ends.
type JobCancel struct {
	Label        string  `json:"label"`
	Host         HostRef `json:"host"`
	IdentityHash string  `json:"identityHash"`
	UID          string  `json:"uid"`
}

// Validate checks required fields.
func (j *JobCancel) Validate() error {
	var c checks
	c.that(j.Label == JobCancelLabel, "label is %q, want %q", j.Label, JobCancelLabel)
	c.nested("host", j.Host.Validate())
	c.name("identityHash", j.IdentityHash)
	c.name("uid", j.UID)
	return c.err
}

// ParseJobCancel parses and validates a cancellation whose signature the caller has verified.
func ParseJobCancel(raw string) (*JobCancel, error) { return parseDocument[JobCancel](raw) }

// CommandRun delivers a JobCommand. Gateway → agent. Delivery is at least once: a command that the agent has accepted before is
// answered with its present state and never run again.
type CommandRun struct {
	// JobID is CommandID of the HostJob's UID.
	JobID string `json:"jobID"`
	// Command is the exact signed JSON of a JobCommand.
	Command    string      `json:"command"`
	Signatures []Signature `json:"signatures"`
	// Credentials are sealed; none in commands that need only the host's own.
	Credentials []SealedCredential `json:"credentials,omitempty"`
}

// MessageType implements Message.
func (*CommandRun) MessageType() Type { return TypeCommandRun }

// Validate implements Message.
func (m *CommandRun) Validate() error {
	var c checks
	c.name("jobID", m.JobID)
	c.that(m.Command != "", "command is missing")
	c.text("command", m.Command, MaxBundle)
	c.count("signatures", len(m.Signatures), MaxSignatures)
	checkSealed(&c, m.Credentials)
	return c.err
}

// CommandCancel delivers a JobCancel. Gateway → agent. The job is stopped with SIGINT, after a grace with SIGKILL.
type CommandCancel struct {
	JobID string `json:"jobID"`
	// Cancel is the exact signed JSON of a JobCancel.
	Cancel     string      `json:"cancel"`
	Signatures []Signature `json:"signatures"`
}

// MessageType implements Message.
func (*CommandCancel) MessageType() Type { return TypeCommandCancel }

// Validate implements Message.
func (m *CommandCancel) Validate() error {
	var c checks
	c.name("jobID", m.JobID)
	c.that(m.Cancel != "", "cancel is missing")
	c.text("cancel", m.Cancel, MaxBundle)
	c.count("signatures", len(m.Signatures), MaxSignatures)
	return c.err
}

// JobRef says which job a report is about.
type JobRef struct {
	JobID string  `json:"jobID"`
	Kind  JobKind `json:"kind"`
	// HostJob and HostJobUID name the HostJob that asked for it; empty for scheduled and automatic jobs.
	HostJob    string `json:"hostJob,omitempty"`
	HostJobUID string `json:"hostJobUID,omitempty"`
	// Schedule and Nominal name the fire of a scheduled job.
	Schedule string `json:"schedule,omitempty"`
	Nominal  string `json:"nominal,omitempty"`
	// SourceGroup is the group of a backup, or of a restore of its latest snapshot.
	SourceGroup string `json:"sourceGroup,omitempty"`
}

// Validate checks required fields.
func (r *JobRef) Validate() error {
	var c checks
	c.name("jobID", r.JobID)
	c.name("kind", string(r.Kind))
	c.optionalName("hostJob", r.HostJob)
	c.optionalName("hostJobUID", r.HostJobUID)
	c.that((r.HostJob == "") == (r.HostJobUID == ""), "hostJob and hostJobUID belong together")
	c.optionalName("schedule", r.Schedule)
	c.optionalName("nominal", r.Nominal)
	c.optionalName("sourceGroup", r.SourceGroup)
	return c.err
}

// JobStarted says that a job has begun. Agent → gateway; not durable (job.finished tells the start again), and sent again after a
// reconnect while the job runs. State says whether it runs or waits for another job of the repository.
type JobStarted struct {
	Job JobRef `json:"job"`
	// Queued is true while another job of the same repository runs first.
	Queued    bool      `json:"queued,omitempty"`
	StartedAt time.Time `json:"startedAt,omitzero"`
}

// MessageType implements Message.
func (*JobStarted) MessageType() Type { return TypeJobStarted }

// Validate implements Message.
func (m *JobStarted) Validate() error {
	var c checks
	c.nested("job", m.Job.Validate())
	return c.err
}

// JobProgress is how far a job is. Agent → gateway, at most one a second; not durable.
type JobProgress struct {
	Job        JobRef `json:"job"`
	FilesDone  int64  `json:"filesDone"`
	FilesTotal int64  `json:"filesTotal"`
	BytesDone  int64  `json:"bytesDone"`
	BytesTotal int64  `json:"bytesTotal"`
	Errors     int64  `json:"errors,omitempty"`
	// SecondsRemaining is restic's estimate; 0 when it has none.
	SecondsRemaining int64 `json:"secondsRemaining,omitempty"`
	// Retrying is set while restic retries an unreachable repository: the last error, redacted.
	Retrying string `json:"retrying,omitempty"`
}

// MessageType implements Message.
func (*JobProgress) MessageType() Type { return TypeJobProgress }

// Validate implements Message.
func (m *JobProgress) Validate() error {
	var c checks
	c.nested("job", m.Job.Validate())
	c.that(m.FilesDone >= 0 && m.FilesTotal >= 0 && m.BytesDone >= 0 && m.BytesTotal >= 0, "a count is negative")
	c.text("retrying", m.Retrying, MaxString)
	return c.err
}

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
)

// ReportID orders the durable reports of one outbox.
type ReportID struct {
	// Epoch is random per outbox: a new one means that the machine lost its disk.
	Epoch string `json:"epoch"`
	Seq   int64  `json:"seq"`
}

func (r ReportID) validate(c *checks) {
	c.name("report.epoch", r.Epoch)
	c.that(r.Seq > 0, "report.seq is missing")
}

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
	Offline bool            `json:"offline,omitempty"`
	Backup  *BackupSummary  `json:"backup,omitempty"`
	Restore *RestoreSummary `json:"restore,omitempty"`
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

// RepositoryState is what the machine last saw of its repository.
type RepositoryState string

// The states of a repository.
const (
	RepositoryReady    RepositoryState = "Ready"
	RepositoryRetrying RepositoryState = "Retrying"
	RepositoryFailed   RepositoryState = "Failed"
)

// RepoState tells a change of the repository's state. Agent → gateway; durable, sent on change only.
type RepoState struct {
	Report  ReportID        `json:"report"`
	State   RepositoryState `json:"state"`
	Reason  Reason          `json:"reason,omitempty"`
	Message string          `json:"message,omitempty"`
	// URL is redacted; it tells which repository was meant when the spec changes meanwhile.
	URL  string    `json:"url"`
	Time time.Time `json:"time"`
}

// MessageType implements Message.
func (*RepoState) MessageType() Type { return TypeRepoState }

// ID implements Report.
func (m *RepoState) ID() ReportID { return m.Report }

// SetID implements Report.
func (m *RepoState) SetID(id ReportID) { m.Report = id }

// Validate implements Message.
func (m *RepoState) Validate() error {
	var c checks
	m.Report.validate(&c)
	switch m.State {
	case RepositoryReady:
	case RepositoryRetrying, RepositoryFailed:
		c.name("reason", string(m.Reason))
	default:
		c.failf("state %q is not known", m.State)
	}
	c.text("message", m.Message, MaxString)
	c.text("url", m.URL, MaxString)
	return c.err
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

// String is for logs.
func (r ReportID) String() string { return fmt.Sprintf("%s/%d", r.Epoch, r.Seq) }
