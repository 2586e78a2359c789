package job

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

// Outcome says in a sentence how a job ended.
func Outcome(j *v1alpha1.HostJob, now time.Time) string {
	s := &j.Status
	says := map[v1alpha1.HostJobPhase]string{
		v1alpha1.JobSucceeded: "succeeded", v1alpha1.JobCompletedWithErrors: "completed with errors", v1alpha1.JobFailed: "failed",
		v1alpha1.JobCancelled: "was cancelled", v1alpha1.JobExpired: "expired before it began",
	}[s.Phase]
	if s.StartTime != nil && s.CompletionTime != nil {
		says += " after " + duration.HumanDuration(max(0, s.CompletionTime.Sub(s.StartTime.Time)))
	}
	r := s.Result
	if r == nil {
		if why := waitingFor(j); why != "" && s.Phase != v1alpha1.JobSucceeded {
			says += ": " + why
		}
		return says
	}
	if r.Reason != "" {
		says += " (" + terminal.OneLine(r.Reason) + ")"
	}
	if r.Message != "" && s.Phase != v1alpha1.JobSucceeded {
		says += ": " + terminal.OneLine(r.Message)
	}
	if what := Summary(r); what != "" {
		says += "; " + what
	}
	return says
}

// Summary says what a job did.
func Summary(r *v1alpha1.JobResultStatus) string {
	switch {
	case r.Backup != nil:
		b := r.Backup
		what := fmt.Sprintf("snapshot %s: %s, %s, of which %s new and %s stored", short(b.SnapshotID), terminal.Count(b.FilesProcessed, "file"),
			terminal.Bytes(b.BytesProcessed), terminal.Bytes(b.BytesAdded), terminal.Bytes(b.BytesStored))
		if b.SnapshotID == "" {
			what = "no snapshot was written"
		}
		return what + failed(b.Errors, b.FailedPaths)
	case r.Restore != nil:
		return RestoreSummary(r.Restore)
	case r.Forget != nil:
		what := fmt.Sprintf("%s removed, %d kept", terminal.Count(r.Forget.Removed, "snapshot"), r.Forget.Kept)
		if r.Forget.Refused > 0 {
			what += fmt.Sprintf(", %d refused by the repository (append-only)", r.Forget.Refused)
		}
		return what
	case r.Prune != nil:
		return fmt.Sprintf("%s freed, %s remain", terminal.Bytes(r.Prune.BytesFreed), terminal.Bytes(r.Prune.BytesRemaining))
	case r.Check != nil:
		if r.Check.Errors == 0 {
			return "no errors found"
		}
		return terminal.Count(r.Check.Errors, "error") + " found" + examples(r.Check.Problems)
	case r.Verify != nil:
		return fmt.Sprintf("%s, %s restored and equal", terminal.Count(r.Verify.FilesVerified, "file"), terminal.Bytes(r.Verify.BytesVerified)) +
			failed(r.Verify.FilesFailed, r.Verify.FailedPaths)
	}
	return ""
}

// RestoreSummary says what a restore did, or would do.
func RestoreSummary(r *v1alpha1.RestoreSummary) string {
	verb := "restored"
	if r.DryRun {
		verb = "would be restored"
	}
	what := fmt.Sprintf("%s (%s) of %d %s", terminal.Count(r.FilesRestored, "file"), terminal.Bytes(r.BytesRestored), r.FilesTotal, verb)
	if r.FilesSkipped > 0 {
		what += fmt.Sprintf(", %d skipped", r.FilesSkipped)
	}
	if r.Target != "" {
		what += ", to " + terminal.OneLine(r.Target)
	}
	return what + failed(r.Errors, r.FailedPaths)
}

func failed(n int64, paths []string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %s failed", terminal.Count(n, "file")) + examples(paths)
}

// examples names the first few of a list.
func examples(of []string) string {
	const shown = 3
	if len(of) == 0 {
		return ""
	}
	var some []string
	for _, s := range of[:min(shown, len(of))] {
		some = append(some, terminal.OneLine(s))
	}
	more := ""
	if len(of) > shown {
		more = ", …"
	}
	return " (" + strings.Join(some, ", ") + more + ")"
}

func short(id string) string { return id[:min(8, len(id))] }
