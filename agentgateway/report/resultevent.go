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
}

// resultEvent tells people how a job ended: one Event per job.
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
	if m.Reason != "" {
		text += fmt.Sprintf(" (%s)", m.Reason)
	}
	if m.Message != "" {
		text += ": " + m.Message
	}
	switch {
	case m.Backup != nil && m.Backup.SnapshotID != "":
		text += fmt.Sprintf("; snapshot %.8s, %s, %s added", m.Backup.SnapshotID, files(m.Backup.FilesProcessed), size(m.Backup.BytesStored))
	case m.Restore != nil && (m.Outcome != wire.OutcomeFailed || m.Restore.FilesTotal > 0):
		text += fmt.Sprintf("; %d of %s, %s into %s", m.Restore.FilesRestored, files(m.Restore.FilesTotal), size(m.Restore.BytesRestored), m.Restore.Target)
	}
	return text
}

func files(n int64) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
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
