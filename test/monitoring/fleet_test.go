package monitoring

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// machine is a Host in some state, and what Prometheus is to say about it.
type machine struct {
	name   string
	change func(h *v1alpha1.Host)
	alerts []string
}

func ago(d time.Duration) *metav1.Time {
	return new(metav1.NewTime(time.Now().Add(-d).Truncate(time.Second)))
}

// is sets a condition that has had its status for an hour.
func is(h *v1alpha1.Host, kind string, status metav1.ConditionStatus) {
	for i := range h.Status.Conditions {
		if h.Status.Conditions[i].Type == kind {
			h.Status.Conditions[i].Status = status
			return
		}
	}
	h.Status.Conditions = append(h.Status.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: "Test", Message: "the state that the test wants", LastTransitionTime: *ago(time.Hour),
	})
}

// healthy is everything that is known of a machine without any trouble.
func healthy(h *v1alpha1.Host) {
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionEnrolled, v1alpha1.ConditionConnected, v1alpha1.ConditionScheduleSetApplied,
		v1alpha1.ConditionRepositoryReady, v1alpha1.ConditionRepositoryHealthy, v1alpha1.ConditionClockSynchronised, v1alpha1.ConditionBackupsCurrent,
		v1alpha1.ConditionCredentialsExported} {
		is(h, kind, metav1.ConditionTrue)
	}
	h.Status.Agent = &v1alpha1.AgentStatus{Version: "v0.1.0", Protocol: 1, ResticVersion: "0.19.1", OS: "linux", Arch: "amd64", ClockSkewSeconds: 7}
	h.Status.NextRunTime = ago(-time.Hour)
	h.Status.Schedules = []v1alpha1.HostSchedule{{Name: "nightly", Cron: "30 2 * * *", TimeZone: "UTC",
		SourceGroups: []v1alpha1.HostScheduleGroup{{Name: "etc", Since: *ago(100 * time.Hour)}}}}
	h.Status.SourceGroups = []v1alpha1.SourceGroupResult{{Name: "etc", JobID: "job-1", Result: v1alpha1.ResultSucceeded, StartTime: ago(2 * time.Hour),
		FinishTime: ago(time.Hour), LastSuccessTime: ago(time.Hour), Backup: &v1alpha1.BackupSummary{BytesProcessed: 1 << 30, BytesAdded: 1 << 20}}}
	h.Status.LastSuccessTime = ago(time.Hour)
	done := func(d time.Duration) *v1alpha1.OperationStatus {
		return &v1alpha1.OperationStatus{Result: v1alpha1.ResultSucceeded, FinishTime: ago(d), LastSuccessTime: ago(d), NextScheduleTime: ago(-time.Hour)}
	}
	h.Status.Maintenance = &v1alpha1.MaintenanceStatus{Forget: done(time.Hour), Prune: done(24 * time.Hour), Check: done(24 * time.Hour), Verify: done(24 * time.Hour)}
	h.Status.Repository = &v1alpha1.RepositoryStatus{State: "Ready", Time: *ago(time.Hour), Stats: &v1alpha1.RepositoryStats{
		Time: *ago(time.Hour), ListedTime: *ago(time.Hour), Snapshots: 7, RestoreBytes: 1 << 30, RawBytes: 1 << 29, RawTime: ago(time.Hour)}}
}

func conditionIs(kind string, status metav1.ConditionStatus) func(*v1alpha1.Host) {
	return func(h *v1alpha1.Host) { is(h, kind, status) }
}

const off = metav1.ConditionFalse

