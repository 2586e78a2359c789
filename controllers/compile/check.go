package compile

import (
	"strings"

	"github.com/restic-manager/restic-manager/api/cronspec"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// CheckSchedule tells what in a schedule cannot work on any host: its cron expression, time zone or label selector. A schedule with such a finding
// reaches no agent.
func CheckSchedule(schedule *v1alpha1.Schedule) []Finding {
	var findings []Finding
	if _, err := cronspec.Parse(schedule.Spec.Cron, schedule.Spec.TimeZone); err != nil {
		field := "spec.cron"
		if strings.HasPrefix(err.Error(), "timeZone") {
			field = "spec.timeZone"
		}
		findings = append(findings, Finding{Kind: KindSchedule, Name: schedule.Name, Field: field, Reason: v1alpha1.ReasonInvalid, Message: err.Error()})
	}
	if _, err := labelMatcher(schedule.Spec.HostSelector); err != nil {
		findings = append(findings, invalidSelector(KindSchedule, schedule.Name, err))
	}
	return findings
}

// CheckGroup tells what in a group cannot work on any host. A group with such a finding reaches no agent.
func CheckGroup(group *v1alpha1.SourceGroup) []Finding {
	var findings []Finding
	if _, err := matcher(group.Spec.Selector); err != nil {
		findings = append(findings, invalidSelector(KindSourceGroup, group.Name, err))
	}
	compiled := Group(group)
	if err := compiled.Validate(); err != nil {
		findings = append(findings, Finding{Kind: KindSourceGroup, Name: group.Name, Field: "spec", Reason: v1alpha1.ReasonInvalid, Message: err.Error()})
	}
	return findings
}
