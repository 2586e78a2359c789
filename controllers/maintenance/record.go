package maintenance

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// maxMessage bounds OperationStatus.Message, in bytes.
const maxMessage = 512

// Failing tells whether the last run of an operation did not succeed. One that was cancelled did not fail.
func Failing(o *v1alpha1.OperationStatus) bool {
	return o != nil && (o.Result == v1alpha1.ResultFailed || o.Result == v1alpha1.ResultCompletedWithErrors)
}

// Status is what is to be written as status.maintenance of one of the hosts; nil for nothing. plans are those of a decision about tasks.
//
// While a shared operation is under way only the anchor's record says so: the other hosts' are written when it has ended.
func (r *Repository) Status(host *v1alpha1.Host, tasks []Task, plans []Plan, now time.Time) *v1alpha1.MaintenanceStatus {
	status := &v1alpha1.MaintenanceStatus{}
	anchor := Anchor(r.Hosts)
	for i := range tasks {
		o, own := tasks[i].Operation, tasks[i].Host
		if own != "" && own != host.Name {
			continue
		}
		var of *v1alpha1.Host
		if own != "" {
			of = host
		}
		record := r.record(o, of, plans[i], now)
		if record.Executor == host.Name {
			record.Executor = ""
		}
		if present := Recorded(host, o); present != nil && host != anchor && own == "" && r.runs(o, now) && sameResult(present, &record) {
			record = *present
		}
		if record != (v1alpha1.OperationStatus{}) {
			*o.StatusOf(status) = &record
		}
	}
	switch present := host.Status.Maintenance; {
	case present == nil:
	case ofAnother(host):
		status.Since = new(metav1.NewTime(now.UTC().Truncate(time.Second)))
	default:
		status.Since = present.Since
	}
	if *status == (v1alpha1.MaintenanceStatus{}) {
		return nil
	}
	status.URL = url(host)
	return status
}

// Recorded is what is written in a host's status of its present repository; nil for nothing.
func Recorded(host *v1alpha1.Host, o Operation) *v1alpha1.OperationStatus {
	if host.Status.Maintenance == nil || ofAnother(host) {
		return nil
	}
	return *o.StatusOf(host.Status.Maintenance)
}

// ofAnother tells whether what is recorded is of a repository that the host had before.
func ofAnother(host *v1alpha1.Host) bool {
	m := host.Status.Maintenance
	return m != nil && m.URL != "" && m.URL != url(host)
}

// former tells whether a job was made for the repository that its target had before.
func (r *Repository) former(job *v1alpha1.HostJob) bool {
	for _, host := range r.Hosts {
		if m := host.Status.Maintenance; host.Name == job.TargetName() && m != nil {
			return ofAnother(host) || m.Since != nil && job.CreationTimestamp.Before(m.Since)
		}
	}
	return false
}

// runs tells whether a job of the operation has not ended.
func (r *Repository) runs(o Operation, now time.Time) bool {
	return slices.ContainsFunc(r.jobsOf(o, nil), func(job *v1alpha1.HostJob) bool {
		_, ended := endingOf(job, now)
		return !ended
	})
}

func sameResult(a, b *v1alpha1.OperationStatus) bool { return a.FinishTime.Equal(b.FinishTime) }

// record is what is to be written: what is recorded, with every job that ended since, and the plan.
func (r *Repository) record(o Operation, host *v1alpha1.Host, plan Plan, now time.Time) v1alpha1.OperationStatus {
	record := r.recorded(o, host)
	jobs := r.jobsOf(o, host)
	jobs = slices.DeleteFunc(jobs, r.former)
	for _, job := range jobs {
		if slot, ok := slotOf(job); ok && (record.LastScheduleTime == nil || slot.After(record.LastScheduleTime.Time)) {
			record.LastScheduleTime, record.HostJob, record.Executor = new(metav1.NewTime(slot)), job.Name, job.Spec.HostRef.Name
		}
	}
	slices.SortStableFunc(jobs, func(a, b *v1alpha1.HostJob) int {
		endA, _ := endingOf(a, now)
		endB, _ := endingOf(b, now)
		return endA.at.Compare(endB.at)
	})
	for _, job := range jobs {
		end, ended := endingOf(job, now)
		if ended && end.ran && !narrowed(job) && !neverSent(job) && (record.FinishTime == nil || end.at.Truncate(time.Second).After(record.FinishTime.Time)) {
			take(&record, job, end)
		}
	}
	record.NextScheduleTime = nil
	if !plan.Next.IsZero() {
		record.NextScheduleTime = new(metav1.NewTime(plan.Next.UTC()))
	}
	return record
}

// take makes a job that ended the last one.
func take(record *v1alpha1.OperationStatus, job *v1alpha1.HostJob, end ending) {
	finish := metav1.NewTime(end.at.UTC().Truncate(time.Second))
	record.HostJob, record.Executor = job.Name, job.Spec.HostRef.Name
	record.Result, record.Reason, record.Message, record.FinishTime = end.result, end.reason, wire.Cut(end.message, maxMessage), &finish
	switch end.result {
	case v1alpha1.ResultSucceeded:
		record.Reason, record.LastSuccessTime, record.ConsecutiveFailures = "", &finish, 0
	case v1alpha1.ResultFailed, v1alpha1.ResultCompletedWithErrors:
		record.ConsecutiveFailures++
	}
	if _, ours := slotOf(job); ours && job.Spec.Check != nil && wasRead(end) {
		record.ReadDataSubset = job.Spec.Check.ReadDataSubset
	}
}

// wasRead tells whether a check got to read: one that found damage did, and the rotation goes on to other parts.
func wasRead(end ending) bool {
	return end.result == v1alpha1.ResultSucceeded || end.reason == string(wire.ReasonRepositoryDamaged)
}
