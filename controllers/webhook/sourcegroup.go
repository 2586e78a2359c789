package webhook

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
)

var sourceGroups = judge[*v1alpha1.SourceGroup]{refuse: refuseGroup, warn: warnGroup, keep: keepGroup}

func refuseGroup(group *v1alpha1.SourceGroup) field.ErrorList {
	return fieldErrors(compile.CheckGroup(group), compile.CheckRetention(group))
}

func warnGroup(ctx context.Context, v view, group *v1alpha1.SourceGroup) ([]string, error) {
	hosts, err := v.hosts(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := v.groups(ctx)
	if err != nil {
		return nil, err
	}
	return aroundGroup(group, groups, hosts), nil
}

// aroundGroup tells that a group is for no host, or has the tag of another one.
func aroundGroup(group *v1alpha1.SourceGroup, groups []v1alpha1.SourceGroup, hosts []v1alpha1.Host) []string {
	matched, findings := compile.GroupHosts(group, hosts)
	if len(findings) == 0 && len(matched) == 0 {
		return []string{"spec.hostSelector: no Host in this namespace has such labels: the SourceGroup is for no Host"}
	}
	if group.Spec.Retention != nil {
		others := slices.DeleteFunc(slices.Clone(groups), func(g v1alpha1.SourceGroup) bool { return g.Name == group.Name })
		findings = append(findings, compile.TagConflicts(group, append(others, *group), matched)...)
	}
	return sentences(findings)
}
