package gitops

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// A sync waits for what people wrote, never for a machine or for somebody who is to enrol one.
func TestHosts(t *testing.T) {
	o := startOperator(t)
	host := newHost("web-1")
	expectStates(t, o, []state{
		{
			name:  "one that waits for its machine to enrol is current",
			given: func(s *space) { s.create(newHost("web-1")) },
			about: host, ready: "True Accepted", also: told{"Enrolled": "False WaitingForMachine", "Connected": "False NeverConnected"}, want: status.CurrentStatus,
		},
		{
			name:  "one that was enrolled is current",
			given: func(s *space) { s.create(newHost("web-1")); s.enrol("web-1") },
			about: host, ready: "True Published", also: told{"Enrolled": "True IdentityPinned"}, want: status.CurrentStatus,
		},
		{
			name:  "one whose machine has not taken its set yet is current",
			given: func(s *space) { s.create(newHost("web-1", enrolled(s.t))) },
			about: host, ready: "True Published", also: told{"ScheduleSetApplied": "False Pending"}, want: status.CurrentStatus,
		},
		{
			name: "one whose machine works is current",
			given: func(s *space) {
				s.create(newHost("web-1", enrolled(s.t)), newGroup("etc"), newSchedule("nightly"))
				s.connect("web-1")
				s.repository("web-1", "Ready", "")
			},
			about: host, ready: "True Published", also: told{"Connected": "True SessionEstablished", "RepositoryReady": "True RepositoryOpened"}, want: status.CurrentStatus,
		},
		{
			name: "one whose machine is gone is current",
			given: func(s *space) {
				s.create(newHost("web-1", enrolled(s.t)))
				s.connect("web-1")
				s.disconnect("web-1")
			},
			about: host, ready: "True Published", also: told{"Connected": "False Disconnected"}, want: status.CurrentStatus,
		},
		{
			name: "one whose machine has a wrong repository password is current",
			given: func(s *space) {
				s.create(newHost("web-1", enrolled(s.t)))
				s.connect("web-1")
				s.repository("web-1", "Failed", "WrongPassword")
			},
			about: host, ready: "True Published", also: told{"RepositoryReady": "False WrongPassword"}, want: status.CurrentStatus,
		},
		{
			name: "one whose machine refuses its set is current",
			given: func(s *space) {
				s.create(newHost("web-1", enrolled(s.t)))
				report(s, "web-1", &v1alpha1.ScheduleSet{}, func(set *v1alpha1.ScheduleSet) {
					set.Status.Refusal = &v1alpha1.Refusal{Revision: set.Spec.Revision, Reason: "OlderSerial", Time: metav1.NewTime(s.clock.Now())}
				})
			},
			about: host, ready: "True Published", also: told{"ScheduleSetApplied": "False RefusedByAgent"}, want: status.CurrentStatus,
		},
		{
			name: "one of which an invalid group is left out is current",
			given: func(s *space) {
				s.create(newHost("web-1", enrolled(s.t)), newGroup("etc", invalidGroup))
			},
			about: host, ready: "True Published", want: status.CurrentStatus,
		},
		{
			name:  "a suspended one is current",
			given: func(s *space) { s.create(newHost("web-1", enrolled(s.t), suspended)) },
			about: host, ready: "True Suspended", want: status.CurrentStatus,
		},
		{
			name:  "one whose credentials Secret is missing is in progress: it may come with the same sync",
			given: func(s *space) { s.create(newHost("web-1", enrolled(s.t), withSecret("repo"))) },
			about: host, ready: "False CredentialsMissing", want: status.InProgressStatus,
		},
		{
			name: "one whose credentials Secret is not labelled is in progress",
			given: func(s *space) {
				s.create(newSecret("repo", func(secret *corev1.Secret) { secret.Labels = nil }), newHost("web-1", enrolled(s.t), withSecret("repo")))
			},
			about: host, ready: "False CredentialsNotLabeled", want: status.InProgressStatus,
		},
		{
			name: "one whose Secret holds what must not be in it has failed",
			given: func(s *space) {
				s.create(newSecret("repo", func(secret *corev1.Secret) { secret.Data["RESTIC_PASSWORD_COMMAND"] = []byte("id") }), newHost("web-1", withSecret("repo")))
			},
			about: host, ready: "False CredentialsInvalid", also: told{"Stalled": "True CredentialsInvalid"}, want: status.FailedStatus,
		},
		{
			name: "one whose keys only somebody else can hand out has failed without a Secret",
			given: func(s *space) {
				s.create(newHost("web-1", func(h *v1alpha1.Host) { h.Spec.Repository.URL = "s3:https://s3.example.com/web-1" }))
			},
			about: host, ready: "False CredentialsMissing", also: told{"Stalled": "True CredentialsMissing"}, want: status.FailedStatus,
		},
		{
			name: "one with keys that are none has failed",
			given: func(s *space) {
				s.create(newHost("web-1", enrolled(s.t), func(h *v1alpha1.Host) { h.Spec.Identity.SealingKey = strings.Repeat("A", 43) + "=" }))
			},
			about: host, ready: "False Invalid", also: told{"Stalled": "True Invalid"}, want: status.FailedStatus,
		},
		{
			name: "one that was mended is current again",
			given: func(s *space) {
				s.create(newSecret("repo", func(secret *corev1.Secret) { secret.Data["RESTIC_PASSWORD_COMMAND"] = []byte("id") }), newHost("web-1", withSecret("repo")))
				s.until("it has failed", host, told{"Stalled": "True CredentialsInvalid"})
				change(s, "repo", &corev1.Secret{}, func(secret *corev1.Secret) { delete(secret.Data, "RESTIC_PASSWORD_COMMAND") })
			},
			about: host, ready: "True Accepted", also: told{"Stalled": ""}, want: status.CurrentStatus,
		},
	})
}

func TestAHostWhoseBackupsAreOverdueIsCurrent(t *testing.T) {
	s := startOperator(t).space(t)
	s.create(newHost("web-1", enrolled(t)), newGroup("etc"), newSchedule("hourly", func(spec *v1alpha1.ScheduleSpec) { spec.Cron = "@hourly" }))
	s.connect("web-1")
	s.until("it is connected", newHost("web-1"), told{"ScheduleSetApplied": "True Applied"})
	report(s, "web-1", &v1alpha1.Host{}, func(h *v1alpha1.Host) {
		now := metav1.NewTime(s.clock.Now())
		h.Status.SourceGroups = []v1alpha1.SourceGroupResult{{Name: "etc", JobID: "1", Schedule: "hourly", Result: v1alpha1.ResultSucceeded, FinishTime: &now, LastSuccessTime: &now}}
	})
	s.clock.Step(3 * 24 * time.Hour)
	s.disconnect("web-1")
	s.look("web-1")
	expectVerdict(t, s.until("days have passed", newHost("web-1"), told{"Ready": "True Published", "Connected": "False Disconnected", "BackupsCurrent": "False Overdue"}), status.CurrentStatus)
}

func suspended(h *v1alpha1.Host) { h.Spec.Suspend = true }

// invalidGroup cannot work on any host.
func invalidGroup(spec *v1alpha1.SourceGroupSpec) {
	spec.Bandwidth = &v1alpha1.Bandwidth{UploadKBps: 1, TimeZone: "Europe/Atlantis"}
}
