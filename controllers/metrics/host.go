package metrics

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// maxVersion bounds a label that a machine gives.
const maxVersion = 64

// limit returns the first Hosts by namespace and name.
func limit(hosts []v1alpha1.Host, most int) []*v1alpha1.Host {
	sorted := make([]*v1alpha1.Host, len(hosts))
	for i := range hosts {
		sorted[i] = &hosts[i]
	}
	slices.SortFunc(sorted, func(a, b *v1alpha1.Host) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return sorted[:min(len(sorted), most)]
}

// host puts everything that is about one Host.
func (s *scrape) host(h *v1alpha1.Host) {
	for _, c := range h.Status.Conditions {
		s.put(hostCondition, 1, h.Namespace, h.Name, c.Type, string(c.Status))
	}
	if a := h.Status.Agent; a != nil {
		cut := func(text string) string { return wire.Cut(text, maxVersion) }
		s.put(hostInfo, 1, h.Namespace, h.Name, cut(a.Version), cut(a.ResticVersion), cut(a.OS), cut(a.Arch))
		s.put(hostClockSkew, float64(a.ClockSkewSeconds), h.Namespace, h.Name)
	}
	grace := time.Duration(0)
	if h.Spec.OfflineGrace != nil {
		grace = h.Spec.OfflineGrace.Duration
	}
	s.put(hostOfflineGrace, grace.Seconds(), h.Namespace, h.Name)
	s.put(hostSuspended, truth(h.Spec.Suspend), h.Namespace, h.Name)
	if c := meta.FindStatusCondition(h.Status.Conditions, v1alpha1.ConditionConnected); c != nil && c.Status == metav1.ConditionFalse && c.Reason != v1alpha1.ReasonNeverConnected {
		s.put(hostDisconnected, float64(c.LastTransitionTime.Unix()), h.Namespace, h.Name)
	}
	s.time(hostNextRun, h.Status.NextRunTime, h.Namespace, h.Name)
	s.backups(h)
	s.maintenance(h)
	s.repository(h)
}

// time puts a time that may be absent.
func (s *scrape) time(name string, t *metav1.Time, labels ...string) {
	if !t.IsZero() {
		s.put(name, float64(t.Unix()), labels...)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// backups puts what is expected of each source group, and what became of it.
func (s *scrape) backups(h *v1alpha1.Host) {
	for group, interval := range s.expected(h) {
		s.put(backupExpectedInterval, interval.Seconds(), h.Namespace, h.Name, group)
		i := slices.IndexFunc(h.Status.Overdue, func(o v1alpha1.OverdueBackup) bool { return o.SourceGroup == group })
		s.put(backupOverdue, truth(i >= 0), h.Namespace, h.Name, group)
		if i >= 0 { // the longest overdue is the first
			s.time(backupDue, &h.Status.Overdue[i].DueTime, h.Namespace, h.Name, group)
		}
	}
	for i := range h.Status.SourceGroups {
		r := &h.Status.SourceGroups[i]
		labels := []string{h.Namespace, h.Name, r.Name}
		s.put(backupLastResult, 1, h.Namespace, h.Name, r.Name, string(r.Result))
		s.put(backupFailures, float64(r.ConsecutiveFailures), labels...)
		s.time(backupLastSuccess, r.LastSuccessTime, labels...)
		s.time(backupLastFinish, r.FinishTime, labels...)
		if !r.StartTime.IsZero() && !r.FinishTime.IsZero() {
			s.put(backupLastDuration, max(r.FinishTime.Sub(r.StartTime.Time), 0).Seconds(), labels...)
		}
		if b := r.Backup; b != nil {
			s.put(backupLastProcessed, float64(b.BytesProcessed), labels...)
			s.put(backupLastAdded, float64(b.BytesStored), labels...)
		}
	}
}

// expected is the shortest interval in which a Schedule fires each group.
func (s *scrape) expected(h *v1alpha1.Host) map[string]time.Duration {
	shortest := map[string]time.Duration{}
	for i := range h.Status.Schedules {
		schedule := &h.Status.Schedules[i]
		if schedule.Suspended {
			continue
		}
		interval := s.interval(schedule.Cron, schedule.TimeZone)
		for _, g := range schedule.SourceGroups {
			if known, ok := shortest[g.Name]; !ok || interval < known {
				shortest[g.Name] = interval
			}
		}
	}
	return shortest
}

func (s *scrape) maintenance(h *v1alpha1.Host) {
	m := h.Status.Maintenance
	if m == nil {
		return
	}
	for _, operation := range []struct {
		name   string
		status *v1alpha1.OperationStatus
	}{{"forget", m.Forget}, {"prune", m.Prune}, {"check", m.Check}, {"verify", m.Verify}} {
		o := operation.status
		if o == nil {
			continue
		}
		labels := []string{h.Namespace, h.Name, operation.name}
		s.time(maintenanceLastSuccess, o.LastSuccessTime, labels...)
		s.time(maintenanceLastFinish, o.FinishTime, labels...)
		s.time(maintenanceNextRun, o.NextScheduleTime, labels...)
		s.put(maintenanceFailures, float64(o.ConsecutiveFailures), labels...)
	}
}

func (s *scrape) repository(h *v1alpha1.Host) {
	r := h.Status.Repository
	if r == nil {
		return
	}
	s.put(repositoryLock, truth(r.LockPresent), h.Namespace, h.Name)
	if r.Stats == nil {
		return
	}
	s.put(repositorySnapshots, float64(r.Stats.Snapshots), h.Namespace, h.Name)
	s.put(repositoryRestore, float64(r.Stats.RestoreBytes), h.Namespace, h.Name)
	s.put(repositoryFuture, float64(r.Stats.FutureSnapshots), h.Namespace, h.Name)
	if r.Stats.RawTime != nil {
		s.put(repositoryRaw, float64(r.Stats.RawBytes), h.Namespace, h.Name)
	}
}
