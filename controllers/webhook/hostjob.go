package webhook

import (
	"context"
	"fmt"
	"strings"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
)

// Nothing in a HostJob is refused here: the schema knows what cannot work, and the rest may still come before its starting deadline.
var hostJobs = judge[*v1alpha1.HostJob]{warn: warnJob}

func warnJob(ctx context.Context, v view, job *v1alpha1.HostJob) ([]string, error) {
	host, err := v.host(ctx, job.Spec.HostRef.Name)
	if err != nil {
		return nil, err
	}
	target := host
	if ref := job.Spec.TargetRef; ref != nil {
		if target, err = v.host(ctx, ref.Name); err != nil {
			return nil, err
		}
	}
	var group *v1alpha1.SourceGroup
	if name := job.GroupName(); name != "" {
		if group, err = v.group(ctx, name); err != nil {
			return nil, err
		}
	}
	return aroundJob(job, host, target, group), nil
}

// aroundJob tells what a job names and there is not.
func aroundJob(job *v1alpha1.HostJob, host, target *v1alpha1.Host, group *v1alpha1.SourceGroup) []string {
	var warnings []string
	if host == nil {
		warnings = append(warnings, noHost("spec.hostRef", job.Spec.HostRef.Name))
	}
	if ref := job.Spec.TargetRef; ref != nil && target == nil {
		warnings = append(warnings, noHost("spec.targetRef", ref.Name))
	}
	name := job.GroupName()
	if name == "" {
		return warnings
	}
	path := fmt.Sprintf("spec.%s.sourceGroup", strings.ToLower(string(job.Spec.Kind)))
	switch {
	case group == nil:
		warnings = append(warnings, fmt.Sprintf("%s: there is no SourceGroup %q in this namespace: create it, or name another one", path, name))
	case host != nil && job.Spec.Kind == v1alpha1.HostJobBackup:
		if matches, err := compile.Matches(group.Spec.Selector, host); err != nil || !matches {
			warnings = append(warnings, fmt.Sprintf("%s: SourceGroup %q is not for Host %q: change its hostRef or hostSelector, or name another group", path, name, host.Name))
		}
	}
	return warnings
}
