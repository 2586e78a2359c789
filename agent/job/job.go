package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// Job is one piece of work.
type Job struct {
	Ref wire.JobRef
	// ResticHost is restic's --host.
	ResticHost string
	Repository wire.Repository
	// Bandwidth caps this job; a group's own caps go first.
	Bandwidth wire.Bandwidth
	// Backup is set for kind Backup, Restore for kind Restore.
	Backup  *wire.SourceGroup
	Restore *wire.Restore
	// Credential is asked when restic is about to start, and not kept. Required.
	Credential func() (wire.Credential, error)
	// Deadline bounds the run; 0 means no bound.
	Deadline time.Duration
	// NotAfter is when the job may no longer start; zero means any time.
	NotAfter time.Time
	// Offline says that the job was started without a verdict.
	Offline bool
}

// Observer hears what becomes of jobs. Its methods are called from several goroutines.
type Observer interface {
	// Started comes when a job is queued behind another one, when it begins, and again for each duplicate.
	Started(wire.JobStarted)
	// Progress comes at most once a second for each job.
	Progress(wire.JobProgress)
	// Finished returns nil once the report is kept durably; an error has it delivered again later, after a restart too.
	Finished(wire.JobFinished) error
	// RepoState comes when the state of a repository changed.
	RepoState(wire.RepoState)
}

// Options of a Manager.
type Options struct {
	// Dir is the ledger's folder, LogDir that of the logs, RestoreDir the default parent of restores; CacheDir and TempDir are restic's. All are absolute,
	// and made when missing.
	Dir, LogDir, CacheDir, TempDir, RestoreDir string
	// AllowRestore are folders below which restores may write, beside RestoreDir (agent.yaml, allow.restore).
	AllowRestore []string
	// Protected folders are never restored into or over, whatever is allowed: the agent's own state. ConfigDirs likewise: they hold agent.yaml, by which
	// the owner says what is allowed.
	Protected, ConfigDirs []string
	// AllowRclone is the consent to rclone (agent.yaml, allow.rclone).
	AllowRclone bool
	// Restic finds restic; it is asked at each job, so that a restic installed later is found. Required.
	Restic func(context.Context) (restic.Binary, error)
	// Proxy is handed to restic.
	Proxy map[string]string
	// Observer is required.
	Observer Observer
	// MaxQueued bounds the jobs that wait or run. Default 200.
	MaxQueued int
	// MaxLogs and MaxLogBytes bound the log folder. Defaults 200 and 256 MiB.
	MaxLogs     int
	MaxLogBytes int64
	// UnreachableAfter, RetryLock and Grace are those of restic.Runner; 0 means its defaults.
	UnreachableAfter, RetryLock, Grace time.Duration
	// Clock defaults to the machine's, Logger to slog.Default().
	Clock  clock.Clock
	Logger *slog.Logger
}

// Errors of Submit and Cancel.
var (
	// ErrKnown: the id was accepted before; its present state was told to the Observer.
	ErrKnown = errors.New("the job was accepted before")
	// ErrQueueFull: too many jobs wait.
	ErrQueueFull = errors.New("too many jobs wait on this machine; try again when some have ended")
	// ErrUnknown: there is no such job.
	ErrUnknown = errors.New("this machine knows no such job")
	// ErrClosed: the agent is stopping.
	ErrClosed = errors.New("the agent is stopping")
)

func (o *Options) check() error {
	for name, path := range map[string]string{"Dir": o.Dir, "LogDir": o.LogDir, "CacheDir": o.CacheDir, "TempDir": o.TempDir, "RestoreDir": o.RestoreDir} {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("job: %s %q is not an absolute path", name, path)
		}
	}
	if o.Observer == nil || o.Restic == nil {
		return errors.New("job: Observer and Restic are required")
	}
	if o.MaxQueued <= 0 {
		o.MaxQueued = 200
	}
	if o.MaxLogs <= 0 {
		o.MaxLogs = 200
	}
	if o.MaxLogBytes <= 0 {
		o.MaxLogBytes = 256 << 20
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

func (j *Job) validate() error {
	if err := j.Ref.Validate(); err != nil {
		return fmt.Errorf("job: %w", err)
	}
	switch {
	case j.Credential == nil:
		return errors.New("job: Credential is missing")
	case j.Repository.URL == "":
		return errors.New("job: repository.url is missing")
	case (j.Ref.Kind == wire.JobBackup) != (j.Backup != nil):
		return errors.New("job: backup belongs to kind Backup, and only there")
	case (j.Ref.Kind == wire.JobRestore) != (j.Restore != nil):
		return errors.New("job: restore belongs to kind Restore, and only there")
	}
	switch j.Ref.Kind {
	case wire.JobBackup, wire.JobRestore, wire.JobInit:
		return nil
	}
	return fmt.Errorf("job: kind %q is not known to this version of the agent", j.Ref.Kind)
}

// runner is what a job needs of restic.Runner.
type runner interface {
	Probe(context.Context, restic.Repository, restic.Observer) (restic.State, error)
	Init(context.Context, restic.Repository, restic.Observer) error
	Unlock(context.Context, restic.Repository, restic.Observer) error
	Backup(context.Context, restic.BackupOptions, restic.Observer) (restic.BackupResult, error)
	Restore(context.Context, restic.RestoreOptions, restic.Observer) (restic.RestoreResult, error)
}
