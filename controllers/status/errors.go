package status

import (
	"errors"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

type next int

const (
	failed next = iota
	waiting
	stalled
)

// failure is an error that knows what happens next.
type failure struct {
	next    next
	reason  string
	after   time.Duration
	message string
	cause   error
}

func (f *failure) Error() string { return f.message }
func (f *failure) Unwrap() error { return f.cause }

// Stalled returns an error that nothing but a change of the object, or of one that it names, can help. reason is a condition reason, the
// message names the field and the remedy.
func Stalled(reason, format string, args ...any) error {
	return newFailure(stalled, reason, 0, format, args...)
}

// Waiting returns an error that something else has to cure. The object is looked at again after the given time; with 0 only when an event
// says so.
func Waiting(reason string, after time.Duration, format string, args ...any) error {
	return newFailure(waiting, reason, after, format, args...)
}

func newFailure(what next, reason string, after time.Duration, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &failure{next: what, reason: reason, after: after, message: err.Error(), cause: errors.Unwrap(err)}
}

// IsStalled tells whether an error is one of Stalled.
func IsStalled(err error) bool { return err != nil && failureOf(err).next == stalled }

// failureOf takes any error for one of an operation that is tried again, unless it says otherwise.
func failureOf(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return &failure{next: failed, reason: v1alpha1.ReasonReconcileError, message: err.Error(), cause: err}
}

// Result maps the error of a reconciliation to what controller-runtime is to do.
func Result(err error) (ctrl.Result, error) {
	if err == nil {
		return ctrl.Result{}, nil
	}
	switch f := failureOf(err); f.next {
	case stalled:
		return ctrl.Result{}, nil
	case waiting:
		return ctrl.Result{RequeueAfter: f.after}, nil
	}
	return ctrl.Result{}, err
}

// Sooner returns the result that comes back earlier; a zero RequeueAfter is never.
func Sooner(a, b ctrl.Result) ctrl.Result {
	switch {
	case a.RequeueAfter <= 0:
		return b
	case b.RequeueAfter <= 0 || a.RequeueAfter < b.RequeueAfter:
		return a
	}
	return b
}
