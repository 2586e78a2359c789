package maintenance

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// lostAfter is how long after the end of all its deadlines a job whose result never came blocks its repository.
const lostAfter = time.Hour

// ending is how a job ended.
type ending struct {
	at      time.Time
	ran     bool // false: it expired, and surely never ran
	lost    bool // its result never came
	result  v1alpha1.JobResult
	reason  string
	message string
}

// endingOf is false while the job is under way.
func endingOf(job *v1alpha1.HostJob, now time.Time) (ending, bool) {
	// A machine's clock may be behind; a job does not end before it was created.
	e := ending{at: job.CreationTimestamp.Time, ran: true}
	if end := job.Status.CompletionTime; end != nil && end.After(e.at) {
		e.at = end.Time
	}
	switch job.Status.Phase {
	case v1alpha1.JobSucceeded:
		e.result = v1alpha1.ResultSucceeded
	case v1alpha1.JobCompletedWithErrors:
		e.result = v1alpha1.ResultCompletedWithErrors
	case v1alpha1.JobFailed:
		e.result = v1alpha1.ResultFailed
	case v1alpha1.JobCancelled:
		e.result = v1alpha1.ResultCancelled
	case v1alpha1.JobExpired:
		e.ran = false
	default:
		if e.at = lostAt(job); now.Before(e.at) {
			return ending{}, false
		}
		e.lost, e.result, e.reason = true, v1alpha1.ResultFailed, v1alpha1.ReasonNoReport
		e.message = fmt.Sprintf("Host %q took it and its result never came: see whether the machine is alive", job.Spec.HostRef.Name)
		return e, true
	}
	e.explain(job)
	return e, true
}

// explain takes over the machine's words, or, of a job that no machine took, those of the conditions.
func (e *ending) explain(job *v1alpha1.HostJob) {
	if told := job.Status.Result; told != nil {
		e.reason, e.message = told.Reason, told.Message
		// The command came too late for the machine.
		e.ran = e.ran && (e.result != v1alpha1.ResultFailed || told.Reason != string(wire.ReasonExpired))
		return
	}
	if c := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionFailed); c != nil {
		e.reason, e.message = c.Reason, c.Message
	}
	if c := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionStalled); c != nil && e.result == v1alpha1.ResultFailed {
		e.reason = c.Reason
	}
}

// lostAt is when a job must have ended for so long that nothing waits for it any more.
func lostAt(job *v1alpha1.HostJob) time.Time {
	return job.CreationTimestamp.Add(time.Duration(job.Spec.StartingDeadlineSeconds+job.Spec.ActiveDeadlineSeconds)*time.Second + lostAfter)
}

// clocksDiffer is how far the clock of the API server may be behind that of the controllers: no more is lost to a wrong slot.
const clocksDiffer = 24 * time.Hour

// slotOf is the slot that a job was made for; false for a job of people. What says that it was made for a time to come was written by people, or by a clock
// that was wrong: taken for the last run, it would keep the operation from running until then.
func slotOf(job *v1alpha1.HostJob) (time.Time, bool) {
	if _, ours := job.Labels[v1alpha1.LabelOperation]; !ours {
		return time.Time{}, false
	}
	slot, err := time.Parse(time.RFC3339, job.Annotations[v1alpha1.AnnotationScheduleTime])
	if err != nil || slot.After(job.CreationTimestamp.Add(clocksDiffer)) {
		return time.Time{}, false
	}
	return slot, true
}

// neverSent jobs are those of people that no machine was told of: they say nothing of the repository, and whoever may create HostJobs could have
// maintenance called failing with one that cannot work.
func neverSent(job *v1alpha1.HostJob) bool {
	_, ours := job.Labels[v1alpha1.LabelOperation]
	return !ours && job.Status.DispatchTime == nil && job.Status.Result == nil
}

