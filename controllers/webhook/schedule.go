package webhook

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
)

var schedules = judge[*v1alpha1.Schedule]{refuse: refuseSchedule, warn: warnSchedule}

func refuseSchedule(schedule *v1alpha1.Schedule) field.ErrorList {
	return fieldErrors(compile.CheckSchedule(schedule))
}

func warnSchedule(ctx context.Context, v view, schedule *v1alpha1.Schedule) ([]string, error) {
	groups, err := v.groups(ctx)
	if err != nil {
		return nil, err
	}
	hosts, err := v.hosts(ctx)
	if err != nil {
		return nil, err
	}
	_, findings := compile.ScheduleHosts(schedule, groups, hosts)
	return sentences(findings), nil
}

// fieldErrors words findings for somebody whose change is refused.
func fieldErrors(findings ...[]compile.Finding) field.ErrorList {
	var errs field.ErrorList
	for _, f := range slices.Concat(findings...) {
		errs = append(errs, invalid(f.Field, f.Problem()))
	}
	return errs
}

// sentences words findings for a warning.
func sentences(findings []compile.Finding) []string {
	var all []string
	for _, f := range findings {
		all = append(all, f.Field+": "+f.Message)
	}
	return all
}
