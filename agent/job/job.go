package job

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/restic-manager/restic-manager/agent/drill"
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
	// TargetHost is the Host whose repository the work is on; empty means the machine's own. Ref.TargetHost is made equal to it.
	TargetHost string
	// Exactly the one that Ref.Kind names is set; Init and Unlock have none.
	Backup  *wire.SourceGroup
	Restore *wire.Restore
	Forget  *wire.Forget
	Prune   *wire.Prune
	Check   *wire.Check
	Verify  *wire.Verify
	// Hooks of the host, for kind Backup; those of the group are in Backup.
	Hooks *wire.Hooks
	// Credential is asked at each attempt when restic is about to start, and what it returns is not kept. Required.
	Credential func() (wire.Credential, error)
	// Opened, if set, is called when the repository was seen to open with what Credential returned last.
	Opened func()
	// Deadline bounds all attempts and the waits between them; 0 means no bound.
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
	// Progress comes at most once a second for each job, and when a job begins to wait for its next attempt.
	Progress(wire.JobProgress)
	// Finished returns nil once the report is kept durably; an error has it delivered again later, after a restart too.
	Finished(wire.JobFinished) error
	// RepoState comes when the state of a repository changed.
	RepoState(wire.RepoState)
	// RepoStats comes after a listing of the machine's own snapshots.
	RepoStats(wire.RepoStats)
}

// Errors of Submit and Cancel.
var (
	// ErrKnown: the id was accepted before; its present state was told to the Observer.
	ErrKnown = errors.New("the job was accepted before")
	// ErrQueueFull: too many jobs wait.
	ErrQueueFull = errors.New("too many jobs wait on this machine; try again when some have ended")
	// ErrUnknown: there is no such job.
	ErrUnknown = errors.New("this machine knows no such job")
	// ErrRemoved: the Host of this machine was removed.
	ErrRemoved = errors.New("the Host of this machine was removed; it takes no more work")
	// ErrClosed: the agent is stopping.
	ErrClosed = errors.New("the agent is stopping")
)

func (j *Job) validate() error {
	j.Ref.TargetHost = orElse(j.TargetHost, j.Ref.TargetHost)
	j.TargetHost = j.Ref.TargetHost
	if err := j.Ref.Validate(); err != nil {
		return fmt.Errorf("job: %w", err)
	}
	switch {
	case j.Credential == nil:
		return errors.New("job: Credential is missing")
	case j.Repository.URL == "":
		return errors.New("job: repository.url is missing")
	case !slices.Contains(wire.JobKinds(), j.Ref.Kind):
		return fmt.Errorf("job: kind %q is not known to this version of the agent", j.Ref.Kind)
	case j.Hooks != nil && j.Ref.Kind != wire.JobBackup:
		return errors.New("job: hooks belong to kind Backup, and only there")
	}
	for _, part := range []struct {
		kind  wire.JobKind
		is    bool
		valid func() error
	}{
		{wire.JobBackup, j.Backup != nil, nil},
		{wire.JobRestore, j.Restore != nil, nil},
		// Forget is refused here too when a policy is empty: it would remove everything.
		{wire.JobForget, j.Forget != nil, j.Forget.Validate},
		{wire.JobPrune, j.Prune != nil, j.Prune.Validate},
		{wire.JobCheck, j.Check != nil, j.Check.Validate},
		{wire.JobVerify, j.Verify != nil, j.Verify.Validate},
	} {
		name := strings.ToLower(string(part.kind))
		if part.is != (j.Ref.Kind == part.kind) {
			return fmt.Errorf("job: %s belongs to kind %s, and only there", name, part.kind)
		}
		if part.is && part.valid != nil {
			if err := part.valid(); err != nil {
				return fmt.Errorf("job: %s: %w", name, err)
			}
		}
	}
	return nil
}

// queueKey names the repository, whichever way the job takes to it.
func queueKey(r wire.Repository) string {
	return strings.TrimRight(orElse(r.SameAs, r.URL), "/")
}

func (j *Job) opened() {
	if j.Opened != nil {
		j.Opened()
	}
}

// runner is what jobs need of restic.Runner.
type runner interface {
	drill.Restic
	Probe(context.Context, restic.Repository, restic.Observer) (restic.State, error)
	Init(context.Context, restic.Repository, restic.Observer) error
	Unlock(context.Context, restic.Repository, restic.Observer) (int, error)
	Backup(context.Context, restic.BackupOptions, restic.Observer) (restic.BackupResult, error)
	Forget(context.Context, restic.ForgetOptions, restic.Observer) (restic.ForgetResult, error)
	Prune(context.Context, restic.PruneOptions, restic.Observer) (restic.PruneResult, error)
	Check(context.Context, restic.CheckOptions, restic.Observer) (restic.CheckResult, error)
	Stats(context.Context, restic.Repository, restic.Limits, restic.Observer) (uint64, error)
}

// runners are what one attempt works with.
type runners struct {
	// first waits for a lock for a moment only, so that a stale one is noticed soon; patient as long as it may. They are the same when that is no longer.
	first, patient runner
}

// firstPatience is how long the first try of an attempt waits for a lock.
const firstPatience = 10 * time.Second

func (m *Manager) resticRunner(ctx context.Context, j *Job) (runners, error) {
	binary, err := m.options.Restic(ctx)
	if err != nil {
		return runners{}, err
	}
	patient := &restic.Runner{Binary: binary, Hostname: j.ResticHost, CacheDir: m.options.CacheDir, TempDir: m.options.TempDir, Proxy: m.options.Proxy,
		RetryLock: m.options.RetryLock, UnreachableAfter: m.options.UnreachableAfter, Grace: m.options.Grace, Limits: m.limits(j), DumpHelper: m.options.DumpHelper,
		Logger: m.options.Logger.With("job", j.Ref.JobID)}
	first := patient
	if patient.RetryLock == 0 || patient.RetryLock > firstPatience {
		first = new(*patient)
		first.RetryLock = firstPatience
	}
	return runners{first, patient}, nil
}
