package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/cron"
	"github.com/restic-manager/restic-manager/agent/job"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/agent/vault"
	"github.com/restic-manager/restic-manager/api/wire"
)

// access is one job's way to a credential of the vault: it is opened each time restic needs it.
type access struct {
	vault  *vault.Vault
	logger *slog.Logger
	name   string

	mu   sync.Mutex
	last vault.Fingerprint
}

func (a *Agent) access(name string) *access {
	return &access{vault: a.vault, logger: a.logger, name: name}
}

// credential is that of the moment, which may be a newer one at each attempt.
func (x *access) credential() (wire.Credential, error) {
	c, found := x.vault.Get(x.name)
	if !found {
		return wire.Credential{}, fmt.Errorf("this machine holds no credential %q for the repository; it comes with the next schedule set", x.name)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last = vault.FingerprintOf(c)
	return c, nil
}

// opened hears that the repository opens with what credential returned last: the former one is not needed any more.
func (x *access) opened() {
	if x.name != wire.CredentialRepository {
		return
	}
	x.mu.Lock()
	seen := x.last
	x.mu.Unlock()
	if err := x.vault.Confirm(seen); err != nil {
		x.logger.Warn("the repository's former credential cannot be removed; it is tried again after the next job", "error", err)
	}
}

// own is what the set in force says of the machine's part of its repository.
func (a *Agent) own() (job.Own, bool) {
	set := a.desired.Current()
	if set == nil || set.Tombstone {
		return job.Own{}, false
	}
	access := a.access(set.Repository.Credential)
	return job.Own{ResticHost: set.ResticHost, Repository: set.Repository, Bandwidth: set.Bandwidth, Groups: set.Groups,
		Credential: access.credential, Opened: access.opened}, true
}

// fireStarter is the Agent as fires.Starter.
type fireStarter Agent

// Known implements fires.Starter.
func (s *fireStarter) Known(jobID string) bool { return s.jobs.Known(jobID) }

func fireRef(f cron.Fire) wire.JobRef {
	return wire.JobRef{JobID: f.JobID, Kind: wire.JobBackup, Schedule: f.Schedule, Nominal: f.Nominal, SourceGroup: f.SourceGroup}
}

// StartFire takes group and repository from the set in force now, which may be newer than the one that the fire came from.
func (s *fireStarter) StartFire(f cron.Fire, offline bool) error {
	a := (*Agent)(s)
	set, group := a.group(f.SourceGroup)
	if group == nil {
		a.logger.Info("a scheduled backup is dropped: its source group is no longer in the set", "job", f.JobID, "sourceGroup", f.SourceGroup)
		return nil
	}
	copied, access := *group, a.access(set.Repository.Credential)
	err := a.jobs.Submit(job.Job{Ref: fireRef(f), ResticHost: set.ResticHost, Repository: set.Repository, Bandwidth: set.Bandwidth, Backup: &copied, Hooks: set.Hooks,
		Credential: access.credential, Opened: access.opened, Offline: offline})
	switch {
	case errors.Is(err, job.ErrKnown):
		return nil
	case errors.Is(err, job.ErrRemoved):
		a.logger.Info("a scheduled backup is dropped: the Host of this machine was removed", "job", f.JobID, "sourceGroup", f.SourceGroup)
		return nil
	}
	return err
}

// ReportMissed implements fires.Starter.
func (s *fireStarter) ReportMissed(f cron.Fire, message string) {
	now := s.o.Clock.Now().UTC()
	report := &wire.JobFinished{Job: fireRef(f), Outcome: wire.OutcomeFailed, Reason: wire.ReasonMissed, Message: wire.Cut(message, wire.MaxString), ExitCode: -1, FinishedAt: now}
	s.reports.Add(report)
	s.status.ended(report)
}

// observer is the Agent as the observer of its jobs.
type observer Agent

// Started implements job.Observer. It comes again after each reconnect (events.Connected), which is no news for the log.
func (o *observer) Started(m wire.JobStarted) {
	level := slog.LevelDebug
	if !m.Queued && o.o.Clock.Now().Sub(m.StartedAt) < time.Second {
		level = slog.LevelInfo
	}
	o.logger.Log(context.Background(), level, "a job starts", "job", m.Job.JobID, "kind", m.Job.Kind, "sourceGroup", m.Job.SourceGroup, "targetHost", m.Job.TargetHost, "queued", m.Queued)
	_ = o.session.Send(&m) // without a session it is told at the next connect
}

// Progress implements job.Observer. What cannot be sent is stale by the next second.
func (o *observer) Progress(m wire.JobProgress) { _ = o.session.Send(&m) }

// Finished implements job.Observer.
func (o *observer) Finished(m wire.JobFinished) error {
	if err := o.reports.AddDurable(&m); err != nil {
		return err
	}
	o.status.ended(&m)
	return nil
}

// RepoState implements job.Observer.
func (o *observer) RepoState(m wire.RepoState) { o.repository.report(m) }

// RepoStats implements job.Observer.
func (o *observer) RepoStats(m wire.RepoStats) {
	if set := o.desired.Current(); set == nil || set.Tombstone || m.URL != restic.RedactURL(set.Repository.URL) {
		o.logger.Debug("a listing of a former repository is dropped", "repository", m.URL)
		return
	}
	o.reports.Add(&m)
}
