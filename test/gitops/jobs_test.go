package gitops

import (
	"testing"
	"time"

	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// A job is current when it succeeded, and not before.
func TestHostJobs(t *testing.T) {
	o := startOperator(t)
	job := newJob("unlock")
	// in brings a job into a phase, as the gateway does.
	in := func(phases ...v1alpha1.HostJobPhase) func(*space) {
		return func(s *space) {
			s.create(newHost("web-1", enrolled(s.t)), newJob("unlock"))
			for _, phase := range phases {
				s.phase("unlock", phase)
			}
		}
	}
	const goesOn = "True InProgress"
	expectStates(t, o, []state{
		{
			name:  "one for a Host that is missing is in progress",
			given: func(s *space) { s.create(newJob("unlock")) },
			about: job, ready: "False HostNotFound", also: told{"Reconciling": goesOn, "Complete": "", "Failed": ""}, want: status.InProgressStatus,
		},
		{
			name:  "one for a Host that is not enrolled is in progress",
			given: func(s *space) { s.create(newHost("web-1"), newJob("unlock")) },
			about: job, ready: "False NotEnrolled", also: told{"Reconciling": goesOn}, want: status.InProgressStatus,
		},
		{
			name:  "one that waits for its machine is in progress",
			given: in(),
			about: job, ready: "True WaitingForHost", also: told{"Reconciling": goesOn, "Complete": "", "Failed": ""}, want: status.InProgressStatus,
		},
		{
			name:  "one that was given to its machine is in progress",
			given: in(v1alpha1.JobDispatched),
			about: job, ready: "True InProgress", also: told{"Reconciling": goesOn}, want: status.InProgressStatus,
		},
		{
			name:  "one that runs is in progress",
			given: in(v1alpha1.JobRunning),
			about: job, ready: "True InProgress", also: told{"Reconciling": goesOn, "Complete": "", "Failed": ""}, want: status.InProgressStatus,
		},
		{
			name: "one that is told to stop is in progress",
			given: func(s *space) {
				in(v1alpha1.JobRunning)(s)
				change(s, "unlock", &v1alpha1.HostJob{}, func(j *v1alpha1.HostJob) { j.Spec.Cancel = true })
			},
			about: job, ready: "True InProgress", also: told{"Reconciling": goesOn}, want: status.InProgressStatus,
		},
		{
			name:  "one that succeeded is current",
			given: in(v1alpha1.JobSucceeded),
			about: job, ready: "True Succeeded", also: told{"Complete": "True Succeeded", "Failed": "", "Reconciling": "", "Stalled": ""}, want: status.CurrentStatus,
		},
		{
			name:  "one that completed with errors has failed",
			given: in(v1alpha1.JobCompletedWithErrors),
			about: job, ready: "False CompletedWithErrors", also: told{"Failed": "True CompletedWithErrors", "Complete": "", "Reconciling": ""}, want: status.FailedStatus,
		},
		{
			name:  "one that failed has failed",
			given: in(v1alpha1.JobFailed),
			about: job, ready: "False Failed", also: told{"Failed": "True Failed", "Complete": "", "Reconciling": ""}, want: status.FailedStatus,
		},
		{
			name:  "one that its machine stopped has failed",
			given: in(v1alpha1.JobCancelled),
			about: job, ready: "False Cancelled", also: told{"Failed": "True Cancelled", "Complete": "", "Reconciling": ""}, want: status.FailedStatus,
		},
		{
			name: "one that was cancelled before its machine took it has failed",
			given: func(s *space) {
				s.create(newJob("unlock", func(spec *v1alpha1.HostJobSpec) { spec.Cancel = true }))
			},
			about: job, ready: "False Cancelled", also: told{"Failed": "True Cancelled", "Complete": "", "Reconciling": ""}, want: status.FailedStatus,
		},
	})
}

func TestHostJobsWhoseTimePasses(t *testing.T) {
	s := startOperator(t).space(t)
	s.create(newHost("web-1", enrolled(t)), newJob("late"), newJob("silent", func(spec *v1alpha1.HostJobSpec) { spec.ActiveDeadlineSeconds = 60 }))
	s.phase("silent", v1alpha1.JobRunning)
	s.until("the other one waits", newJob("late"), told{"Ready": "True WaitingForHost"})
	s.clock.Step(2 * time.Hour)
	s.look("web-1")
	late := s.until("nobody took it", newJob("late"), told{"Ready": "False Expired", "Failed": "True Expired", "Complete": "", "Reconciling": ""})
	expectVerdict(t, late, status.FailedStatus)
	silent := s.until("nothing is heard of it", newJob("silent"), told{"Ready": "False NoReport", "Reconciling": "True InProgress"})
	expectVerdict(t, silent, status.InProgressStatus)
}
