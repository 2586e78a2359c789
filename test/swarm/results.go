package swarm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// record is what a simulated repository holds: enough to report plausible figures. It is guarded by jobs.mu.
type record struct {
	groups []wire.GroupStats
	// newest is the snapshot of each group.
	newest map[string]string
}

// finished is the report of a job's end.
func (r *record) finished(t *task, result Result, a *Agent) *wire.JobFinished {
	now := a.fleet.o.Clock.Now().UTC()
	m := &wire.JobFinished{Job: t.Ref, Outcome: result.Outcome, Reason: result.Reason, Message: wire.Cut(result.Message, wire.MaxString),
		StartedAt: t.started, FinishedAt: now, Offline: t.Offline}
	if m.Outcome == "" {
		m.Outcome = wire.OutcomeSucceeded
	}
	switch m.Outcome {
	case wire.OutcomeSucceeded:
		r.summarise(m, t, now)
	case wire.OutcomeCompletedWithErrors:
		m.ExitCode = 3
		r.summarise(m, t, now)
	case wire.OutcomeCancelled:
		m.ExitCode = -1
	default:
		m.ExitCode = 1
	}
	if m.Backup != nil && len(result.FailedPaths) > 0 {
		m.Backup.Errors = int64(len(result.FailedPaths))
		m.Backup.FailedPaths = slices.Clone(result.FailedPaths[:min(len(result.FailedPaths), wire.MaxListed)])
	}
	return m
}

// summarise fills in what restic would have said.
func (r *record) summarise(m *wire.JobFinished, t *task, now time.Time) {
	switch t.Ref.Kind {
	case wire.JobBackup:
		m.Backup = r.backup(t, now)
	case wire.JobRestore:
		files, bytes := size(t.Agent.name, t.Ref.SourceGroup)
		m.Restore = &wire.RestoreSummary{SnapshotID: snapshotID(t.Ref.JobID), Target: t.Command.Restore.Target, FilesTotal: files, FilesRestored: files,
			BytesTotal: bytes, BytesRestored: bytes, DryRun: t.Command.Restore.DryRun}
	case wire.JobForget:
		m.Forget = r.forget(t.Command.Forget)
	case wire.JobPrune:
		m.Prune = &wire.PruneSummary{BytesFreed: 64 << 20, BytesRemaining: r.restoreBytes()}
	case wire.JobCheck:
		m.Check = &wire.CheckSummary{ReadDataSubset: t.Command.Check.ReadDataSubset}
	case wire.JobVerify:
		m.Verify = r.verify(t.Command.Verify)
	}
	// Counts are of the machine's own repository, as on a real one.
	if t.Ref.TargetHost == "" && len(r.groups) > 0 {
		m.Stats = r.stats(now)
	}
}

// backup adds a snapshot.
func (r *record) backup(t *task, now time.Time) *wire.BackupSummary {
	group := t.Ref.SourceGroup
	files, bytes := size(t.Agent.name, group)
	s := &wire.BackupSummary{SnapshotID: snapshotID(t.Ref.JobID), FilesProcessed: files, BytesProcessed: bytes}
	i := slices.IndexFunc(r.groups, func(g wire.GroupStats) bool { return g.Name == group })
	if i < 0 {
		s.FilesNew, s.BytesAdded = files, bytes
		i = len(r.groups)
		r.groups = append(r.groups, wire.GroupStats{Name: group, Oldest: now})
	} else {
		s.FilesNew, s.FilesChanged, s.BytesAdded = 3, 17, bytes/200
		s.FilesUnmodified = files - s.FilesNew - s.FilesChanged
	}
	s.BytesStored = s.BytesAdded / 2
	g := &r.groups[i]
	g.Snapshots++
	g.RestoreBytes, g.Newest = bytes, now
	if r.newest == nil {
		r.newest = map[string]string{}
	}
	r.newest[group] = s.SnapshotID
	return s
}

// forget keeps the newest snapshot of each group of this machine's own record.
func (r *record) forget(f *wire.Forget) *wire.ForgetSummary {
	s := &wire.ForgetSummary{}
	for _, g := range f.Groups {
		result := wire.ForgetGroupResult{Name: g.Name, Host: g.Host}
		for i := range r.groups {
			if own := &r.groups[i]; own.Name == g.Name && own.Snapshots > 0 {
				result.Kept, result.Removed = 1, own.Snapshots-1
				own.Snapshots, own.Oldest = 1, own.Newest
			}
		}
		s.Kept += result.Kept
		s.Removed += result.Removed
		if len(s.Groups) < wire.MaxForgetResults {
			s.Groups = append(s.Groups, result)
		}
	}
	return s
}

func (r *record) verify(v *wire.Verify) *wire.VerifySummary {
	s := &wire.VerifySummary{}
	for _, g := range v.Groups {
		id := r.newest[g.Name]
		if id == "" {
			s.Groups = append(s.Groups, wire.VerifyGroupResult{Name: g.Name, Error: "there is no snapshot of this group"})
			continue
		}
		s.Groups = append(s.Groups, wire.VerifyGroupResult{Name: g.Name, SnapshotID: id, FilesInSnapshot: int64(v.Sample), FilesVerified: int64(v.Sample)})
		s.FilesVerified += int64(v.Sample)
		s.BytesVerified += int64(v.Sample) << 14
	}
	return s
}

func (r *record) restoreBytes() int64 {
	var sum int64
	for _, g := range r.groups {
		sum += g.RestoreBytes
	}
	return sum
}

func (r *record) stats(now time.Time) *wire.RepositoryStats {
	s := &wire.RepositoryStats{Time: now, ListedTime: now, RestoreBytes: r.restoreBytes(), Groups: slices.Clone(r.groups)}
	for _, g := range r.groups {
		s.Snapshots += g.Snapshots
	}
	return s
}

// snapshotID looks like one of restic, and is that of one job.
func snapshotID(jobID string) string {
	sum := sha256.Sum256([]byte(jobID))
	return hex.EncodeToString(sum[:])
}

// size of a source group on a machine: the same each time.
func size(host, group string) (files, bytes int64) {
	sum := sha256.Sum256([]byte(host + "\n" + group))
	files = 1000 + int64(binary.BigEndian.Uint16(sum[:]))
	return files, files * (4<<10 + int64(sum[2])<<8)
}
