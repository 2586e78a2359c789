package report

import (
	"fmt"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// reasons of the Events about finished jobs.
var reasons = map[wire.JobKind]map[wire.Outcome]string{
	wire.JobBackup: {
		wire.OutcomeSucceeded: v1alpha1.EventBackupSucceeded, wire.OutcomeCompletedWithErrors: v1alpha1.EventBackupIncomplete,
		wire.OutcomeFailed: v1alpha1.EventBackupFailed, wire.OutcomeCancelled: v1alpha1.EventBackupCancelled,
	},
	wire.JobRestore: {
		wire.OutcomeSucceeded: v1alpha1.EventRestoreSucceeded, wire.OutcomeCompletedWithErrors: v1alpha1.EventRestoreIncomplete,
		wire.OutcomeFailed: v1alpha1.EventRestoreFailed, wire.OutcomeCancelled: v1alpha1.EventRestoreCancelled,
	},
	wire.JobInit: {
		wire.OutcomeSucceeded: v1alpha1.EventInitSucceeded, wire.OutcomeCompletedWithErrors: v1alpha1.EventInitFailed,
		wire.OutcomeFailed: v1alpha1.EventInitFailed, wire.OutcomeCancelled: v1alpha1.EventInitFailed,
	},
	wire.JobForget: maintenance(v1alpha1.EventForgetSucceeded, v1alpha1.EventForgetFailed),
	wire.JobPrune:  maintenance(v1alpha1.EventPruneSucceeded, v1alpha1.EventPruneFailed),
	wire.JobCheck:  maintenance(v1alpha1.EventCheckSucceeded, v1alpha1.EventCheckFailed),
	wire.JobUnlock: maintenance(v1alpha1.EventUnlockSucceeded, v1alpha1.EventUnlockFailed),
	wire.JobVerify: maintenance(v1alpha1.EventVerifySucceeded, v1alpha1.EventVerifyFailed),
}

// maintenance: what is done in part only has to be looked at like what failed.
func maintenance(succeeded, failed string) map[wire.Outcome]string {
	return map[wire.Outcome]string{
		wire.OutcomeSucceeded: succeeded, wire.OutcomeCompletedWithErrors: failed, wire.OutcomeFailed: failed,
		wire.OutcomeCancelled: v1alpha1.EventMaintenanceCancelled,
	}
}

// resultEvents are what people are told of a finished job: how it ended, once per job; and what it met of locks, which is rare.
func resultEvents(h *v1alpha1.Host, m *wire.JobFinished) []event {
	var events []event
	result, known := resultEvent(h, m)
	if known {
		events = append(events, result)
	}
	if m.LocksRemoved > 0 {
		e := result
		e.host, e.hostUID = wire.HostRef{Namespace: h.Namespace, Name: h.Name}, string(h.UID)
		e.kind, e.reason, e.action, e.id = corev1.EventTypeNormal, v1alpha1.EventStaleLocksRemoved, "Unlock", m.Job.JobID
		e.note = fmt.Sprintf("The machine removed %s of dead processes from the repository%s on the way of a %s.", count(m.LocksRemoved, "stale lock"),
			ofTarget(&m.Job), m.Job.Kind)
		events = append(events, e)
	}
	if lockedOut(m) && !elsewhere(h, &m.Job) && !lockKnown(h, "") {
		events = append(events, lockEvent(h, m.Report, "", m.Message))
	}
	return events
}

func ofTarget(job *wire.JobRef) string {
	if job.TargetHost == "" {
		return ""
	}
	return " of Host " + job.TargetHost
}

// resultEvent tells people how a job ended.
func resultEvent(h *v1alpha1.Host, m *wire.JobFinished) (event, bool) {
	reason := reasons[m.Job.Kind][m.Outcome]
	if reason == "" {
		return event{}, false
	}
	e := event{host: wire.HostRef{Namespace: h.Namespace, Name: h.Name}, hostUID: string(h.UID), kind: corev1.EventTypeNormal, reason: reason,
		action: string(m.Job.Kind), id: m.Job.JobID, note: note(m)}
	if m.Outcome == wire.OutcomeFailed || m.Outcome == wire.OutcomeCompletedWithErrors {
		e.kind = corev1.EventTypeWarning
	}
	if validName(m.Job.HostJob) {
		e.job = &v1alpha1.HostJob{}
		e.job.Namespace, e.job.Name, e.job.UID = h.Namespace, m.Job.HostJob, types.UID(m.Job.HostJobUID)
	}
	return e, true
}

func note(m *wire.JobFinished) string {
	text := string(m.Job.Kind)
	if m.Job.SourceGroup != "" {
		text += " of " + m.Job.SourceGroup
	}
	if m.Job.TargetHost != "" {
		text += " on the repository" + ofTarget(&m.Job)
	}
	if m.Job.Schedule != "" {
		text += fmt.Sprintf(" (Schedule %s, %s)", m.Job.Schedule, m.Job.Nominal)
	}
	if m.Job.HostJob != "" {
		text += fmt.Sprintf(" (HostJob %s)", m.Job.HostJob)
	}
	switch m.Outcome {
	case wire.OutcomeSucceeded:
		text += " succeeded"
	case wire.OutcomeCompletedWithErrors:
		text += " completed with errors"
	case wire.OutcomeFailed:
		text += " failed"
	case wire.OutcomeCancelled:
		text += " was cancelled"
	}
	if m.Attempts > 1 {
		text += fmt.Sprintf(" after %d attempts", m.Attempts)
	}
	if m.Reason != "" {
		text += fmt.Sprintf(" (%s)", m.Reason)
	}
	if m.Message != "" {
		text += ": " + m.Message
	}
	return text + figures(m)
}

// figures are the summary of the job's kind in a few words.
func figures(m *wire.JobFinished) string {
	switch kind := m.Job.Kind; {
	case kind == wire.JobBackup && m.Backup != nil && m.Backup.SnapshotID != "":
		return fmt.Sprintf("; snapshot %.8s, %s, %s added", m.Backup.SnapshotID, count(m.Backup.FilesProcessed, "file"), size(m.Backup.BytesStored))
	case kind == wire.JobRestore && m.Restore != nil && (m.Outcome != wire.OutcomeFailed || m.Restore.FilesTotal > 0):
		return fmt.Sprintf("; %d of %s, %s into %s", m.Restore.FilesRestored, count(m.Restore.FilesTotal, "file"), size(m.Restore.BytesRestored), m.Restore.Target)
	case kind == wire.JobForget && m.Forget != nil:
		text := fmt.Sprintf("; %s removed, %d kept", count(m.Forget.Removed, "snapshot"), m.Forget.Kept)
		if m.Forget.Refused > 0 {
			text += fmt.Sprintf(", %d not let go", m.Forget.Refused)
		}
		return text
	case kind == wire.JobPrune && m.Prune != nil && m.Outcome != wire.OutcomeFailed:
		return fmt.Sprintf("; %s freed, %s remain", size(m.Prune.BytesFreed), size(m.Prune.BytesRemaining))
	case kind == wire.JobCheck && m.Check != nil:
		text := "; " + count(m.Check.Errors, "error")
		if m.Check.ReadDataSubset != "" {
			text += ", data read: " + m.Check.ReadDataSubset
		}
		return text
	case kind == wire.JobVerify && m.Verify != nil:
		text := fmt.Sprintf("; %s restored and compared, %d of them with the machine's own", count(m.Verify.FilesVerified, "file"), m.Verify.FilesMatchingLive)
		if m.Verify.FilesFailed > 0 {
			text += fmt.Sprintf(", %d failed", m.Verify.FilesFailed)
		}
		return text
	}
	return ""
}

// count is a number of things, in English.
func count(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func size(bytes int64) string {
	n := float64(bytes)
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if n < 1024 {
			return fmt.Sprintf("%.4g %s", n, unit)
		}
		n /= 1024
	}
	return fmt.Sprintf("%.4g TiB", n)
}
