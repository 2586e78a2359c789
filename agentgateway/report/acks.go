package report

import (
	"context"
	"fmt"
	"slices"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const maxMessage = 1024

// SetAcked writes that a set is in force and what of it the machine's owner does not allow, or why it is not in force. An ack that says what is on
// record writes nothing.
func (w *Writer) SetAcked(ctx context.Context, s Session, ack *wire.SetAck) error {
	if s.Record.says(ack) {
		return nil
	}
	var uid string
	refused := false
	err := w.changeSet(ctx, s.Host, func(set *v1alpha1.ScheduleSet) error {
		uid, refused = set.Spec.Host.UID, false
		if !ours(set, s) {
			return errUnchanged
		}
		if ack.Applied {
			// An agent tells the set in force again when it connects, also while the published one is refused: that stays on record.
			refusal := set.Status.Refusal
			stands := refusal != nil && refusal.Revision == set.Spec.Revision && refusal.Revision != ack.Revision
			notAllowed := notAllowedOf(ack.NotAllowed)
			before := set.Status.AppliedSerial
			set.Status.AppliedSerial = ackedSerial(set, s, ack)
			if set.Status.AppliedRevision != ack.Revision || refusal != nil && !stands {
				noteApplied(set, ack.Revision, w.now())
				if !stands {
					set.Status.OfferedRevision, set.Status.Refusal = ack.Revision, nil
				}
			} else if set.Status.AppliedSerial == before && slices.Equal(set.Status.NotAllowed, notAllowed) {
				return errUnchanged
			}
			set.Status.NotAllowed = notAllowed
			return nil
		}
		refused = true
		refusal := v1alpha1.Refusal{Revision: ack.Revision, Reason: string(ack.Reason), Message: cut(ack.Message, maxMessage), Time: w.now()}
		if same(set.Status.Refusal, &refusal) {
			return errUnchanged
		}
		set.Status.OfferedRevision = ack.Revision
		set.Status.Refusal = &refusal
		return nil
	})
	if apierrors.IsNotFound(err) {
		return nil // the session is about to be closed for it
	}
	if err != nil || !refused {
		return err
	}
	return w.emit(ctx, event{host: s.Host, hostUID: uid, kind: corev1.EventTypeWarning, reason: v1alpha1.EventSetRefused,
		action: "ApplyScheduleSet", id: ack.Revision + string(ack.Reason),
		note: fmt.Sprintf("The machine refused schedule set %.12s (%s): %s. The set in force stays in force.", ack.Revision, ack.Reason, ack.Message)})
}

// ackedSerial is that of a set which a machine has put in force. What it did not come with was offered in this session: it is a set of this cluster, however old.
func ackedSerial(set *v1alpha1.ScheduleSet, s Session, ack *wire.SetAck) int64 {
	if ack.Serial > 0 && ack.Revision != s.Greeted {
		return ack.Serial
	}
	return knownSerial(set, ack.Revision, ack.Serial)
}

// Record is what of a ScheduleSet's status an ack is compared with, as the record of the connection left it. Nobody but the session's acks changes it.
type Record struct {
	applied    string
	serial     int64
	refused    bool
	notAllowed []v1alpha1.NotAllowed
}

// says tells whether an ack says nothing that is not on record.
func (r *Record) says(ack *wire.SetAck) bool {
	return r != nil && ack.Applied && !r.refused && r.applied == ack.Revision && (ack.Serial == 0 || r.serial == ack.Serial) && slices.Equal(r.notAllowed, notAllowedOf(ack.NotAllowed))
}

func notAllowedOf(in []wire.NotAllowed) []v1alpha1.NotAllowed {
	var out []v1alpha1.NotAllowed
	for _, n := range in[:min(len(in), wire.MaxListed)] {
		out = append(out, v1alpha1.NotAllowed{SourceGroup: n.SourceGroup, What: n.What, Message: cut(n.Message, maxMessage)})
	}
	return out
}

func same(a, b *v1alpha1.Refusal) bool {
	return a != nil && a.Revision == b.Revision && a.JobID == b.JobID && a.Reason == b.Reason && a.Message == b.Message
}

// CommandAcked writes why a command was refused, and ends its HostJob. That a job was run before is no refusal while the HostJob is
// unfinished: its command is sent again in every session, and the agent reports its result again.
func (w *Writer) CommandAcked(ctx context.Context, s Session, ack *wire.CommandAck) error {
	if ack.Accepted {
		return nil
	}
	job, err := w.jobOf(ctx, s.Host, ack.JobID)
	if err != nil {
		return err
	}
	unfinished := job != nil && !job.Status.Phase.Finished()
	if unfinished && ack.Reason == wire.RefusalAlreadyRun {
		return nil
	}
	if unfinished {
		if err := w.refused(ctx, s, job, ack); err != nil {
			return err
		}
	}
	var uid string
	refused := false
	err = w.changeSet(ctx, s.Host, func(set *v1alpha1.ScheduleSet) error {
		uid, refused = set.Spec.Host.UID, false
		if !ours(set, s) {
			return errUnchanged
		}
		refused = true
		refusal := v1alpha1.Refusal{JobID: ack.JobID, Reason: string(ack.Reason), Message: cut(ack.Message, maxMessage), Time: w.now()}
		if same(set.Status.CommandRefusal, &refusal) {
			return errUnchanged
		}
		set.Status.CommandRefusal = &refusal
		return nil
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || !refused {
		return err
	}
	return w.emit(ctx, event{host: s.Host, hostUID: uid, kind: corev1.EventTypeWarning, reason: v1alpha1.EventCommandRefused,
		action: "RunCommand", id: ack.JobID + string(ack.Reason),
		note: fmt.Sprintf("The machine refused the command of job %s (%s): %s", ack.JobID, ack.Reason, ack.Message)})
}

// refused ends a HostJob whose command the machine does not obey.
func (w *Writer) refused(ctx context.Context, s Session, job *v1alpha1.HostJob, ack *wire.CommandAck) error {
	ref := wire.JobRef{JobID: ack.JobID, Kind: wire.JobKind(job.Spec.Kind), HostJob: job.Name, HostJobUID: string(job.UID)}
	return w.changeJob(ctx, s, &ref, func(job *v1alpha1.HostJob) error {
		if job.Status.Phase.Finished() {
			return errUnchanged
		}
		now := w.now()
		job.Status.Phase, job.Status.Session, job.Status.CompletionTime = v1alpha1.JobFailed, s.Counter, &now
		job.Status.Result = &v1alpha1.JobResultStatus{
			Reason: string(wire.ReasonRefused), Message: cut(fmt.Sprintf("The machine refused the command (%s): %s", ack.Reason, ack.Message), maxMessage), ExitCode: -1,
		}
		return nil
	})
}

// jobOf looks a HostJob up by its job's id, which holds the UID; nil when there is none. The cache finds it, the API server tells its
// state: the cache may be behind a result that was stored a moment ago.
func (w *Writer) jobOf(ctx context.Context, host wire.HostRef, jobID string) (*v1alpha1.HostJob, error) {
	var jobs v1alpha1.HostJobList
	if err := w.o.Cache.List(ctx, &jobs, client.InNamespace(host.Namespace)); err != nil {
		return nil, err
	}
	for i := range jobs.Items {
		job := &jobs.Items[i]
		if wire.CommandID(string(job.UID)) != jobID || job.Spec.HostRef.Name != host.Name {
			continue
		}
		live := &v1alpha1.HostJob{}
		if err := w.o.Live.Get(ctx, client.ObjectKeyFromObject(job), live); err != nil {
			return nil, client.IgnoreNotFound(err)
		}
		return live, nil
	}
	return nil, nil
}
