package wire

import (
	"slices"
	"strings"
	"time"
)

// Labels of the signed job documents.
const (
	JobCommandLabel = "restic-manager/job-command/v1"
	JobCancelLabel  = "restic-manager/job-cancel/v1"
)

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
	// Credentials holds the hash of each sealed credential that travels with the command and nowhere else: those of whoever may delete, or of
	// another host's repository. They are used in memory and never stored.
	Credentials []CredentialHash `json:"credentials,omitempty"`
	// TargetHost is the Host whose repository the work is on, where it is not Host itself.
	TargetHost string `json:"targetHost,omitempty"`
	// Exactly the one that Kind names is set; Init and Unlock have none.
	Backup  *SourceGroup `json:"backup,omitempty"`
	Restore *Restore     `json:"restore,omitempty"`
	Forget  *Forget      `json:"forget,omitempty"`
	Prune   *Prune       `json:"prune,omitempty"`
	Check   *Check       `json:"check,omitempty"`
	Verify  *Verify      `json:"verify,omitempty"`
	// Hooks of the host, for kind Backup; those of the group are in Backup.
	Hooks *Hooks `json:"hooks,omitempty"`
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
	c.text("repository.sameAs", j.Repository.SameAs, MaxString)
	c.name("repository.credential", j.Repository.Credential)
	c.nested("bandwidth", j.Bandwidth.Validate())
	c.optionalName("targetHost", j.TargetHost)
	checkHashes(&c, j.Credentials)
	j.checkParts(&c)
	return c.err
}

// checkParts says that exactly the part that belongs to the kind is there.
func (j *JobCommand) checkParts(c *checks) {
	parts := []struct {
		field string
		kind  JobKind
		is    bool
		valid func() error
	}{
		{"backup", JobBackup, j.Backup != nil, j.Backup.Validate},
		{"restore", JobRestore, j.Restore != nil, j.Restore.Validate},
		{"forget", JobForget, j.Forget != nil, j.Forget.Validate},
		{"prune", JobPrune, j.Prune != nil, j.Prune.Validate},
		{"check", JobCheck, j.Check != nil, j.Check.Validate},
		{"verify", JobVerify, j.Verify != nil, j.Verify.Validate},
	}
	c.that(slices.Contains(JobKinds(), j.Kind), "kind %q is not known to this version", j.Kind)
	for _, part := range parts {
		c.that(part.is == (j.Kind == part.kind), "%s belongs to kind %s, and only there", part.field, part.kind)
		if part.is {
			c.nested(part.field, part.valid())
		}
	}
	c.that(j.Hooks == nil || j.Kind == JobBackup, "hooks belong to kind Backup, and only there")
	if j.Hooks != nil {
		c.nested("hooks", j.Hooks.Validate())
	}
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
	checkSignatures(&c, m.Signatures)
	checkSealed(&c, m.Credentials)
	return c.err
}

// CommandAck answers every CommandRun. Agent → gateway. Accepted says that the job is, or already was, queued or running. The gateway
// ends the HostJob of a refused command as Failed, reason Refused; one that was run before (RefusalAlreadyRun) keeps its own result,
// which the agent reports again.
type CommandAck struct {
	JobID    string        `json:"jobID"`
	Accepted bool          `json:"accepted"`
	Reason   RefusalReason `json:"reason,omitempty"`
	Message  string        `json:"message,omitempty"`
}

// MessageType implements Message.
func (*CommandAck) MessageType() Type { return TypeCommandAck }

// Validate implements Message.
func (m *CommandAck) Validate() error {
	var c checks
	c.name("jobID", m.JobID)
	c.that(m.Accepted || m.Reason != "", "reason is missing")
	c.optionalName("reason", string(m.Reason))
	c.text("message", m.Message, MaxString)
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
	checkSignatures(&c, m.Signatures)
	return c.err
}
