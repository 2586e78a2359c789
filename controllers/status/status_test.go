package status_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/status"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestErrorsSayWhatHappensNext(t *testing.T) {
	broken := errors.New("the API server is away")
	tests := []struct {
		name    string
		err     error
		ready   string // status reason
		stalled bool
		result  ctrl.Result
		wantErr error
	}{
		{"success is ready", nil, "True Accepted", false, ctrl.Result{}, nil},
		{"stalled is not tried again", status.Stalled(v1alpha1.ReasonInvalid, "spec.cron: wrong"), "False Invalid", true, ctrl.Result{}, nil},
		{"waiting comes back", status.Waiting("CredentialsMissing", time.Minute, "no Secret"), "False CredentialsMissing", false, ctrl.Result{RequeueAfter: time.Minute}, nil},
		{"waiting for an event does not", status.Waiting("CredentialsMissing", 0, "no Secret"), "False CredentialsMissing", false, ctrl.Result{}, nil},
		{"anything else is tried again with backoff", broken, "False ReconcileError", false, ctrl.Result{}, broken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var conditions []metav1.Condition
			status.For(&conditions, 3, clocktesting.NewFakePassiveClock(start)).Ready(tt.err, v1alpha1.ReasonAccepted, "fine")
			ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
			if got := string(ready.Status) + " " + ready.Reason; got != tt.ready || ready.ObservedGeneration != 3 {
				t.Errorf("Ready is %q of generation %d, want %q of 3", got, ready.ObservedGeneration, tt.ready)
			}
			if got := meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionStalled); got != tt.stalled || status.IsStalled(tt.err) != tt.stalled {
				t.Errorf("Stalled is %v, want %v", got, tt.stalled)
			}
			result, err := status.Result(tt.err)
			if diff := cmp.Diff(tt.result, result); diff != "" || !errors.Is(err, tt.wantErr) {
				t.Errorf("Result: error %v, want %v; (-want +got):\n%s", err, tt.wantErr, diff)
			}
		})
	}
}

func TestStalledGoesAwayWithItsCause(t *testing.T) {
	var conditions []metav1.Condition
	set := status.For(&conditions, 1, clocktesting.NewFakePassiveClock(start))
	set.Ready(status.Stalled(v1alpha1.ReasonInvalid, "wrong"), "", "")
	set.Ready(status.Waiting("Later", 0, "wait"), "", "")
	if meta.FindStatusCondition(conditions, v1alpha1.ConditionStalled) != nil {
		t.Errorf("still stalled: %v", conditions)
	}
}

func TestTransitionTimeChangesOnlyWithTheStatus(t *testing.T) {
	clk := clocktesting.NewFakePassiveClock(start)
	var conditions []metav1.Condition
	status.For(&conditions, 1, clk).True("X", "One", "one")
	clk.SetTime(start.Add(time.Hour))
	status.For(&conditions, 2, clk).True("X", "Two", "two")
	if got := conditions[0]; !got.LastTransitionTime.Time.Equal(start) || got.Message != "two" || got.ObservedGeneration != 2 {
		t.Errorf("after another message: %+v", got)
	}
	status.For(&conditions, 2, clk).False("X", "Three", "three")
	if got := conditions[0]; !got.LastTransitionTime.Time.Equal(start.Add(time.Hour)) {
		t.Errorf("after another status: %+v", got)
	}
}

func TestLongMessagesAreCutBetweenCharacters(t *testing.T) {
	var conditions []metav1.Condition
	status.For(&conditions, 1, clocktesting.NewFakePassiveClock(start)).True("X", "One", "a%s", strings.Repeat("é", 5000))
	if m := conditions[0].Message; len(m) > 2048 || !utf8.ValidString(m) || !strings.HasSuffix(m, "é…") {
		t.Errorf("message of %d bytes ends in %q", len(m), m[len(m)-8:])
	}
}

func TestSooner(t *testing.T) {
	never, minute, hour := ctrl.Result{}, ctrl.Result{RequeueAfter: time.Minute}, ctrl.Result{RequeueAfter: time.Hour}
	for _, tt := range []struct{ a, b, want ctrl.Result }{{never, never, never}, {never, hour, hour}, {minute, never, minute}, {minute, hour, minute}, {hour, minute, minute}} {
		if got := status.Sooner(tt.a, tt.b); got != tt.want {
			t.Errorf("Sooner(%v, %v) = %v", tt.a, tt.b, got)
		}
	}
}
