package webhook

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// maxNames bounds the Schedules that a refusal names.
const maxNames = 10

// keepGroup refuses the deletion of a SourceGroup that Schedules name: their backups would stop. A Schedule can always be deleted or changed, so the
// refusal asks for an order and never for the impossible. It lets pass what nobody could put in order:
//
//   - what goes with its namespace, in whatever order that is emptied;
//   - what the garbage collector deletes because its owner is gone: nobody reads the refusal there, and it would try for ever;
//   - what was deleted before and waits for a finalizer;
//   - a group that only Schedules name which are going too, or which it owns;
//   - one with the annotation allow-deletion, for tools that delete in an order of their own.
func keepGroup(ctx context.Context, see sight, user string, group *v1alpha1.SourceGroup) (refusal string, warnings []string, err error) {
	if !group.DeletionTimestamp.IsZero() || collectsGarbage(user) {
		return "", nil, nil
	}
	names, err := see.twice(group.Namespace, func(v view) ([]string, error) {
		schedules, err := v.schedules(ctx)
		return namedBy(group, schedules), err
	})
	if err != nil || len(names) == 0 {
		return "", nil, err
	}
	// Not earlier: it costs a request, and most groups are named by nobody when they go.
	terminating, err := see.terminating(ctx, group.Namespace)
	if err != nil || terminating {
		return "", nil, err
	}
	if group.Annotations[v1alpha1.AnnotationAllowDeletion] == "true" {
		return "", []string{fmt.Sprintf("SourceGroup %q was named by %s: what it backed up is backed up no more", group.Name, listed(names))}, nil
	}
	return fmt.Sprintf("SourceGroup %q is named by %s: take it out of spec.sourceGroups there, or delete the %s first. "+
		"To delete it all the same: kubectl -n %s annotate sourcegroup %s %s=true",
		group.Name, listed(names), kindOf(names), group.Namespace, group.Name, v1alpha1.AnnotationAllowDeletion), nil, nil
}

// collectsGarbage tells the controller manager's garbage collector, with an account of its own or without.
func collectsGarbage(user string) bool {
	return user == "system:serviceaccount:kube-system:generic-garbage-collector" || user == "system:kube-controller-manager"
}

// namedBy returns the names of the Schedules that stay and name a group, sorted.
func namedBy(group *v1alpha1.SourceGroup, schedules []v1alpha1.Schedule) []string {
	var names []string
	for i := range schedules {
		s := &schedules[i]
		goes := !s.DeletionTimestamp.IsZero() || slices.ContainsFunc(s.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == group.UID })
		if !goes && slices.Contains(s.Spec.SourceGroups, group.Name) {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}

func listed(names []string) string {
	if left := len(names) - maxNames; left > 0 {
		return fmt.Sprintf("%s %s and %d more", kindOf(names), strings.Join(names[:maxNames], ", "), left)
	}
	return kindOf(names) + " " + strings.Join(names, ", ")
}

func kindOf(names []string) string {
	if len(names) == 1 {
		return "Schedule"
	}
	return "Schedules"
}
