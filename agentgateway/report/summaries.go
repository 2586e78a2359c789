package report

import (
	"slices"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// Bounds of a HostJob's result, in bytes: of a path, problem or hook that is listed, and of the error of each of up to 100 groups.
const (
	maxListedText = 1024
	maxGroupError = 512
)

// resultOf is how a job ended. Of the summaries that the machine sent only that of the job's kind counts.
func resultOf(kind v1alpha1.HostJobKind, m *wire.JobFinished, received time.Time) *v1alpha1.JobResultStatus {
	r := &v1alpha1.JobResultStatus{
		Reason: string(m.Reason), Message: cut(m.Message, wire.MaxString), ExitCode: int32(min(max(m.ExitCode, -1), 1<<15)),
		LocksRemoved: m.LocksRemoved, HookFailures: cutAll(m.HookFailures, wire.MaxListed, maxListedText),
	}
	if m.Attempts > 1 {
		r.Attempts = m.Attempts
	}
	switch kind {
	case v1alpha1.HostJobBackup:
		r.Backup = backupSummary(m.Backup, wire.MaxListed, maxListedText)
	case v1alpha1.HostJobRestore:
		r.Restore = restoreSummary(m.Restore)
	case v1alpha1.HostJobForget:
		r.Forget = forgetSummary(m.Forget)
	case v1alpha1.HostJobPrune:
		r.Prune = pruneSummary(m.Prune)
	case v1alpha1.HostJobCheck:
		r.Check = checkSummary(m.Check)
	case v1alpha1.HostJobVerify:
		r.Verify = verifySummary(m.Verify, received)
	}
	return r
}

func backupSummary(b *wire.BackupSummary, listed, pathLimit int) *v1alpha1.BackupSummary {
	if b == nil {
		return nil
	}
	return &v1alpha1.BackupSummary{
		SnapshotID: b.SnapshotID, FilesNew: b.FilesNew, FilesChanged: b.FilesChanged, FilesUnmodified: b.FilesUnmodified,
		FilesProcessed: b.FilesProcessed, BytesProcessed: b.BytesProcessed, BytesAdded: b.BytesAdded, BytesStored: b.BytesStored,
		Errors: b.Errors, FailedPaths: cutAll(b.FailedPaths, listed, pathLimit),
	}
}

func restoreSummary(r *wire.RestoreSummary) *v1alpha1.RestoreSummary {
	if r == nil {
		return nil
	}
	return &v1alpha1.RestoreSummary{
		SnapshotID: r.SnapshotID, Target: cut(r.Target, wire.MaxString), FilesTotal: r.FilesTotal, FilesRestored: r.FilesRestored,
		FilesSkipped: r.FilesSkipped, BytesTotal: r.BytesTotal, BytesRestored: r.BytesRestored, DryRun: r.DryRun, Errors: r.Errors,
		FailedPaths: cutAll(r.FailedPaths, wire.MaxListed, maxListedText),
	}
}

func forgetSummary(f *wire.ForgetSummary) *v1alpha1.ForgetSummary {
	if f == nil {
		return nil
	}
	out := &v1alpha1.ForgetSummary{Kept: f.Kept, Removed: f.Removed, Refused: f.Refused}
	for _, g := range f.Groups[:min(len(f.Groups), wire.MaxForgetResults)] {
		out.Groups = append(out.Groups, v1alpha1.ForgetGroupResult{
			Name: g.Name, Host: g.Host, Kept: g.Kept, Removed: g.Removed, Refused: g.Refused, Error: cut(g.Error, maxGroupError),
		})
	}
	return out
}

func pruneSummary(p *wire.PruneSummary) *v1alpha1.PruneSummary {
	if p == nil {
		return nil
	}
	return &v1alpha1.PruneSummary{BytesFreed: p.BytesFreed, BytesRemaining: p.BytesRemaining, BytesUnused: p.BytesUnused}
}

func checkSummary(c *wire.CheckSummary) *v1alpha1.CheckSummary {
	if c == nil {
		return nil
	}
	return &v1alpha1.CheckSummary{
		Errors: c.Errors, ReadDataSubset: c.ReadDataSubset, Problems: cutAll(c.Problems, wire.MaxListed, maxListedText),
		SuggestRepairIndex: c.SuggestRepairIndex, SuggestPrune: c.SuggestPrune,
	}
}

func verifySummary(v *wire.VerifySummary, received time.Time) *v1alpha1.VerifySummary {
	if v == nil {
		return nil
	}
	out := &v1alpha1.VerifySummary{
		FilesVerified: v.FilesVerified, BytesVerified: v.BytesVerified, FilesMatchingLive: v.FilesMatchingLive, FilesFailed: v.FilesFailed,
		FailedPaths: cutAll(v.FailedPaths, wire.MaxListed, maxListedText),
	}
	for _, g := range v.Groups {
		if len(out.Groups) >= maxResults {
			break
		}
		// The list is a map by name for the API server, which takes no name twice.
		if slices.ContainsFunc(out.Groups, func(o v1alpha1.VerifyGroupResult) bool { return o.Name == g.Name }) {
			continue
		}
		out.Groups = append(out.Groups, v1alpha1.VerifyGroupResult{
			Name: g.Name, SnapshotID: g.SnapshotID, SnapshotTime: clamp(g.SnapshotTime, received), FilesInSnapshot: g.FilesInSnapshot,
			FilesVerified: g.FilesVerified, FilesFailed: g.FilesFailed, Error: cut(g.Error, maxGroupError),
		})
	}
	return out
}
