package hostjob

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// finalReasons is the reason of Complete or Failed for each phase in which a job stays.
var finalReasons = map[v1alpha1.HostJobPhase]string{
	v1alpha1.JobSucceeded:           v1alpha1.ReasonSucceeded,
	v1alpha1.JobCompletedWithErrors: v1alpha1.ReasonCompletedWithErrors,
	v1alpha1.JobFailed:              v1alpha1.ReasonFailed,
	v1alpha1.JobCancelled:           v1alpha1.ReasonCancelled,
	v1alpha1.JobExpired:             v1alpha1.ReasonExpired,
}

func setConditions(job *v1alpha1.HostJob, next decision, clk clock.PassiveClock) {
	job.Status.ObservedGeneration = job.Generation
	if job.Status.Phase.Finished() {
		final(job, next.message, clk)
		return
	}
	set := status.For(&job.Status.Conditions, job.Generation, clk)
	set.Ready(next.err, next.reason, next.message)
	// Ready may be true by now: the job is accepted and on its way. This tells that it is not done.
	set.True(v1alpha1.ConditionReconciling, v1alpha1.ReasonInProgress, "%s", next.message)
}

// setFinalConditions is for a job that the gateway ended. What is told already stays as it is.
func setFinalConditions(job *v1alpha1.HostJob, clk clock.PassiveClock) {
	job.Status.ObservedGeneration = job.Generation
	told := v1alpha1.ConditionFailed
	if job.Status.Phase == v1alpha1.JobSucceeded {
		told = v1alpha1.ConditionComplete
	}
	if !meta.IsStatusConditionTrue(job.Status.Conditions, told) {
		final(job, resultMessage(job), clk)
	}
}

// final follows batch/v1: exactly one of Complete and Failed appears, and only at the end.
func final(job *v1alpha1.HostJob, message string, clk clock.PassiveClock) {
	set := status.For(&job.Status.Conditions, job.Generation, clk)
	set.Remove(v1alpha1.ConditionReconciling)
	reason := finalReasons[job.Status.Phase]
	if job.Status.Phase == v1alpha1.JobSucceeded {
		set.Remove(v1alpha1.ConditionFailed)
		set.Set(v1alpha1.ConditionComplete, metav1.ConditionTrue, reason, message)
		set.Ready(nil, reason, message)
		return
	}
	set.Remove(v1alpha1.ConditionComplete)
	set.Set(v1alpha1.ConditionFailed, metav1.ConditionTrue, reason, message)
	set.Ready(status.Stalled(reason, "%s", message), "", "")
}

func resultMessage(job *v1alpha1.HostJob) string {
	result := job.Status.Result
	switch {
	case result != nil && result.Message != "" && result.Reason != "":
		return result.Reason + ": " + result.Message
	case result != nil && result.Message != "":
		return result.Message
	case job.Status.Phase == v1alpha1.JobSucceeded:
		return "the machine did it"
	}
	return "the machine gave no cause"
}

// deleteAt is false when the object is kept.
func deleteAt(job *v1alpha1.HostJob) (time.Time, bool) {
	ttl, end := job.Spec.TTLSecondsAfterFinished, job.Status.CompletionTime
	if ttl == nil || end == nil {
		return time.Time{}, false
	}
	return end.Add(time.Duration(*ttl) * time.Second), true
}
