package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Kinds of the objects that findings speak of.
const (
	KindHost        = "Host"
	KindSourceGroup = "SourceGroup"
	KindSchedule    = "Schedule"
)

// Finding is something in an object that cannot work, or not as it is written.
type Finding struct {
	// Kind and Name of the object, in the namespace of the host.
	Kind string
	Name string
	// Field is a path such as spec.cron.
	Field string
	// Reason is one of v1alpha1: ReasonInvalid, ReasonSourceGroupNotFound, ReasonNoSharedHost, ReasonHostNotFound, ReasonTagShared.
	Reason string
	// Message is a sentence for a condition; it says what to do.
	Message string
	// Meanwhile is the end of Message that says what holds until it is corrected; empty for none.
	Meanwhile string
}

// Problem is Message without Meanwhile: what to tell somebody whose change is refused.
func (f Finding) Problem() string { return strings.TrimSuffix(f.Message, f.Meanwhile) }

// String is for logs and lists.
func (f Finding) String() string {
	return fmt.Sprintf("%s %s: %s: %s", f.Kind, f.Name, f.Field, f.Message)
}

// sortFindings orders findings and drops those that stand twice.
func sortFindings(findings []Finding) []Finding {
	slices.SortFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(findings)
}