// narrowed jobs do a part of the operation: neither their success nor their failure is that of the operation.
func narrowed(job *v1alpha1.HostJob) bool {
	return job.Spec.Forget != nil && job.Spec.Forget.SourceGroup != "" || job.Spec.Verify != nil && job.Spec.Verify.SourceGroup != ""
}

// UnderWay returns a job that keeps others from being started, nil for none: forget, prune, check or verify on the repository, whoever made it.
func (r *Repository) UnderWay(now time.Time) *v1alpha1.HostJob {
	for _, job := range r.Jobs {
		if _, exclusive := OperationOf(job.Spec.Kind); exclusive {
			if _, ended := endingOf(job, now); !ended {
				return job
			}
		}
	}
	return nil
}

// jobsOf are those of one operation, for a host or for the whole repository, in the order in which they were made.
func (r *Repository) jobsOf(o Operation, host *v1alpha1.Host) []*v1alpha1.HostJob {
	var jobs []*v1alpha1.HostJob
	for _, job := range r.Jobs {
		if job.Spec.Kind == o.Kind() && (host == nil || job.TargetName() == host.Name) {
			jobs = append(jobs, job)
		}
	}
	slices.SortFunc(jobs, func(a, b *v1alpha1.HostJob) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return jobs
}

// past is what is known of earlier runs, from what is written in the hosts' status and from jobs that are not in it yet.
func (r *Repository) past(o Operation, host *v1alpha1.Host, now time.Time) Past {
	record := r.recorded(o, host)
	var past Past
	if record.LastScheduleTime != nil {
		past.Slot = record.LastScheduleTime.Time
	}
	if record.NextScheduleTime != nil {
		past.Planned = record.NextScheduleTime.Time
	}
	jobs := slices.DeleteFunc(r.jobsOf(o, host), r.former)
	for _, job := range jobs {
		if slot, ok := slotOf(job); ok && slot.After(past.Slot) {
			past.Slot = slot
		}
	}
	for _, job := range jobs {
		slot, ok := slotOf(job)
		if end, ended := endingOf(job, now); ok && ended && !end.ran && slot.Equal(past.Slot) {
			past.Expired = end.at
		}
	}
	return past
}

// recorded is what is written in the hosts' status; the newest counts, since not all of them need be up to date. Executor is filled
// in also where it is the host itself.
func (r *Repository) recorded(o Operation, host *v1alpha1.Host) v1alpha1.OperationStatus {
	hosts := r.Hosts
	if host != nil {
		hosts = []*v1alpha1.Host{host}
	}
	var newest v1alpha1.OperationStatus
	for _, h := range hosts {
		known := Recorded(h, o)
		if known == nil {
			continue
		}
		record := *known.DeepCopy()
		if record.HostJob != "" {
			record.Executor = cmp.Or(record.Executor, h.Name)
		}
		newest = newer(newest, record)
	}
	return newest
}

// newer joins two records: each part comes from the one that knows more.
func newer(a, b v1alpha1.OperationStatus) v1alpha1.OperationStatus {
	if later(b.FinishTime, a.FinishTime) {
		a.Result, a.Reason, a.Message, a.FinishTime = b.Result, b.Reason, b.Message, b.FinishTime
		a.LastSuccessTime, a.ConsecutiveFailures, a.ReadDataSubset = b.LastSuccessTime, b.ConsecutiveFailures, b.ReadDataSubset
		if !later(a.LastScheduleTime, b.LastScheduleTime) {
			a.HostJob, a.Executor = b.HostJob, b.Executor
		}
	}
	if later(b.LastScheduleTime, a.LastScheduleTime) {
		a.LastScheduleTime, a.HostJob, a.Executor = b.LastScheduleTime, b.HostJob, b.Executor
	}
	if later(b.NextScheduleTime, a.NextScheduleTime) {
		a.NextScheduleTime = b.NextScheduleTime
	}
	return a
}

func later(a, b *metav1.Time) bool { return a != nil && (b == nil || a.After(b.Time)) }
