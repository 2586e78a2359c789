package enrol

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

// Step on the way to the first backup.
type Step struct {
	Name string
	Done bool
	// Says what is so, or what it waits for.
	Says string
}

// Steps says how far a host is.
func Steps(h *v1alpha1.Host, now time.Time) []Step {
	steps := []Step{
		conditionStep(h, "enrolled", v1alpha1.ConditionEnrolled, "paste the line on the machine"),
		conditionStep(h, "connected", v1alpha1.ConditionConnected, "start the agent on the machine: sudo systemctl enable --now restic-manager-agent"),
		conditionStep(h, "schedule set applied", v1alpha1.ConditionScheduleSetApplied, "the machine takes its schedule set"),
		conditionStep(h, "repository opened", v1alpha1.ConditionRepositoryReady, "the machine opens its repository, or initialises it"),
	}
	first := Step{Name: "first backup", Done: h.Status.LastSuccessTime != nil}
	switch {
	case first.Done:
		first.Says = "succeeded " + terminal.AgoOf(h.Status.LastSuccessTime, now) + " ago"
	case lastFailure(h) != "":
		first.Says = lastFailure(h)
	case h.Status.NextRunTime != nil:
		first.Says = "the next run begins " + terminal.In(h.Status.NextRunTime, now)
	default:
		first.Says = "nothing is scheduled for this host yet"
	}
	return append(steps, first)
}

func conditionStep(h *v1alpha1.Host, name, kind, waits string) Step {
	s := Step{Name: name, Says: waits}
	c := meta.FindStatusCondition(h.Status.Conditions, kind)
	switch {
	case c == nil:
	case c.Status == metav1.ConditionTrue:
		s.Done, s.Says = true, terminal.OneLine(c.Message)
	case c.Status == metav1.ConditionFalse && kind == v1alpha1.ConditionRepositoryReady, c.Reason == v1alpha1.ReasonRefused:
		s.Says = fmt.Sprintf("%s: %s", c.Reason, terminal.OneLine(c.Message))
	}
	return s
}

func lastFailure(h *v1alpha1.Host) string {
	for _, g := range h.Status.SourceGroups {
		if g.Result == v1alpha1.ResultFailed {
			return fmt.Sprintf("the backup of %s failed (%s): %s", g.Name, g.Reason, terminal.OneLine(g.Message))
		}
	}
	return ""
}

// current is the first step that is not done; -1 when all are.
func current(steps []Step) int {
	for i, s := range steps {
		if !s.Done {
			return i
		}
	}
	return -1
}
