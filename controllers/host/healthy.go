package host

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
)

// evidence is what an operation says of a repository.
type evidence string

const (
	noEvidence evidence = ""
	passed     evidence = "Passed"
	bad        evidence = "Bad"
	// inconclusive: it could not be done (no network, cancelled, …), which says nothing of the data.
	inconclusive evidence = "Inconclusive"
)

// judged is the evidence of one operation, and the sentence about it.
type judged struct {
	evidence evidence
	says     string
}

// recorded is what is known of the present repository.
func recorded(host *v1alpha1.Host) *v1alpha1.MaintenanceStatus {
	return &v1alpha1.MaintenanceStatus{Check: maintenance.Recorded(host, maintenance.Check), Verify: maintenance.Recorded(host, maintenance.Verify)}
}

// repositoryHealthy judges by the last check and the last restore drill. One that could not be done leaves standing what was known: a damage that was
// found does not go away because the network did. before is the condition as it stands, nil for none.
func repositoryHealthy(m *v1alpha1.MaintenanceStatus, before *metav1.Condition) verdictOn {
	if m == nil {
		m = &v1alpha1.MaintenanceStatus{}
	}
	was := func(reason string) bool {
		return before != nil && before.Status == metav1.ConditionFalse && before.Reason == reason
	}
	check := judge("check", m.Check, wire.ReasonRepositoryDamaged, was(v1alpha1.ReasonCheckFailed))
	drill := judge("restore drill", m.Verify, wire.ReasonVerificationFailed, was(v1alpha1.ReasonVerificationFailed))
	both := check.says + "; " + drill.says
	switch {
	case check.evidence == bad:
		return verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonCheckFailed, message: both}
	case drill.evidence == bad:
		return verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonVerificationFailed, message: drill.says + "; " + check.says}
	case check.evidence == passed:
		return verdictOn{status: metav1.ConditionTrue, reason: v1alpha1.ReasonCheckPassed, message: both}
	case drill.evidence == passed:
		return verdictOn{status: metav1.ConditionTrue, reason: v1alpha1.ReasonVerificationPassed, message: drill.says + "; " + check.says}
	}
	return verdictOn{status: metav1.ConditionUnknown, reason: v1alpha1.ReasonNotCheckedYet, message: both}
}

// judge reads the status of an operation. damage is the reason by which it tells that the data is bad, wasBad that it had told so before.
func judge(name string, o *v1alpha1.OperationStatus, damage wire.Reason, wasBad bool) judged {
	if o == nil || o.FinishTime == nil || o.Result == "" {
		return judged{noEvidence, fmt.Sprintf("no %s has ended yet", name)}
	}
	switch {
	case o.Result == v1alpha1.ResultSucceeded:
		return judged{passed, fmt.Sprintf("the %s of %s passed", name, stamp(o.FinishTime))}
	case o.Result == v1alpha1.ResultCompletedWithErrors:
		return judged{passed, fmt.Sprintf("the %s of %s found nothing wrong in what it could look at: %s", name, stamp(o.FinishTime), o.Message)}
	case o.Result == v1alpha1.ResultFailed && o.Reason == string(damage):
		return judged{bad, fmt.Sprintf("the %s of %s failed: %s", name, stamp(o.FinishTime), o.Message)}
	}
	undone := fmt.Sprintf("the %s of %s could not be done (%s)", name, stamp(o.FinishTime), reasonOr(o))
	switch {
	case wasBad:
		return judged{bad, undone + ", and the one before it had found damage"}
	case o.LastSuccessTime != nil:
		return judged{passed, fmt.Sprintf("%s, the one of %s had passed", undone, stamp(o.LastSuccessTime))}
	}
	return judged{inconclusive, undone}
}

func reasonOr(o *v1alpha1.OperationStatus) string {
	if o.Reason != "" {
		return o.Reason
	}
	return string(o.Result)
}

func stamp(t *metav1.Time) string { return t.UTC().Format(time.RFC3339) }
