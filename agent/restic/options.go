package restic

import (
	"log/slog"
	"time"
)

// MaxNamed bounds every list of names, messages and lines in results and errors.
const MaxNamed = 20

// MaxLine is the length in bytes after which a line of restic's output is cut.
const MaxLine = 1 << 20

// Limits caps the bandwidth of one run, in KiB per second. 0 means no cap.
type Limits struct {
	UploadKBps   int
	DownloadKBps int
}

// Runner runs restic on this machine. Its fields are set once and not changed afterwards.
type Runner struct {
	Binary Binary
	// Hostname is the stable name under which snapshots are kept (restic's --host), whatever the machine calls itself today. Required.
	Hostname string
	// CacheDir holds restic's cache. Made when missing. Required.
	CacheDir string
	// TempDir holds one folder per run, for packs in the making and the CA bundle. Made when missing. Required; nobody else may use it.
	TempDir string
	// DumpHelper is the absolute path of the agent's own program, whose subcommand `dump` runs commands (package agent/dump). Required for backups of commands.
	DumpHelper string
	// Limits apply where the options of a run name none, to each direction by itself.
	Limits Limits
	// RetryLock is how long restic waits for somebody else's lock. Default 5m; negative: not at all. With --json restic
	// says nothing while it waits, so no event tells it.
	RetryLock time.Duration
	// UnreachableAfter ends a run in which nothing but retrying was seen for so long. Default 5m; negative: never (restic gives up after about 14m).
	UnreachableAfter time.Duration
	// Grace is the time between SIGINT and SIGKILL when a run is stopped. Default 65s, see the package documentation.
	Grace time.Duration
	// Proxy is the machine's own HTTP_PROXY, HTTPS_PROXY and NO_PROXY, passed on to restic. Other names are refused.
	Proxy map[string]string
	// Logger gets what concerns the agent's operator: starts, signals, leftovers. Default slog.Default().
	Logger *slog.Logger
}

// BackupOptions describes one backup.
type BackupOptions struct {
	Repository Repository
	// Tag of the snapshot; with Hostname it finds the parent snapshot. Required; no comma.
	Tag string
	// Paths to back up, absolute. Globs are not expanded. At least one, unless there is a Command.
	Paths []string
	// Command is a program and its arguments, whose output is backed up instead of paths; the options about files, and SkipIfUnchanged, mean nothing then. It is started by
	// Runner.DumpHelper with a clean environment. When it fails or prints nothing there is no snapshot.
	Command []string
	// FileName is the name in the snapshot of the file that holds the command's output; a plain name. Required with a Command.
	FileName string
	// CommandEnv holds variables for the command; their names begin with RESTIC_MANAGER_.
	CommandEnv map[string]string
	// Excludes are restic's patterns: a bare name matches anywhere, a path from the root.
	Excludes []string
	// ExcludesIgnoreCase are the same, without regard to case.
	ExcludesIgnoreCase []string
	// ExcludeCaches leaves out the content of folders with a CACHEDIR.TAG.
	ExcludeCaches bool
	// ExcludeIfPresent leaves out the content of folders with such a file: "name" or "name:header".
	ExcludeIfPresent []string
	// ExcludeLargerThan leaves out larger files: a number with an optional suffix k, M, G or T. Empty: none.
	ExcludeLargerThan string
	// OneFileSystem does not descend into other mounted file systems.
	OneFileSystem bool
	// SkipIfUnchanged makes no snapshot when nothing changed since the parent; the result has no SnapshotID then.
	SkipIfUnchanged bool
	// Verbose asks for a log line per file. It costs 20-40 % of an unchanged backup: only for a job that somebody follows.
	Verbose bool
	Limits  Limits
}

// Failures counts items that failed. Only the first MaxNamed are named.
type Failures struct {
	Count int
	First []Failure
}

// Failure is one item that could not be read or written. Item may be empty when restic names none.
type Failure struct {
	Item    string
	Message string
}

func (f *Failures) add(item, message string) {
	f.Count++
	if len(f.First) < MaxNamed {
		f.First = append(f.First, Failure{Item: item, Message: message})
	}
}

