package gitops

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func TestSourceGroups(t *testing.T) {
	o := startOperator(t)
	group := newGroup("etc")
	byName := func(spec *v1alpha1.SourceGroupSpec) {
		spec.Selector = v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "web-1"}}
	}
	expectStates(t, o, []state{
		{
			name:  "one that matches no Host is current",
			given: func(s *space) { s.create(newGroup("etc")) },
			about: group, ready: "True NoHostMatches", want: status.CurrentStatus,
		},
		{
			name:  "one that no machine has taken yet is current",
			given: func(s *space) { s.create(newHost("web-1"), newGroup("etc")) },
			about: group, ready: "True Accepted", also: told{"Applied": "False NotAppliedYet"}, want: status.CurrentStatus,
		},
		{
			name: "one that every machine runs is current",
			given: func(s *space) {
				s.create(newHost("web-1", enrolled(s.t)), newGroup("etc"))
				s.until("it is published", newHost("web-1"), told{"Ready": "True Published"})
				s.connect("web-1")
			},
			about: group, ready: "True Accepted", also: told{"Applied": "True AppliedByAll"}, want: status.CurrentStatus,
		},
		{
			name: "one whose retention nobody enforces is current",
			given: func(s *space) {
				s.create(newHost("web-1"), newGroup("etc", func(spec *v1alpha1.SourceGroupSpec) { spec.Retention = &v1alpha1.Retention{KeepLast: 1} }), newMaintenance("check"))
			},
			about: group, ready: "True Accepted", also: told{"RetentionEnforced": "False NoForget"}, want: status.CurrentStatus,
		},
		{
			name:  "one for a Host that is missing is in progress: it may come with the same sync",
			given: func(s *space) { s.create(newGroup("etc", byName)) },
			about: group, ready: "False HostNotFound", want: status.InProgressStatus,
		},
		{
			name:  "one that cannot work has failed",
			given: func(s *space) { s.create(newHost("web-1"), newGroup("etc", invalidGroup)) },
			about: group, ready: "False Invalid", also: told{"Stalled": "True Invalid"}, want: status.FailedStatus,
		},
	})
}

func TestSchedules(t *testing.T) {
	o := startOperator(t)
	schedule := newSchedule("nightly")
	expectStates(t, o, []state{
		{
			name:  "one that is accepted is current",
			given: func(s *space) { s.create(newHost("web-1"), newGroup("etc"), newSchedule("nightly")) },
			about: schedule, ready: "True Accepted", also: told{"Applied": "False NotAppliedYet"}, want: status.CurrentStatus,
		},
		{
			name: "one for no Host is current",
			given: func(s *space) {
				s.create(newGroup("etc"), newSchedule("nightly"))
			},
			about: schedule, ready: "True NoHostMatches", also: told{"SourceGroupsFound": "False NoSharedHost"}, want: status.CurrentStatus,
		},
		{
			name: "one that names a missing group beside one that exists is current: the other works",
			given: func(s *space) {
				s.create(newHost("web-1"), newGroup("etc"), newSchedule("nightly", func(spec *v1alpha1.ScheduleSpec) { spec.SourceGroups = []string{"etc", "home"} }))
			},
			about: schedule, ready: "True Accepted", also: told{"SourceGroupsFound": "False SourceGroupNotFound"}, want: status.CurrentStatus,
		},
		{
			name: "a suspended one is current",
			given: func(s *space) {
				s.create(newHost("web-1"), newGroup("etc"), newSchedule("nightly", func(spec *v1alpha1.ScheduleSpec) { spec.Suspend = true }))
			},
			about: schedule, ready: "True Suspended", want: status.CurrentStatus,
		},
		{
			name:  "one without any of its groups is in progress: they may come with the same sync",
			given: func(s *space) { s.create(newSchedule("nightly")) },
			about: schedule, ready: "False SourceGroupNotFound", want: status.InProgressStatus,
		},
		{
			name: "one whose cron expression cannot work has failed",
			given: func(s *space) {
				s.create(newSchedule("nightly", func(spec *v1alpha1.ScheduleSpec) { spec.Cron = "61 * * * *" }))
			},
			about: schedule, ready: "False Invalid", also: told{"Stalled": "True Invalid"}, want: status.FailedStatus,
		},
		{
			name: "one whose time zone does not exist has failed",
			given: func(s *space) {
				s.create(newGroup("etc"), newSchedule("nightly", func(spec *v1alpha1.ScheduleSpec) { spec.TimeZone = "Europe/Atlantis" }))
			},
			about: schedule, ready: "False Invalid", also: told{"Stalled": "True Invalid"}, want: status.FailedStatus,
		},
	})
}

