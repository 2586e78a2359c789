package status

import (
	"fmt"
	"strings"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// maxNames bounds the hosts that a message names.
const maxNames = 10

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
