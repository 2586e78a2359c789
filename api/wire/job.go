package wire

import "time"

// JobKind is what a job does.
type JobKind string

// The kinds of jobs.
const (
	JobBackup  JobKind = "Backup"
	JobRestore JobKind = "Restore"
	JobInit    JobKind = "Init"
	// JobForget removes snapshots by the rules of source groups; JobPrune frees what no snapshot needs.
	JobForget JobKind = "Forget"
	JobPrune  JobKind = "Prune"
	JobCheck  JobKind = "Check"
	// JobUnlock removes stale locks, never live ones.
	JobUnlock JobKind = "Unlock"
	// JobVerify is a restore drill.
	JobVerify JobKind = "Verify"
)

// JobKinds lists the kinds that this version knows.
func JobKinds() []JobKind {
	return []JobKind{JobBackup, JobRestore, JobInit, JobForget, JobPrune, JobCheck, JobUnlock, JobVerify}
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
	// TargetHost is the Host whose repository the work is on, where it is not the one that does it.
	TargetHost string `json:"targetHost,omitempty"`
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
	c.optionalName("targetHost", r.TargetHost)
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
	// Retrying is set while restic retries an unreachable repository, and between two attempts of a job: the last error, redacted, and
	// when the next attempt is.
	Retrying string `json:"retrying,omitempty"`
	// Attempt counts the attempts, from 1; 0 means the first.
	Attempt int64 `json:"attempt,omitempty"`
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
