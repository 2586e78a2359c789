package gitops

import (
	"fmt"
	"maps"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// healthOf is what Argo CD must say of an object of which kstatus says this.
var healthOf = map[status.Status]string{
	status.CurrentStatus:     "Healthy",
	status.InProgressStatus:  "Progressing",
	status.TerminatingStatus: "Progressing",
	status.FailedStatus:      "Degraded",
}

// expectVerdict judges an object as Flux and Argo CD do.
func expectVerdict(t *testing.T, u *unstructured.Unstructured, want status.Status) {
	t.Helper()
	result, err := status.Compute(u)
	if err != nil {
		t.Fatal(err)
	}
	if result.Status != want {
		t.Errorf("kstatus says %s (%s), expected %s", result.Status, result.Message, want)
	}
	h := argoHealth(t, u)
	if h.status != healthOf[want] {
		t.Errorf("Argo CD says %s (%s), expected %s", h.status, h.message, healthOf[want])
	}
	if h.message == "" && u.GetKind() != "ScheduleSet" {
		t.Error("Argo CD says nothing about it")
	}
	if want == status.FailedStatus && result.Message == "" {
		t.Error("nothing says why it failed")
	}
}

// state is one that an object can be in.
type state struct {
	name  string       // a sentence
	given func(*space) // brings it about
	about client.Object
	ready string            // the condition Ready once it is reached
	also  map[string]string // other conditions that must be there by then
	want  status.Status
}

func expectStates(t *testing.T, o *operator, states []state) {
	t.Helper()
	for _, test := range states {
		t.Run(test.name, func(t *testing.T) {
			s := o.space(t)
			test.given(s)
			conditions := told{v1alpha1.ConditionReady: test.ready}
			maps.Copy(conditions, test.also)
			// A tool that looks earlier must not go on too soon.
			tooSoon := func(u *unstructured.Unstructured) error {
				result, err := status.Compute(u)
				if err != nil || test.want == status.CurrentStatus || result.Status != status.CurrentStatus {
					return err
				}
				return fmt.Errorf("on the way kstatus says %s: %v", result.Status, u.Object["status"])
			}
			expectVerdict(t, s.until("the state is reached", test.about, conditions, tooSoon), test.want)
		})
	}
}

// told holds conditions as "Status Reason"; empty for one that must be absent.
type told = map[string]string
