package host

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func TestRepositoryHealthy(t *testing.T) {
	ended := func(result v1alpha1.JobResult, reason string) *v1alpha1.OperationStatus {
		return &v1alpha1.OperationStatus{Result: result, Reason: reason, Message: "m", FinishTime: at(0)}
	}
	once := func(o *v1alpha1.OperationStatus) *v1alpha1.OperationStatus {
		o.LastSuccessTime = at(-24 * time.Hour)
		return o
	}
	good, damaged := ended("Succeeded", ""), ended("Failed", "RepositoryDamaged")
	differs, offline := ended("Failed", "VerificationFailed"), ended("Failed", "Unreachable")
	bad := func(reason string) *metav1.Condition {
		return &metav1.Condition{Status: metav1.ConditionFalse, Reason: reason}
	}
	tests := []struct {
		name          string
		check, verify *v1alpha1.OperationStatus
		before        *metav1.Condition
		want, says    string
	}{
		{"nothing ran yet", nil, nil, nil, "Unknown NotCheckedYet", "no check has ended yet; no restore drill has ended yet"},
		{"one that is only due", &v1alpha1.OperationStatus{NextScheduleTime: at(0)}, nil, nil, "Unknown NotCheckedYet", ""},
		{"a check passed", good, nil, nil, "True CheckPassed", "no restore drill has ended yet"},
		{"a drill passed, and nothing was checked", nil, good, nil, "True VerificationPassed", "no check has ended yet"},
		{"both passed", good, good, nil, "True CheckPassed", "passed; the restore drill of"},
		{"the check found damage", damaged, good, nil, "False CheckFailed", "failed: m; the restore drill of"},
		{"the drill found a difference", good, differs, nil, "False VerificationFailed", "failed: m; the check of"},
		{"both are bad: the check is told first", damaged, differs, nil, "False CheckFailed", ""},
		{"a check without network says nothing of the data", offline, nil, nil, "Unknown NotCheckedYet", "could not be done (Unreachable)"},
		{"an earlier success still counts then", once(ended("Failed", "Unreachable")), nil, nil, "True CheckPassed", "had passed"},
		{"and so does earlier damage", once(ended("Failed", "Unreachable")), nil, bad("CheckFailed"), "False CheckFailed", "the one before it had found damage"},
		{"damage that a drill found is not the check's", once(ended("Cancelled", "")), good, bad("VerificationFailed"), "True CheckPassed", "could not be done (Cancelled)"},
		{"damage goes when a check passes", good, nil, bad("CheckFailed"), "True CheckPassed", ""},
		{"a drill that left out what it could not look at", good, ended("CompletedWithErrors", "NoSnapshot"), nil, "True CheckPassed", "found nothing wrong in what it could look at: m"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := repositoryHealthy(&v1alpha1.MaintenanceStatus{Check: tt.check, Verify: tt.verify}, tt.before)
			if short(got) != tt.want || !strings.Contains(got.message, tt.says) {
				t.Errorf("repositoryHealthy is %q, %q; want %q, %q", short(got), got.message, tt.want, tt.says)
			}
		})
	}
	host := newHost("web-1")
	host.Status.Maintenance = &v1alpha1.MaintenanceStatus{URL: host.Spec.Repository.URL, Check: good}
	if got := short(repositoryHealthy(recorded(host), nil)); got != "True CheckPassed" {
		t.Errorf("by the record of its repository it is %q", got)
	}
	host.Spec.Repository.URL += "-another"
	if got := short(repositoryHealthy(recorded(host), bad("CheckFailed"))); got != "Unknown NotCheckedYet" {
		t.Errorf("by the record of the repository that it had before it is %q", got)
	}
	if got := short(repositoryHealthy(nil, nil)); got != "Unknown NotCheckedYet" {
		t.Errorf("without maintenance it is %q", got)
	}
}
