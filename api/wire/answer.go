package wire

import "time"

// The records of an answer, one JSON object each. What kind of record follows from the kind of the query.

// LogRecord begins the answer to a Log query, and comes again when the job has begun or ended: of a log that is followed, the last one tells how the job
// ended.
type LogRecord struct {
	JobID string  `json:"jobID"`
	Kind  JobKind `json:"kind,omitempty"`
	Group string  `json:"group,omitempty"`
	// Schedule is empty for a job that was asked for.
	Schedule  string     `json:"schedule,omitempty"`
	StartTime *time.Time `json:"startTime,omitempty"`
	// Offset is where the lines that follow begin, in bytes of the log.
	Offset int64 `json:"offset"`
	// State is Waiting, Running or Ended. Outcome is that of a job that has ended, as far as the machine still knows it.
	State   LogState `json:"state"`
	Outcome Outcome  `json:"outcome,omitempty"`
	// NotVerbose says that the job runs without a line per file, since nobody had asked for them when it began.
	NotVerbose bool `json:"notVerbose,omitempty"`
}

// LogState is where the job of a log stands.
type LogState string

// The states.
const (
	LogWaiting LogState = "Waiting"
	LogRunning LogState = "Running"
	LogEnded   LogState = "Ended"
)

// SnapshotRecord is one snapshot.
type SnapshotRecord struct {
	ID   string    `json:"id"`
	Time time.Time `json:"time"`
	// ResticHost is the value of --host it was made with, Tags the groups.
	ResticHost string   `json:"resticHost"`
	Tags       []string `json:"tags,omitempty"`
	Paths      []string `json:"paths,omitempty"`
	Parent     string   `json:"parent,omitempty"`
	// Files and Bytes are what it holds, BytesAdded what it added to the repository, where its summary tells.
	Files      int64 `json:"files,omitempty"`
	Bytes      int64 `json:"bytes,omitempty"`
	BytesAdded int64 `json:"bytesAdded,omitempty"`
}

// FileRecord is one file or folder in a snapshot.
type FileRecord struct {
	Path string `json:"path"`
	// Type is restic's: file, dir, symlink, dev, chardev, fifo, socket.
	Type string `json:"type"`
	// Mode is Go's fs.FileMode.
	Mode  uint32    `json:"mode,omitempty"`
	UID   uint32    `json:"uid"`
	GID   uint32    `json:"gid"`
	Size  int64     `json:"size,omitempty"`
	MTime time.Time `json:"mtime,omitzero"`
	// LinkTarget of a symlink.
	LinkTarget string `json:"linkTarget,omitempty"`
	// Snapshot is where it was found, for a Find.
	Snapshot string `json:"snapshot,omitempty"`
}

// DiffRecord is one difference, or the sums at the end.
type DiffRecord struct {
	Path string `json:"path,omitempty"`
	// Modifier is restic's: + - M T U ? and combinations.
	Modifier string `json:"modifier,omitempty"`
	// Summary ends the list.
	Summary *DiffSummary `json:"summary,omitempty"`
}

// DiffSummary counts what differs.
type DiffSummary struct {
	ChangedFiles int64 `json:"changedFiles"`
	FilesAdded   int64 `json:"filesAdded"`
	FilesRemoved int64 `json:"filesRemoved"`
	BytesAdded   int64 `json:"bytesAdded"`
	BytesRemoved int64 `json:"bytesRemoved"`
}

// DiagnosisRecord is what a machine says of itself.
type DiagnosisRecord struct {
	Time time.Time `json:"time"`
	// Agent and Restic are versions; ResticPath and ResticError say which program that is, or why there is none.
	Agent       string `json:"agent"`
	Restic      string `json:"restic,omitempty"`
	ResticPath  string `json:"resticPath,omitempty"`
	ResticError string `json:"resticError,omitempty"`
	OS          string `json:"os,omitempty"`
	Arch        string `json:"arch,omitempty"`
	Hostname    string `json:"hostname,omitempty"`
	// StartTime is that of the agent.
	StartTime time.Time `json:"startTime,omitzero"`
	// Revision and Serial of the set in force; NextFire is the next backup by it.
	Revision string     `json:"revision,omitempty"`
	Serial   int64      `json:"serial,omitempty"`
	NextFire *time.Time `json:"nextFire,omitempty"`
	// Disks are the file systems that the agent writes to.
	Disks []DiskRecord `json:"disks,omitempty"`
	// Repository is empty when the machine could open its repository just now, or why it could not.
	RepositoryReason  string `json:"repositoryReason,omitempty"`
	RepositoryMessage string `json:"repositoryMessage,omitempty"`
	// RepositoryChecked says that it was tried.
	RepositoryChecked bool `json:"repositoryChecked,omitempty"`
	// Locks are those in the repository, as restic tells of them.
	Locks []string `json:"locks,omitempty"`
	// Running and Queued are ids of jobs; Unacked counts reports that the gateway has not stored.
	Running []string `json:"running,omitempty"`
	Queued  []string `json:"queued,omitempty"`
	Unacked int64    `json:"unacked,omitempty"`
	// Consent is what the machine's owner allows, by name.
	Consent map[string]string `json:"consent,omitempty"`
}

// DiskRecord is one file system.
type DiskRecord struct {
	Path       string `json:"path"`
	BytesFree  int64  `json:"bytesFree"`
	BytesTotal int64  `json:"bytesTotal"`
	InodesFree int64  `json:"inodesFree,omitempty"`
}

// AnswerEnd ends every answer; a stream that stops without one broke off.
type AnswerEnd struct {
	// Reason is empty for an answer that is complete.
	Reason  AnswerReason `json:"reason,omitempty"`
	Message string       `json:"message,omitempty"`
}

// AnswerReason says why an answer is not complete.
type AnswerReason string

// The reasons.
const (
	// AnswerNotAllowed: the machine's agent.yaml does not consent.
	AnswerNotAllowed AnswerReason = "NotAllowedByMachine"
	// AnswerNotFound: no such job, snapshot or path.
	AnswerNotFound AnswerReason = "NotFound"
	// AnswerInvalid: the parameters cannot be read, or are none.
	AnswerInvalid AnswerReason = "Invalid"
	// AnswerBusy: the machine answers as many queries as it may.
	AnswerBusy AnswerReason = "Busy"
	// AnswerExpired: the time of the query is over.
	AnswerExpired AnswerReason = "Expired"
	// AnswerTooLarge: it is over the limit of what one answer may hold.
	AnswerTooLarge AnswerReason = "TooLarge"
	// AnswerFailed: restic or the machine failed; the message tells.
	AnswerFailed AnswerReason = "Failed"
)
