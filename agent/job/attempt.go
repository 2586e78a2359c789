package job

import (
	"errors"
	"fmt"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// attempt does the work once.
func (m *Manager) attempt(x *execution) error {
	x.attempts++
	x.watch.attempt(x.attempts)
	x.result.restart()
	j := x.job
	if j.Ref.Kind == wire.JobPrune && j.Repository.Credential != wire.CredentialAdmin {
		return &preparation{wire.ReasonNoAdminCredentials, "Prune was not started: it needs credentials that may delete, and without them would upload data before it fails; " +
			"name them in the Host's spec.repository.adminCredentialsSecretRef."}
	}
	if err := m.consent(j); err != nil {
		return err
	}
	r, err := m.newRunner(x.ctx, j)
	if err != nil {
		return &preparation{wire.ReasonResticMissing, err.Error()}
	}
	repository, err := m.repository(j)
	if err != nil {
		m.endRemoved(x)
		return err
	}
	w := &work{execution: x, manager: m, restic: r, repository: repository}
	switch j.Ref.Kind {
	case wire.JobBackup:
		return w.backup()
	case wire.JobRestore:
		return w.restore()
	case wire.JobInit:
		return w.init()
	case wire.JobForget:
		return w.forget()
	case wire.JobPrune:
		return w.prune()
	case wire.JobCheck:
		return w.check()
	case wire.JobUnlock:
		return w.unlock()
	case wire.JobVerify:
		return w.verify()
	}
	return fmt.Errorf("jobs of kind %s cannot be run", j.Ref.Kind)
}

// work is one attempt with what it needs. It lives as long as the attempt, and with it the opened credential.
type work struct {
	*execution
	manager    *Manager
	restic     runners
	repository restic.Repository
}

// healed does something that needs the repository. When that fails on a lock, stale locks are removed, and it is done again, this time with all patience for
// those that are not stale. It ends there when there was no stale one, and no more patience than at first.
func (w *work) healed(do func(r runner) error) error {
	err := do(w.restic.first)
	if !errors.Is(err, restic.ErrLocked) || w.ctx.Err() != nil {
		return err
	}
	w.watch.note("the repository is locked; looking for stale locks")
	removed, unlockErr := w.restic.patient.Unlock(w.ctx, w.repository, w.watch)
	w.result.LocksRemoved += int64(removed)
	switch {
	case unlockErr != nil:
		w.watch.note("removing stale locks failed: %v", unlockErr)
		return err
	case removed > 0:
		w.watch.note("stale locks removed: %d; trying again", removed)
	default:
		w.watch.note("no lock is stale: another process is at work, or was cut off on another machine less than half an hour ago")
		if w.restic.first == w.restic.patient {
			return err
		}
	}
	return do(w.restic.patient)
}

func (w *work) init() error {
	return w.restic.patient.Init(w.ctx, w.repository, w.watch)
}

func (w *work) backup() error {
	if err := w.manager.hooksBefore(w.execution); err != nil {
		return err
	}
	return w.healed(func(r runner) error {
		w.resticBegan = w.manager.now()
		o := w.backupOptions()
		o.Verbose = w.manager.verbose(w.task)
		done, err := r.Backup(w.ctx, o, w.watch)
		w.result.backup(done)
		return err
	})
}

func (w *work) restore() error {
	target, err := w.manager.restoreTarget(w.job.Ref.JobID, w.job.Restore.Target)
	if err != nil {
		return &preparation{wire.ReasonRefused, fmt.Sprintf("%s: %v", wire.RefusalNotAllowed, err)}
	}
	return w.healed(func(r runner) error {
		done, err := r.Restore(w.ctx, w.restoreOptions(target), w.watch)
		w.result.restore(done, target)
		return err
	})
}

func (w *work) backupOptions() restic.BackupOptions {
	g := w.job.Backup
	o := restic.BackupOptions{
		Repository: w.repository, Tag: g.Tag, Paths: g.Includes, Excludes: g.Excludes, ExcludesIgnoreCase: g.IExcludes, ExcludeIfPresent: g.ExcludeIfPresent,
		ExcludeCaches: g.ExcludeCaches, ExcludeLargerThan: g.ExcludeLargerThan, OneFileSystem: g.OneFileSystem, Limits: w.limits(),
	}
	if len(g.Command) > 0 {
		o.Command, o.FileName, o.CommandEnv = g.Command, g.FileName, w.manager.environment(w.job)
	}
	return o
}

func (w *work) restoreOptions(target string) restic.RestoreOptions {
	r := w.job.Restore
	o := restic.RestoreOptions{
		Repository: w.repository, Snapshot: r.Snapshot, Target: target, Includes: r.Includes, Excludes: r.Excludes,
		Overwrite: restic.Overwrite(r.Overwrite), DryRun: r.DryRun, Verify: r.Verify && !r.DryRun, Limits: w.limits(),
	}
	if r.Snapshot == wire.LatestSnapshot {
		o.Snapshot = restic.Latest
		o.Filter = restic.SnapshotFilter{Host: orElse(r.ResticHost, w.job.ResticHost), Tag: r.Tag}
	}
	return o
}

// limits are those of the moment: they are asked at each start of restic.
func (w *work) limits() restic.Limits { return w.manager.limits(w.job) }

// repository opens the credential of a job. It is not kept beyond the attempt.
func (m *Manager) repository(j *Job) (restic.Repository, error) {
	credential, err := j.Credential()
	if err != nil {
		return restic.Repository{}, &preparation{wire.ReasonNoCredential, fmt.Sprintf("There is no usable credential for the repository on this machine: %v.", err)}
	}
	r := restic.Repository{URL: j.Repository.URL, Environment: credential.Environment, CABundle: []byte(j.Repository.CABundle),
		ClientCertificate: []byte(credential.ClientCertificate), Consent: restic.Consent{Rclone: m.options.AllowRclone}}
	if err := r.Check(); err != nil {
		return r, &preparation{wire.ReasonNoCredential, err.Error()}
	}
	return r, nil
}
