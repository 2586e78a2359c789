package job

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// result is a report in the making.
type result struct {
	wire.JobFinished
	partial string // what restic's package says about a run that completed with errors
	now     func() time.Time
}

func (m *Manager) newResult(r *record) *result {
	return &result{JobFinished: wire.JobFinished{Job: r.Job, ExitCode: -1, StartedAt: r.StartedAt, FinishedAt: m.now(), Offline: r.Offline}, now: m.now}
}

func (r *result) fail(reason wire.Reason, message string) {
	r.Outcome, r.Reason, r.Message = wire.OutcomeFailed, reason, cutText(message)
}

// judge turns an error, or its absence, into outcome, reason and message.
func (r *result) judge(j *Job, ctx context.Context, err error) {
	r.FinishedAt = r.now()
	var prepared *preparation
	var verdict *judged
	var failure *restic.Error
	if errors.As(err, &failure) {
		r.ExitCode = failure.ExitCode
	}
	switch {
	case err == nil && r.partial != "":
		r.Outcome, r.Message = wire.OutcomeCompletedWithErrors, cutText(r.partial)
		if r.Reason == "" {
			r.Reason = wire.ReasonSourceUnreadable
		}
	case err == nil:
		r.Outcome, r.Reason = wire.OutcomeSucceeded, ""
		if j.Ref.Kind == wire.JobInit {
			r.ExitCode = 0
		}
	case errors.Is(context.Cause(ctx), errCancelled):
		r.Outcome, r.Reason, r.Message = wire.OutcomeCancelled, wire.ReasonCancelled, "The job was cancelled; what was uploaded is found again by the next backup."
		if j.Ref.Kind != wire.JobBackup {
			r.Message = "The job was cancelled."
		}
	case errors.Is(context.Cause(ctx), errRemoved):
		r.Outcome, r.Reason, r.Message = wire.OutcomeCancelled, wire.ReasonCancelled, "The Host of this machine was removed before restic could be started."
	case errors.Is(context.Cause(ctx), errStopping):
		r.fail(wire.ReasonAgentRestarted, "The agent was stopped while the job ran; what was uploaded is found again by the next backup.")
		if j.Ref.Kind != wire.JobBackup {
			r.Message = "The agent was stopped while the job ran; start it again."
		}
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		r.fail(wire.ReasonDeadlineExceeded, fmt.Sprintf("The job did not end within its deadline of %v; allow more time (activeDeadlineSeconds), or see in the log what it waited for.", j.Deadline))
	case errors.As(err, &prepared):
		r.fail(prepared.reason, prepared.message)
	case errors.As(err, &verdict):
		r.fail(verdict.reason, verdict.message)
		r.Outcome = verdict.outcome
	case failure != nil:
		r.fail(reasonOf(failure.Kind), messageOf(err))
	default:
		r.fail(wire.ReasonResticFailed, err.Error())
	}
}

// restart forgets what belongs to the last attempt alone.
func (r *result) restart() {
	r.ExitCode, r.Reason, r.Message, r.partial = -1, "", "", ""
	r.Backup, r.Restore, r.Prune, r.Check, r.Verify = nil, nil, nil, nil, nil
}

// judged is an error of the work whose meaning for the job is known already.
type judged struct {
	outcome wire.Outcome
	reason  wire.Reason
	message string
	cause   error
}

func (j *judged) Error() string { return j.message }

func (j *judged) Unwrap() error { return j.cause }

// reasonOf translates the kinds of agent/restic.
func reasonOf(kind restic.Kind) wire.Reason {
	switch kind {
	case restic.KindNoRepository:
		return wire.ReasonNoRepository
	case restic.KindHalfInitialised:
		return wire.ReasonHalfInitialised
	case restic.KindLocked:
		return wire.ReasonLocked
	case restic.KindWrongPassword:
		return wire.ReasonWrongPassword
	case restic.KindUnauthorized:
		return wire.ReasonUnauthorized
	case restic.KindUnreachable:
		return wire.ReasonUnreachable
	case restic.KindTLS:
		return wire.ReasonTLS
	case restic.KindNoSuchSnapshot:
		return wire.ReasonNoSnapshot
	case restic.KindNothingToBackUp:
		return wire.ReasonSourceMissing
	case restic.KindNothingRestored:
		return wire.ReasonNothingRestored
	case restic.KindForgetRefused:
		return wire.ReasonForgetRefused
	case restic.KindDamaged:
		return wire.ReasonRepositoryDamaged
	case restic.KindCommandFailed:
		return wire.ReasonCommandFailed
	case restic.KindCommandEmpty:
		return wire.ReasonCommandEmpty
	case restic.KindNoSpace:
		return wire.ReasonNoSpace
	case restic.KindCancelled:
		return wire.ReasonCancelled
	case restic.KindDeadlineExceeded:
		return wire.ReasonDeadlineExceeded
	case restic.KindNotStarted:
		return wire.ReasonResticMissing
	}
	return wire.ReasonResticFailed
}

func (r *result) backup(b restic.BackupResult) {
	r.ExitCode = b.ExitCode
	r.Backup = &wire.BackupSummary{
		SnapshotID: b.SnapshotID, FilesNew: count(b.FilesNew), FilesChanged: count(b.FilesChanged), FilesUnmodified: count(b.FilesUnmodified),
		FilesProcessed: count(b.TotalFiles), BytesProcessed: count(b.TotalBytes), BytesAdded: count(b.BytesAdded), BytesStored: count(b.BytesStored),
		Errors: int64(b.Missing.Count + b.Unreadable.Count), FailedPaths: paths(b.Missing, b.Unreadable),
	}
	r.partial, r.Reason = "", ""
	if b.CompletedWithErrors {
		r.partial = orElse(b.Message, "The backup lacks some files; the log names them.")
		if r.Reason = wire.ReasonSourceUnreadable; b.Missing.Count > 0 {
			r.Reason = wire.ReasonSourceMissing
		}
	}
}

func (r *result) restore(d restic.RestoreResult, target string) {
	r.ExitCode = d.ExitCode
	r.Restore = &wire.RestoreSummary{
		Target: target, FilesTotal: count(d.FilesTotal), FilesRestored: count(d.FilesRestored), FilesSkipped: count(d.FilesSkipped),
		BytesTotal: count(d.BytesTotal), BytesRestored: count(d.BytesRestored), DryRun: d.DryRun, Errors: int64(d.Failed.Count), FailedPaths: paths(d.Failed),
	}
	if d.SnapshotID != restic.Latest {
		r.Restore.SnapshotID = d.SnapshotID
	}
	r.partial, r.Reason = "", ""
	if d.CompletedWithErrors {
		r.partial, r.Reason = orElse(d.Message, "Some files were not restored; the log names them."), wire.ReasonPartialRestore
	}
}

func paths(failures ...restic.Failures) []string {
	var out []string
	for _, f := range failures {
		for _, x := range f.First {
			if len(out) < wire.MaxListed {
				out = append(out, cutText(orElse(x.Item, x.Message)))
			}
		}
	}
	return out
}

func count(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// cutText keeps a text within what a message may hold.
func cutText(s string) string { return cutTo(wire.MaxString, s) }

func cutTo(limit int, s string) string {
	return wire.Cut(strings.ToValidUTF8(s, "\uFFFD"), limit)
}
