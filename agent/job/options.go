package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// Own is the machine's own part of its repository.
type Own struct {
	// ResticHost is restic's --host.
	ResticHost string
	Repository wire.Repository
	Bandwidth  wire.Bandwidth
	// Groups tell by their tags which snapshots belong to which group.
	Groups []wire.SourceGroup
	// Credential opens the repository without the right to delete. It is asked when restic is about to start, and what it returns is not kept.
	Credential func() (wire.Credential, error)
	// Opened is as that of a Job.
	Opened func()
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
	// AllowHook and AllowCommand are the machine's consent to hooks and to commands whose output is backed up (agent.yaml, allow.hooks and
	// allow.commands): an error says why a command may not run, and what its owner can do. They are asked right before each run. nil allows nothing.
	AllowHook, AllowCommand func(command []string) error
	// AllowRclone is the consent to rclone (agent.yaml, allow.rclone).
	AllowRclone bool
	// Restic finds restic; it is asked at each job, so that a restic installed later is found. Required.
	Restic func(context.Context) (restic.Binary, error)
	// Host is the machine's own Host, for the environment of hooks and commands.
	Host wire.HostRef
	// Own tells what the set in force says of the machine's own part of its repository; false when there is no set. It is asked for listings and statistics,
	// and nil means that none are made.
	Own func() (Own, bool)
	// StatsPath is where the last statistics are kept. Default: stats.json beside Dir.
	StatsPath string
	// ScratchDir is where restore drills put what they restore; its content is removed. Default: the folder verify beside Dir.
	ScratchDir string
	// DumpHelper is the absolute path of the agent's own program, by which commands are run whose output is backed up. Default: this program.
	DumpHelper string
	// Proxy is handed to restic.
	Proxy map[string]string
	// Observer is required.
	Observer Observer
	// MaxQueued bounds the jobs that wait or run. Default 200.
	MaxQueued int
	// MaxOthers bounds the jobs on other hosts' repositories that run at the same time, on a machine that is their executor: each is a restic that may
	// take hundreds of megabytes. The machine's own work waits for none of them. Default 4.
	MaxOthers int
	// MaxLogs and MaxLogBytes bound the log folder. Defaults 200 and 256 MiB.
	MaxLogs     int
	MaxLogBytes int64
	// UnreachableAfter, RetryLock and Grace are those of restic.Runner; 0 means its defaults.
	UnreachableAfter, RetryLock, Grace time.Duration
	// RetryBackoff is the wait before the second attempt of a job that failed because the repository was locked or could not be reached, before the third, and
	// so on. nil means 1m, 5m, 15m and 30m; one that is empty and not nil means a single attempt.
	RetryBackoff []time.Duration
	// Clock defaults to the machine's, Logger to slog.Default().
	Clock  clock.Clock
	Logger *slog.Logger
}

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
	if o.MaxOthers <= 0 {
		o.MaxOthers = 4
	}
	if o.StatsPath == "" {
		o.StatsPath = filepath.Join(filepath.Dir(filepath.Clean(o.Dir)), "stats.json")
	}
	if o.ScratchDir == "" {
		o.ScratchDir = filepath.Join(filepath.Dir(filepath.Clean(o.Dir)), "verify")
	}
	if o.DumpHelper == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("job: the agent's own program cannot be found: %w", err)
		}
		o.DumpHelper = self
	}
	if o.RetryBackoff == nil {
		o.RetryBackoff = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute}
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
