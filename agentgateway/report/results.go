package report

import (
	"context"
	"slices"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Bounds of one entry of Host status, of which there may be 100.
const (
	maxResultMessage = 512
	maxResultPaths   = 5
	maxResultPath    = 256
	maxResults       = 100
)

// discarded says why a report will never be stored.
type discarded struct{ reason string }

func (d *discarded) Error() string { return "discarded: " + d.reason }

var hostDeleted = &discarded{reason: "the Host was deleted"}

// removed tells whether a session is there for a tombstone alone: its Host is gone, and one that has its name by now may be another machine's.
func (w *Writer) removed(ctx context.Context, host wire.HostRef) bool {
	var set v1alpha1.ScheduleSet
	return w.o.Cache.Get(ctx, key(host), &set) == nil && set.Spec.Tombstone
}

// repeated is returned for a report that is stored already.
type repeated struct{}

func (repeated) Error() string { return "stored already" }

// liveHost reads the Host that a report is for, unless the report is stored already.
func (w *Writer) liveHost(ctx context.Context, host wire.HostRef, id wire.ReportID) (*v1alpha1.Host, error) {
	var h v1alpha1.Host
	if err := w.o.Live.Get(ctx, key(host), &h); apierrors.IsNotFound(err) {
		return nil, hostDeleted
	} else if err != nil {
		return nil, err
	}
	if stored(&h, id) {
		return nil, repeated{}
	}
	return &h, nil
}

func stored(h *v1alpha1.Host, id wire.ReportID) bool {
	last := h.Status.LastReport
	return last != nil && last.Epoch == id.Epoch && id.Seq <= last.Seq
}

// changeHost writes a report's part of the Host together with its place in the outbox. The first try uses the Host as it was read.
func (w *Writer) changeHost(ctx context.Context, h *v1alpha1.Host, id wire.ReportID, apply func(*v1alpha1.Host)) error {
	write := func(h *v1alpha1.Host) error {
		if stored(h, id) {
			return repeated{}
		}
		apply(h)
		h.Status.LastReport = &v1alpha1.ReportPosition{Epoch: id.Epoch, Seq: id.Seq}
		return nil
	}
	name := types.NamespacedName{Namespace: h.Namespace, Name: h.Name}
	_, err := patch(ctx, w, "hosts", h, write)
	if apierrors.IsConflict(err) {
		err = change(ctx, w, "hosts", name, write)
	}
	if apierrors.IsNotFound(err) {
		return hostDeleted
	}
	return err
}

// finished stores the result of a job: on its HostJob, for which somebody may wait; as an Event; and on the Host, last, which then holds that it is stored.
func (w *Writer) finished(ctx context.Context, s Session, m *wire.JobFinished, received time.Time) error {
	refused := w.ended(ctx, s, m, received)
	if refused != nil && !hopeless(refused) {
		return refused
	}
	h, err := w.liveHost(ctx, s.Host, m.Report)
	if err != nil {
		return err
	}
	groups, err := w.groups(ctx, s.Host)
	if err != nil {
		return err
	}
	for _, e := range resultEvents(h, m) {
		if err := w.emit(ctx, e); err != nil {
			return err
		}
	}
	if refused != nil {
		return refused // people were told, at least
	}
	return w.changeHost(ctx, h, m.Report, func(h *v1alpha1.Host) {
		if elsewhere(h, &m.Job) {
			return
		}
		switch m.Job.Kind {
		case wire.JobBackup:
			noteBackup(h, m, received)
			if groups.known {
				h.Status.SourceGroups = slices.DeleteFunc(h.Status.SourceGroups, func(r v1alpha1.SourceGroupResult) bool {
					return !slices.Contains(groups.all, r.Name)
				})
			}
			h.Status.OldestSuccessTime = oldestSuccess(h.Status.SourceGroups, groups.fired)
		case wire.JobInit:
			noteInit(h, m, received)
		}
		noteLock(h, m, received)
		noteStats(h, m.Stats, received)
	})
}

// setGroups are those in a host's published set; known is false when there is none. fired are those that a Schedule fires which is not suspended.
type setGroups struct {
	all, fired []string
	known      bool
}

func (w *Writer) groups(ctx context.Context, host wire.HostRef) (setGroups, error) {
	var set v1alpha1.ScheduleSet
	if err := w.o.Cache.Get(ctx, key(host), &set); apierrors.IsNotFound(err) {
		return setGroups{}, nil
	} else if err != nil {
		return setGroups{}, err
	}
	groups := setGroups{known: true}
	for i := range set.Spec.Groups {
		groups.all = append(groups.all, set.Spec.Groups[i].Name)
	}
	for i := range set.Spec.Schedules {
		if schedule := &set.Spec.Schedules[i]; !schedule.Suspended {
			groups.fired = append(groups.fired, schedule.SourceGroups...)
		}
	}
	return groups, nil
}

var results = map[wire.Outcome]v1alpha1.JobResult{
	wire.OutcomeSucceeded:           v1alpha1.ResultSucceeded,
	wire.OutcomeCompletedWithErrors: v1alpha1.ResultCompletedWithErrors,
	wire.OutcomeFailed:              v1alpha1.ResultFailed,
	wire.OutcomeCancelled:           v1alpha1.ResultCancelled,
}

// noteBackup replaces the group's last result.
func noteBackup(h *v1alpha1.Host, m *wire.JobFinished, received time.Time) {
	if m.Job.SourceGroup == "" {
		return
	}
	i := slices.IndexFunc(h.Status.SourceGroups, func(r v1alpha1.SourceGroupResult) bool { return r.Name == m.Job.SourceGroup })
	if i < 0 {
		if len(h.Status.SourceGroups) >= maxResults {
			h.Status.SourceGroups = slices.Delete(h.Status.SourceGroups, 0, 1)
		}
		h.Status.SourceGroups = append(h.Status.SourceGroups, v1alpha1.SourceGroupResult{Name: m.Job.SourceGroup})
		i = len(h.Status.SourceGroups) - 1
	}
	r := &h.Status.SourceGroups[i]
	again := r.JobID == m.Job.JobID // the same job, reported in a new epoch of a machine that went back in time
	r.JobID, r.Schedule, r.Result = m.Job.JobID, m.Job.Schedule, results[m.Outcome]
	r.Reason, r.Message = string(m.Reason), cut(m.Message, maxResultMessage)
	r.StartTime, r.FinishTime = clamp(m.StartedAt, received), clamp(m.FinishedAt, received)
	r.Backup = backupSummary(m.Backup, maxResultPaths, maxResultPath)
	wrote := m.Backup != nil && m.Backup.SnapshotID != ""
	if wrote {
		r.LastSnapshotID = m.Backup.SnapshotID
	}
	switch {
	case m.Outcome == wire.OutcomeSucceeded || wrote:
		r.ConsecutiveFailures = 0
	case !again && (m.Outcome == wire.OutcomeFailed || m.Outcome == wire.OutcomeCompletedWithErrors):
		r.ConsecutiveFailures++
	}
	if m.Outcome == wire.OutcomeSucceeded {
		r.LastSuccessTime = later(r.LastSuccessTime, r.FinishTime)
		h.Status.LastSuccessTime = later(h.Status.LastSuccessTime, r.FinishTime)
	}
}

// oldestSuccess is the last success of the group that is farthest behind. What nothing fires holds nobody back, unless nothing fires anything.
func oldestSuccess(results []v1alpha1.SourceGroupResult, fired []string) *metav1.Time {
	var oldest *metav1.Time
	for i := range results {
		r := &results[i]
		if r.LastSuccessTime == nil || len(fired) > 0 && !slices.Contains(fired, r.Name) {
			continue
		}
		if oldest == nil || r.LastSuccessTime.Before(oldest) {
			oldest = r.LastSuccessTime
		}
	}
	return oldest
}

func later(a, b *metav1.Time) *metav1.Time {
	if a == nil || b != nil && a.Before(b) {
		return b
	}
	return a
}
