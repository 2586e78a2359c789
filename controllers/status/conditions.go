package status

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// maxMessage bounds a condition's message, in bytes: the API allows 32 KiB, a person reads one paragraph.
const maxMessage = 2048

// MaxNote bounds the text of an Event, in bytes: the API allows 1024.
const MaxNote = 1000

// Setter sets conditions that speak of one generation of an object.
type Setter struct {
	conditions *[]metav1.Condition
	generation int64
	now        metav1.Time
}

// For returns a setter for an object's conditions. lastTransitionTime comes from clk and changes only when a status does.
func For(conditions *[]metav1.Condition, generation int64, clk clock.PassiveClock) *Setter {
	return &Setter{conditions: conditions, generation: generation, now: metav1.NewTime(clk.Now())}
}

// True sets a condition to True.
func (s *Setter) True(kind, reason, format string, args ...any) {
	s.Set(kind, metav1.ConditionTrue, reason, fmt.Sprintf(format, args...))
}

// False sets a condition to False.
func (s *Setter) False(kind, reason, format string, args ...any) {
	s.Set(kind, metav1.ConditionFalse, reason, fmt.Sprintf(format, args...))
}

// Unknown sets a condition to Unknown.
func (s *Setter) Unknown(kind, reason, format string, args ...any) {
	s.Set(kind, metav1.ConditionUnknown, reason, fmt.Sprintf(format, args...))
}

// Set sets a condition. A message that is too long is cut.
func (s *Setter) Set(kind string, value metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(s.conditions, metav1.Condition{
		Type:               kind,
		Status:             value,
		Reason:             reason,
		Message:            wire.Cut(message, maxMessage),
		ObservedGeneration: s.generation,
		LastTransitionTime: s.now,
	})
}

// Remove removes a condition that is only there while it is true.
func (s *Setter) Remove(kind string) { meta.RemoveStatusCondition(s.conditions, kind) }

// Ready sets Ready and Stalled as an error asks for: Ready=True with the given reason and message for nil, see the package comment for the rest.
func (s *Setter) Ready(err error, reason, message string) {
	if err == nil {
		s.Set(v1alpha1.ConditionReady, metav1.ConditionTrue, reason, message)
		s.Remove(v1alpha1.ConditionStalled)
		return
	}
	failure := failureOf(err)
	s.Set(v1alpha1.ConditionReady, metav1.ConditionFalse, failure.reason, failure.Error())
	if failure.next == stalled {
		s.Set(v1alpha1.ConditionStalled, metav1.ConditionTrue, failure.reason, failure.Error())
		return
	}
	s.Remove(v1alpha1.ConditionStalled)
}
