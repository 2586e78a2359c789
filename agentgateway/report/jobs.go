package report

import (
	"context"
	"errors"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// errSuperseded: a newer session speaks for the host; it will be told the same.
var errSuperseded = errors.New("a newer session speaks for the host")

// changeJob changes the HostJob that a machine speaks of. One that is gone, is another one, or belongs to another host is left alone: the
// name is the machine's word only.
func (w *Writer) changeJob(ctx context.Context, s Session, ref *wire.JobRef, apply func(*v1alpha1.HostJob) error) error {
	if ref.HostJob == "" || !validName(ref.HostJob) {
		return nil
	}
	name := types.NamespacedName{Namespace: s.Host.Namespace, Name: ref.HostJob}
	err := changeCached(ctx, w, "hostjobs", name, func(job *v1alpha1.HostJob) error {
		if !about(job, s.Host, ref) {
			return errUnchanged
		}
		if job.Status.Session > s.Counter {
			return errSuperseded
		}
		return apply(job)
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func validName(name string) bool { return len(validation.IsDNS1123Subdomain(name)) == 0 }

func about(job *v1alpha1.HostJob, host wire.HostRef, ref *wire.JobRef) bool {
	return string(job.UID) == ref.HostJobUID && job.Spec.HostRef.Name == host.Name && ref.JobID == wire.CommandID(string(job.UID))
}

// Dispatched marks a pending job as sent, before it is. False says that it is not to be sent.
func (w *Writer) Dispatched(ctx context.Context, s Session, job *v1alpha1.HostJob) (bool, error) {
	send := false
	name := types.NamespacedName{Namespace: job.Namespace, Name: job.Name}
	err := changeCached(ctx, w, "hostjobs", name, func(live *v1alpha1.HostJob) error {
		switch {
		case live.UID != job.UID, live.Status.Phase.Finished(), live.Status.Session > s.Counter, live.Status.Command == nil:
			send = false
			return errUnchanged
		case live.Status.Phase != v1alpha1.JobPending:
			send = true
			return errUnchanged
		case live.Spec.Cancel:
			send = false // the controllers end what was never sent
			return errUnchanged
		}
		send = true
		now := w.now()
		live.Status.Phase, live.Status.DispatchTime, live.Status.Session = v1alpha1.JobDispatched, &now, s.Counter
		return nil
	})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return send && err == nil, err
}

func (w *Writer) started(ctx context.Context, s Session, m *wire.JobStarted, received time.Time) error {
	return w.changeJob(ctx, s, &m.Job, func(job *v1alpha1.HostJob) error {
		if m.Queued {
			if job.Status.Phase != v1alpha1.JobDispatched || job.Status.Queued {
				return errUnchanged
			}
			job.Status.Queued, job.Status.Session = true, s.Counter
			return nil
		}
		if job.Status.Phase.Finished() || job.Status.Phase == v1alpha1.JobRunning && job.Status.StartTime != nil {
			return errUnchanged
		}
		begin(job, s, clamp(m.StartedAt, received), received)
		return nil
	})
}

// begin marks a job as running.
func begin(job *v1alpha1.HostJob, s Session, started *metav1.Time, received time.Time) {
	job.Status.Phase, job.Status.Session, job.Status.Queued = v1alpha1.JobRunning, s.Counter, false
	if started == nil {
		started = clamp(received, received)
	}
	if job.Status.StartTime == nil {
		job.Status.StartTime = started
	}
}

func (w *Writer) progress(ctx context.Context, s Session, m *wire.JobProgress, received time.Time) error {
	return w.changeJob(ctx, s, &m.Job, func(job *v1alpha1.HostJob) error {
		if job.Status.Phase.Finished() {
			return errUnchanged
		}
		if job.Status.Phase != v1alpha1.JobRunning {
			begin(job, s, nil, received)
		}
		job.Status.Session = s.Counter
		job.Status.Progress = &v1alpha1.JobProgress{
			Percent: percent(m.BytesDone, m.BytesTotal), FilesDone: m.FilesDone, FilesTotal: m.FilesTotal, BytesDone: m.BytesDone,
			BytesTotal: m.BytesTotal, Retrying: cut(m.Retrying, maxMessage), UpdateTime: metav1.NewTime(received),
		}
		if m.Attempt > 1 {
			job.Status.Progress.Attempt = m.Attempt
		}
		return nil
	})
}

func percent(done, total int64) int32 {
	if total <= 0 || done <= 0 {
		return 0
	}
	return int32(min(100*(float64(done)/float64(total)), 100))
}

var phases = map[wire.Outcome]v1alpha1.HostJobPhase{
	wire.OutcomeSucceeded:           v1alpha1.JobSucceeded,
	wire.OutcomeCompletedWithErrors: v1alpha1.JobCompletedWithErrors,
	wire.OutcomeFailed:              v1alpha1.JobFailed,
	wire.OutcomeCancelled:           v1alpha1.JobCancelled,
}

// ended writes the result of a job onto its HostJob.
func (w *Writer) ended(ctx context.Context, s Session, m *wire.JobFinished, received time.Time) error {
	return w.changeJob(ctx, s, &m.Job, func(job *v1alpha1.HostJob) error {
		if job.Status.Phase.Finished() {
			return errUnchanged
		}
		finished := clamp(m.FinishedAt, received)
		if finished == nil {
			finished = clamp(received, received)
		}
		if started := clamp(m.StartedAt, received); started != nil {
			job.Status.StartTime = started
		}
		job.Status.Phase, job.Status.Session, job.Status.CompletionTime = phases[m.Outcome], s.Counter, finished
		job.Status.Progress, job.Status.Queued = nil, false
		job.Status.Result = resultOf(job.Spec.Kind, m, received)
		job.Status.LogTail = cut(m.LogTail, wire.MaxLogTail)
		return nil
	})
}
