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

// CheckGroup tells what in a group cannot work on any host. A group with such a finding reaches no agent, and none of its snapshots is forgotten.
func CheckGroup(group *v1alpha1.SourceGroup) []Finding {
	var findings []Finding
	if _, err := matcher(group.Spec.Selector); err != nil {
		findings = append(findings, invalidSelector(KindSourceGroup, group.Name, err))
	}
	findings = append(findings, checkTimeZone(KindSourceGroup, group.Name, group.Spec.Bandwidth, "")...)
	compiled := Group(group)
	if err := compiled.Validate(); err != nil {
		findings = append(findings, Finding{Kind: KindSourceGroup, Name: group.Name, Field: "spec", Reason: v1alpha1.ReasonInvalid, Message: err.Error()})
	}
	return findings
}

// CheckRetention tells why a group's retention can not be followed: then nothing of the group is forgotten, and its backups go on. A group without a
// retention has no such finding.
func CheckRetention(group *v1alpha1.SourceGroup) []Finding {
	if group.Spec.Retention == nil {
		return nil
	}
	policy := Retention(group.Spec.Retention)
	if err := policy.Validate(); err != nil {
		const meanwhile = ". Until it is corrected all snapshots are kept"
		return []Finding{{
			Kind: KindSourceGroup, Name: group.Name, Field: "spec.retention", Reason: v1alpha1.ReasonInvalid,
			Message: err.Error() + meanwhile, Meanwhile: meanwhile,
		}}
	}
	return nil
}

// CheckHost tells what in a Host counts otherwise than it is written.
func CheckHost(host *v1alpha1.Host) []Finding {
	return checkTimeZone(KindHost, host.Name, host.Spec.Bandwidth, "; until it is corrected the windows count in UTC")
}

func checkTimeZone(kind, name string, b *v1alpha1.Bandwidth, meanwhile string) []Finding {
	if b == nil {
		return nil
	}
	err := checkZone(b.TimeZone)
	if err == nil {
		return nil
	}
	return []Finding{{
		Kind: kind, Name: name, Field: "spec.bandwidth.timeZone", Reason: v1alpha1.ReasonInvalid,
		Message: err.Error() + meanwhile, Meanwhile: meanwhile,
	}}
}

// checkZone has one meaning of a time zone for schedules and windows.
func checkZone(name string) error {
	_, err := cronspec.Parse("@daily", name)
	return err
}