// fleet has a machine for each trouble, one without any, and one that has its reasons.
var fleet = []machine{
	{"fine", nil, nil},
	{"laptop-that-is-off", func(h *v1alpha1.Host) {
		is(h, v1alpha1.ConditionConnected, off)
		is(h, v1alpha1.ConditionRepositoryReady, off)
		h.Spec.OfflineGrace = &metav1.Duration{Duration: 8 * time.Hour}
		h.Status.Repository.LockPresent = true
		h.Status.Maintenance.Verify.LastSuccessTime = ago(50 * 24 * time.Hour)
	}, nil},
	{"parked", func(h *v1alpha1.Host) {
		is(h, v1alpha1.ConditionConnected, off)
		h.Spec.Suspend = true
		h.Status.SourceGroups[0].ConsecutiveFailures = 5
	}, nil},
	{"away", conditionIs(v1alpha1.ConditionConnected, off), list("HostDisconnected")},
	{"new", func(h *v1alpha1.Host) {
		h.Status = v1alpha1.HostStatus{}
		is(h, v1alpha1.ConditionReady, metav1.ConditionTrue)
		is(h, v1alpha1.ConditionEnrolled, off)
		is(h, v1alpha1.ConditionConnected, off)
		h.Status.Conditions[2].Reason = v1alpha1.ReasonNeverConnected
	}, list("HostNotEnrolled")},
	{"late", func(h *v1alpha1.Host) {
		is(h, v1alpha1.ConditionBackupsCurrent, off)
		h.Status.Overdue = []v1alpha1.OverdueBackup{{SourceGroup: "etc", Schedule: "nightly", DueTime: *ago(30 * time.Hour)}}
	}, list("BackupOverdue")},
	{"failing", func(h *v1alpha1.Host) {
		h.Status.SourceGroups[0].Result, h.Status.SourceGroups[0].ConsecutiveFailures = v1alpha1.ResultFailed, 2
	}, list("BackupFailing")},
	{"misspelt", conditionIs(v1alpha1.ConditionReady, off), list("HostNotReady")},
	{"stubborn", conditionIs(v1alpha1.ConditionScheduleSetApplied, off), list("SetRefused")},
	{"out-of-time", conditionIs(v1alpha1.ConditionClockSynchronised, off), list("ClockSkewed")},
	{"cloned", conditionIs(v1alpha1.ConditionDuplicateIdentity, metav1.ConditionTrue), list("DuplicateIdentity")},
	{"minted", conditionIs(v1alpha1.ConditionCredentialsExported, off), list("PasswordNotExported")},
	{"damaged", conditionIs(v1alpha1.ConditionRepositoryHealthy, off), list("RepositoryDamaged")},
	{"unreachable", conditionIs(v1alpha1.ConditionRepositoryReady, off), list("RepositoryUnreachable")},
	{"locked", func(h *v1alpha1.Host) { h.Status.Repository.LockPresent = true }, list("RepositoryLocked")},
	{"ahead", func(h *v1alpha1.Host) { h.Status.Repository.Stats.FutureSnapshots = 2 }, list("FutureSnapshots")},
	{"check-fails", func(h *v1alpha1.Host) { h.Status.Maintenance.Check.ConsecutiveFailures = 1 }, list("CheckFailing")},
	{"unchecked", func(h *v1alpha1.Host) { h.Status.Maintenance.Check.LastSuccessTime = ago(50 * 24 * time.Hour) }, list("CheckMissing")},
	{"unpruned", func(h *v1alpha1.Host) { h.Status.Maintenance.Prune.ConsecutiveFailures = 2 }, list("MaintenanceFailing")},
	{"undrilled", func(h *v1alpha1.Host) { h.Status.Maintenance.Verify.LastSuccessTime = ago(50 * 24 * time.Hour) }, list("RestoreDrillMissing")},
	{"drill-less", func(h *v1alpha1.Host) { h.Status.Maintenance.Verify = nil }, list("RestoreDrillNotPlanned")},
	{"retired", func(h *v1alpha1.Host) { // what failed is fired no more
		h.Status.SourceGroups[0].Result, h.Status.SourceGroups[0].ConsecutiveFailures = v1alpha1.ResultFailed, 5
		h.Status.Schedules[0].Suspended = true
	}, nil},
	{"never-drilled", func(h *v1alpha1.Host) { h.Status.Maintenance.Verify.LastSuccessTime = nil }, list("RestoreDrillNeverPassed")},
}

func list(alerts ...string) []string { return alerts }