func TestRepoMaintenances(t *testing.T) {
	o := startOperator(t)
	check := newMaintenance("check")
	executor := func(spec *v1alpha1.RepoMaintenanceSpec) { spec.ExecutorRef = &v1alpha1.LocalReference{Name: "vault"} }
	vault := func(s *space) *v1alpha1.Host {
		return newHost("vault", enrolled(s.t), func(h *v1alpha1.Host) { h.Labels = nil })
	}
	expectStates(t, o, []state{
		{
			name:  "one of which nothing has run yet is current",
			given: func(s *space) { s.create(newHost("web-1"), newMaintenance("check")) },
			about: check, ready: "True Accepted", also: told{"Healthy": "Unknown NothingRunYet"}, want: status.CurrentStatus,
		},
		{
			name:  "the one that the operator makes is current",
			given: func(s *space) { s.create(newHost("web-1")) },
			about: newMaintenance("web-1-default"), ready: "True Accepted", also: told{"AdminCredentialsBound": "False NoAdminCredentials"}, want: status.CurrentStatus,
		},
		{
			name: "one whose last run failed is current",
			given: func(s *space) {
				s.create(newHost("web-1"), newMaintenance("check"))
				s.until("it is in force", check, told{"Ready": "True Accepted"})
				report(s, "web-1", &v1alpha1.Host{}, func(h *v1alpha1.Host) {
					h.Status.Maintenance = &v1alpha1.MaintenanceStatus{URL: h.Spec.Repository.URL, Check: &v1alpha1.OperationStatus{
						Result: v1alpha1.ResultFailed, Reason: "RepositoryDamaged", FinishTime: new(metav1.NewTime(s.clock.Now())), ConsecutiveFailures: 1,
					}}
				})
			},
			about: check, ready: "True Accepted", also: told{"Healthy": "False OperationsFailing"}, want: status.CurrentStatus,
		},
		{
			name:  "one for no Host is current",
			given: func(s *space) { s.create(newMaintenance("check")) },
			about: check, ready: "True NoHostMatches", want: status.CurrentStatus,
		},
		{
			name: "a suspended one is current",
			given: func(s *space) {
				s.create(newHost("web-1"), newMaintenance("check", func(spec *v1alpha1.RepoMaintenanceSpec) { spec.Suspend = true }))
			},
			about: check, ready: "True Suspended", want: status.CurrentStatus,
		},
		{
			name: "one for many to which no Host is left is current: it is what counts for the next one",
			given: func(s *space) {
				s.create(vault(s), newHost("web-1"), newMaintenance("first", forHost("web-1"), executor), newMaintenance("check"))
			},
			about: check, ready: "True Overridden", want: status.CurrentStatus,
		},
		{
			name: "one for a Host for which another one counts is in progress: that one may go with the same sync",
			given: func(s *space) {
				s.create(vault(s), newHost("web-1"), newMaintenance("first", executor), newMaintenance("check", forHost("web-1")))
			},
			about: check, ready: "False Overridden", want: status.InProgressStatus,
		},
		{
			name:  "one for a Host that is missing is in progress: it may come with the same sync",
			given: func(s *space) { s.create(newMaintenance("check", forHost("web-1"))) },
			about: check, ready: "False HostNotFound", want: status.InProgressStatus,
		},
		{
			name:  "one whose executor is missing is in progress",
			given: func(s *space) { s.create(newHost("web-1"), newMaintenance("check", executor)) },
			about: check, ready: "False ExecutorNotFound", want: status.InProgressStatus,
		},
		{
			name:  "one whose executor is away is current",
			given: func(s *space) { s.create(vault(s), newHost("web-1"), newMaintenance("check", executor)) },
			about: check, ready: "True Accepted", also: told{"Healthy": "False ExecutorNotConnected"}, want: status.CurrentStatus,
		},
		{
			name: "one whose cron expression cannot work has failed",
			given: func(s *space) {
				s.create(newHost("web-1"), newMaintenance("check", func(spec *v1alpha1.RepoMaintenanceSpec) { spec.Check.Cron = "61 * * * *" }))
			},
			about: check, ready: "False Invalid", also: told{"Stalled": "True Invalid"}, want: status.FailedStatus,
		},
	})
}
