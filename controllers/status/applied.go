package status

import (
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// maxNames bounds the hosts that a message names.
const maxNames = 10

// NotApplied names the hosts whose machine has not acked its present set, or whose present set does not hold the object in question.
func NotApplied(hosts []*v1alpha1.Host, sets []v1alpha1.ScheduleSet, holds func(*v1alpha1.ScheduleSetSpec) bool) []string {
	applied := map[string]bool{}
	for i := range sets {
		if spec := &sets[i].Spec; spec.Revision == sets[i].Status.AppliedRevision {
			applied[spec.Host.UID] = holds(spec)
		}
	}
	var names []string
	for _, host := range hosts {
		if !applied[string(host.UID)] {
			names = append(names, host.Name)
		}
	}
	return names
}

// Applied sets the condition Applied of an object that is for so many hosts, of which some wait for it.
func (s *Setter) Applied(matched int, waiting []string) {
	switch {
	case matched == 0:
		s.False(v1alpha1.ConditionApplied, v1alpha1.ReasonNoHostMatches, "there is no Host to apply it")
	case len(waiting) > 0:
		s.False(v1alpha1.ConditionApplied, v1alpha1.ReasonNotAppliedYet, "waiting for %d of %s: %s", len(waiting), Hosts(matched), Named(waiting))
	default:
		s.True(v1alpha1.ConditionApplied, v1alpha1.ReasonAppliedByAll, "in force on %s", Hosts(matched))
	}
}

// Hosts counts hosts in words.
func Hosts(n int) string {
	if n == 1 {
		return "1 Host"
	}
	return fmt.Sprintf("%d Hosts", n)
}

// Named lists at most ten names.
func Named(all []string) string {
	if len(all) > maxNames {
		return strings.Join(all[:maxNames], ", ") + ", …"
	}
	return strings.Join(all, ", ")
}

// SetProgressed passes what changes the outcome of NotApplied: not a connection, an offer or a refusal.
var SetProgressed = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*v1alpha1.ScheduleSet)
		if !ok {
			return false
		}
		after, ok := e.ObjectNew.(*v1alpha1.ScheduleSet)
		return ok && (before.Spec.Revision != after.Spec.Revision || before.Status.AppliedRevision != after.Status.AppliedRevision)
	},
}