// BackupResult is what a backup did. It is also filled, as far as known, beside an error.
type BackupResult struct {
	// SnapshotID is the full id; empty when no snapshot was made.
	SnapshotID string
	// CompletedWithErrors means that there is a snapshot, which lacks what Missing and Unreadable name. Message says it in one line.
	CompletedWithErrors bool
	Message             string
	// Missing are paths that do not exist or cannot be reached at all.
	Missing Failures
	// Unreadable are files and folders that could not be read.
	Unreadable Failures

	FilesNew, FilesChanged, FilesUnmodified uint64
	DirsNew, DirsChanged, DirsUnmodified    uint64
	// TotalFiles and TotalBytes were looked at; BytesAdded are new, before compression, and BytesStored after.
	TotalFiles, TotalBytes  uint64
	BytesAdded, BytesStored uint64
	// Started is the time of the snapshot; zero when restic did not say it.
	Started  time.Time
	Duration time.Duration
	// ExitCode of restic, for the record. -1: it was ended by a signal or never started.
	ExitCode int
}

// Overwrite says what a restore does with files that are there already.
type Overwrite string

const (
	OverwriteAlways    Overwrite = "always"
	OverwriteIfChanged Overwrite = "if-changed"
	OverwriteIfNewer   Overwrite = "if-newer"
	OverwriteNever     Overwrite = "never"
)

// Latest as RestoreOptions.Snapshot stands for the newest snapshot that matches the filter.
const Latest = "latest"

// RestoreOptions describes one restore. Files in the target that are not in the snapshot always stay: restic's --delete is not offered.
type RestoreOptions struct {
	Repository Repository
	// Snapshot is an id (8 to 64 hexadecimal digits) or Latest. Required.
	Snapshot string
	// Filter finds the latest snapshot; unused with an id. An empty filter is refused: the newest of any host is not what anybody means.
	Filter SnapshotFilter
	// Target folder, absolute. Made when missing. Snapshot paths are restored below it.
	Target string
	// Includes and Excludes are patterns as for a backup. They cannot be combined.
	Includes, Excludes []string
	// ExactPaths are paths in the snapshot, absolute, with no character of special meaning; of a folder everything in it. Beside Includes; not with Excludes.
	ExactPaths []string
	// Overwrite policy. Default OverwriteIfChanged: files that are the same already are not written again.
	Overwrite Overwrite
	// DryRun writes nothing and counts what would be restored.
	DryRun bool
	// Verify reads the restored files again and compares them. Not with DryRun.
	Verify bool
	// Sparse restores runs of zeros as holes.
	Sparse bool
	Limits Limits
}

// RestoreResult is what a restore did. It is also filled, as far as known, beside an error.
type RestoreResult struct {
	// SnapshotID is the full id for Latest, else what was asked for.
	SnapshotID string
	// CompletedWithErrors means that some items failed (Failed names them), and at least one was restored. Message says it in one line.
	CompletedWithErrors bool
	Message             string
	Failed              Failures
	// FilesTotal and FilesRestored count folders, links and special files too. FilesRestored is what restic says less what failed.
	FilesTotal, FilesRestored, FilesSkipped uint64
	BytesTotal, BytesRestored, BytesSkipped uint64
	DryRun                                  bool
	Duration                                time.Duration
	ExitCode                                int
}

// SnapshotFilter selects snapshots. Empty fields select all.
type SnapshotFilter struct {
	// Host as given to --host at the time of the backup.
	Host string
	// Tag that the snapshot must have.
	Tag string
	// Paths that the snapshot must all have among its backed-up paths.
	Paths []string
	// Newest keeps only the newest snapshots of each host and list of paths, this many. 0 keeps all. Unused by Restore.
	Newest int
}

// Snapshot is one of a repository's snapshots.
type Snapshot struct {
	ID       string
	Time     time.Time
	Hostname string
	Tags     []string
	Paths    []string
	// Parent is the snapshot that it was compared with; empty for a first one.
	Parent string
	// TotalFiles and TotalBytes as counted by the backup, and BytesAdded by it; 0 for snapshots made by restic before 0.17.
	TotalFiles, TotalBytes, BytesAdded uint64
}
