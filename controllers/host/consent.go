package host

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// maxNamed bounds the groups that a message names, maxReported what it repeats of a machine's words.
const (
	maxNamed    = 10
	maxReported = 512
)

// consents are the names of the keys below allow in agent.yaml, and what they are about.
var consents = []struct{ key, singular string }{{"hooks", "hooks"}, {"commands", "the command"}}

// allowedByMachine tells whether the machine's owner allows the hooks and commands of its set. keep asks to leave the condition as it stands: what is
// to be published is not known, or the machine has not said what it thinks of it.
func allowedByMachine(set *v1alpha1.ScheduleSet, compiled *wire.ScheduleSet, before *metav1.Condition) (v verdictOn, present, keep bool) {
	switch {
	case set == nil:
		return verdictOn{}, false, false
	case compiled == nil:
		return verdictOn{}, false, true
	case !asksForConsent(compiled):
		return verdictOn{}, false, false
	case set.Status.AppliedRevision != set.Spec.Revision:
		return verdictOn{status: metav1.ConditionUnknown, reason: v1alpha1.ReasonPending,
			message: "the machine has not said yet whether its owner allows the hooks and commands of its set"}, true, before != nil
	case len(set.Status.NotAllowed) == 0:
		return verdictOn{status: metav1.ConditionTrue, reason: v1alpha1.ReasonAllAllowed, message: "agent.yaml on the machine allows the hooks and commands of its set"}, true, false
	}
	return verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonNotAllowedByMachine, message: notAllowedMessage(set.Status.NotAllowed)}, true, false
}

func asksForConsent(set *wire.ScheduleSet) bool {
	return set.Hooks.Any() || slices.ContainsFunc(set.Groups, func(g wire.SourceGroup) bool { return len(g.Command) > 0 || g.Hooks.Any() })
}

// notAllowedMessage names the groups, and the keys of agent.yaml that would allow them.
func notAllowedMessage(refused []v1alpha1.NotAllowed) string {
	var parts, keys []string
	hostsOwn := false
	for _, consent := range consents {
		var groups []string
		own := false
		for _, n := range refused {
			switch {
			case n.What != consent.key:
			case n.SourceGroup == "":
				own = true
			default:
				groups = append(groups, n.SourceGroup)
			}
		}
		if own {
			parts, hostsOwn = append(parts, consent.singular+" of the Host"), true
		}
		if len(groups) > 0 {
			parts = append(parts, fmt.Sprintf("%s of SourceGroup %s", consent.singular, namesOf(groups)))
		}
		if own || len(groups) > 0 {
			keys = append(keys, "allow."+consent.key)
		}
	}
	if len(parts) == 0 { // a consent that this version does not know
		parts, keys = []string{"something in its set"}, []string{"allow"}
	}
	which := "their backups fail"
	if hostsOwn {
		which = "all backups fail"
	}
	message := fmt.Sprintf("agent.yaml on the machine does not allow %s: %s. Its owner can allow it there (%s)", strings.Join(parts, " and "), which, strings.Join(keys, ", "))
	if said := refused[0].Message; said != "" {
		if runes := []rune(said); len(runes) > maxReported {
			said = string(runes[:maxReported]) + "…"
		}
		message += "; the machine says: " + said
	}
	return message
}

func namesOf(all []string) string {
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) > maxNamed {
		return strings.Join(all[:maxNamed], ", ") + ", …"
	}
	return strings.Join(all, ", ")
}
