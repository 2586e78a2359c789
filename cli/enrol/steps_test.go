package enrol

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

var now = time.Date(2026, 11, 28, 14, 30, 0, 0, time.UTC)

func TestWhatTheNextStepWaitsFor(t *testing.T) {
	condition := func(kind, status, reason, message string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionStatus(status), Reason: reason, Message: message}
	}
	done := []metav1.Condition{
		condition(v1alpha1.ConditionEnrolled, "True", "IdentityPinned", "pinned"), condition(v1alpha1.ConditionConnected, "True", "SessionEstablished", "connected"),
		condition(v1alpha1.ConditionScheduleSetApplied, "True", "Applied", "applied"), condition(v1alpha1.ConditionRepositoryReady, "True", "RepositoryOpened", "opened"),
	}
	soon := metav1.NewTime(now.Add(5 * time.Minute))
	ago := metav1.NewTime(now.Add(-time.Minute))
	for _, tt := range []struct {
		name   string
		status v1alpha1.HostStatus
		at     int
		says   string
	}{
		{"nothing was done", v1alpha1.HostStatus{}, 0, "paste the line on the machine"},
		{"the line was pasted", v1alpha1.HostStatus{Conditions: done[:1]}, 1, "start the agent on the machine: sudo systemctl enable --now restic-manager-agent"},
		{"the agent is there", v1alpha1.HostStatus{Conditions: done[:2]}, 2, "the machine takes its schedule set"},
		{"the machine refuses its set", v1alpha1.HostStatus{Conditions: append(done[:2:2], condition(v1alpha1.ConditionScheduleSetApplied, "False", "RefusedByAgent", "no"))}, 2, "RefusedByAgent: no"},
		{"the repository does not open", v1alpha1.HostStatus{Conditions: append(done[:3:3], condition(v1alpha1.ConditionRepositoryReady, "False", "Unauthorized", "401"))}, 3, "Unauthorized: 401"},
		{"the first run comes", v1alpha1.HostStatus{Conditions: done, NextRunTime: &soon}, 4, "the next run begins in 5m"},
		{"nothing is scheduled", v1alpha1.HostStatus{Conditions: done}, 4, "nothing is scheduled for this host yet"},
		{"the first backup failed", v1alpha1.HostStatus{Conditions: done, SourceGroups: []v1alpha1.SourceGroupResult{{Name: "etc", Result: v1alpha1.ResultFailed, Reason: "SourceMissing", Message: "/etc"}}}, 4,
			"the backup of etc failed (SourceMissing): /etc"},
		{"all is done", v1alpha1.HostStatus{Conditions: done, LastSuccessTime: &ago}, -1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			steps := Steps(&v1alpha1.Host{Status: tt.status}, now)
			at := current(steps)
			if at != tt.at || at >= 0 && steps[at].Says != tt.says {
				t.Errorf("it is at step %d of %+v, expected %d, %q", at, steps, tt.at, tt.says)
			}
		})
	}
}

func TestTheLineForARestServer(t *testing.T) {
	secret := map[string][]byte{"RESTIC_REST_USERNAME": []byte("web-1"), "RESTIC_REST_PASSWORD": []byte("password")}
	if got, want := Htpasswd(secret), "web-1:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="; got != want {
		t.Errorf("got %q, expected %q", got, want)
	}
	if got := Htpasswd(map[string][]byte{"AWS_ACCESS_KEY_ID": []byte("x")}); got != "" {
		t.Errorf("for another storage there is %q, expected nothing", got)
	}
}
