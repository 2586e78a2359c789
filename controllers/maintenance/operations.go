package maintenance

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/cronspec"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Operation is what maintenance does to a repository. Its value is that of LabelOperation.
type Operation string

// The operations.
const (
	Forget Operation = "forget"
	Prune  Operation = "prune"
	Check  Operation = "check"
	Verify Operation = "verify"
)

// Operations is the order in which they run when several are due: forget first, so that prune frees what it released, and check looks at what prune wrote.
var Operations = []Operation{Forget, Prune, Check, Verify}

// Kind is the kind of a HostJob that does the operation.
func (o Operation) Kind() v1alpha1.HostJobKind {
	return map[Operation]v1alpha1.HostJobKind{
		Forget: v1alpha1.HostJobForget, Prune: v1alpha1.HostJobPrune, Check: v1alpha1.HostJobCheck, Verify: v1alpha1.HostJobVerify,
	}[o]
}

// OperationOf is the operation that a HostJob of this kind does; false for other kinds.
func OperationOf(kind v1alpha1.HostJobKind) (Operation, bool) {
	for _, o := range Operations {
		if o.Kind() == kind {
			return o, true
		}
	}
	return "", false
}

// PerHost tells operations that each machine does for itself from those that are done once for a repository.
func (o Operation) PerHost() bool { return o == Verify }

// CadenceOf is when the operation runs; nil when it is not asked for.
func (o Operation) CadenceOf(spec *v1alpha1.RepoMaintenanceSpec) *v1alpha1.Cadence {
	switch {
	case o == Forget && spec.Forget != nil:
		return spec.Forget
	case o == Prune && spec.Prune != nil:
		return &spec.Prune.Cadence
	case o == Check && spec.Check != nil:
		return &spec.Check.Cadence
	case o == Verify && spec.Verify != nil:
		return &spec.Verify.Cadence
	}
	return nil
}

// StatusOf points to the operation's place in a status; nil there means that nothing is known.
func (o Operation) StatusOf(m *v1alpha1.MaintenanceStatus) **v1alpha1.OperationStatus {
	switch o {
	case Forget:
		return &m.Forget
	case Prune:
		return &m.Prune
	case Check:
		return &m.Check
	}
	return &m.Verify
}

// Problem is what in a spec cannot work on any repository.
type Problem struct {
	// Field is a path such as spec.forget.cron.
	Field string
	// Message is a sentence that says what to write instead.
	Message string
}

// Problems tells everything in a spec that cannot work on any repository, each field once.
func Problems(spec *v1alpha1.RepoMaintenanceSpec) []Problem {
	var problems []Problem
	add := func(field string, err error) {
		if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Field == field }) {
			problems = append(problems, Problem{field, err.Error()})
		}
	}
	if _, err := metav1.LabelSelectorAsSelector(spec.HostSelector); err != nil {
		add("spec.hostSelector", err)
	}
	for _, o := range Operations {
		cadence := o.CadenceOf(spec)
		if cadence == nil {
			continue
		}
		if _, err := cronspec.Parse(cadence.Cron, spec.TimeZone); err != nil {
			field := "spec." + string(o) + ".cron"
			if strings.HasPrefix(err.Error(), "timeZone") {
				field = "spec.timeZone"
			}
			add(field, err)
		}
	}
	return problems
}

// CheckSpec returns the first of Problems as a sentence that begins with the field.
func CheckSpec(spec *v1alpha1.RepoMaintenanceSpec) error {
	if problems := Problems(spec); len(problems) > 0 {
		return fmt.Errorf("%s: %s", problems[0].Field, problems[0].Message)
	}
	return nil
}
