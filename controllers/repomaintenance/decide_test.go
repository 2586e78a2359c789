package repomaintenance

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func TestDecide(t *testing.T) {
	cadence := v1alpha1.Cadence{Cron: "@daily"}
	hosts := []v1alpha1.Host{{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}}, {ObjectMeta: metav1.ObjectMeta{Name: "web-2"}}}
	toWeb1 := v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "web-1"}}
	for _, test := range []struct {
		name    string
		spec    v1alpha1.RepoMaintenanceSpec
		reason  string
		message string
		matched int32
	}{
		{"a valid one is said not to be acted on", v1alpha1.RepoMaintenanceSpec{Selector: toWeb1, Forget: &cadence, Prune: &v1alpha1.PruneCadence{Cadence: cadence}, Check: &v1alpha1.CheckCadence{Cadence: cadence}},
			"NotYetSupported", "the object is valid, but this version does not run forget, prune or check: run them with restic until it does", 1},
		{"every host of the namespace is counted", v1alpha1.RepoMaintenanceSpec{Selector: v1alpha1.Selector{HostSelector: &metav1.LabelSelector{}}, Forget: &cadence},
			"NotYetSupported", "the object is valid, but this version does not run forget, prune or check: run them with restic until it does", 2},
		{"a bad forget is named", v1alpha1.RepoMaintenanceSpec{Selector: toWeb1, Forget: &v1alpha1.Cadence{Cron: "daily"}},
			"Invalid", `spec.forget.cron: cron "daily" has 1 of five fields: minute, hour, day of month, month, day of week`, 1},
		{"a bad prune is named", v1alpha1.RepoMaintenanceSpec{Selector: toWeb1, Forget: &cadence, Prune: &v1alpha1.PruneCadence{Cadence: v1alpha1.Cadence{Cron: "0 0 31 2 *"}}},
			"Invalid", `spec.prune.cron: cron "0 0 31 2 *" never fires: there is no such date`, 1},
		{"a bad check is named", v1alpha1.RepoMaintenanceSpec{Selector: toWeb1, Check: &v1alpha1.CheckCadence{Cadence: v1alpha1.Cadence{Cron: "@never"}}},
			"Invalid", `spec.check.cron: cron "@never" is not known: write five fields such as "30 2 * * *", or one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually`, 1},
		{"an unknown zone is named", v1alpha1.RepoMaintenanceSpec{Selector: toWeb1, TimeZone: "Mars", Forget: &cadence},
			"Invalid", `spec.timeZone: timeZone "Mars" is not known: write an IANA name such as Europe/Zurich, or UTC`, 1},
		{"a bad selector is named", v1alpha1.RepoMaintenanceSpec{Forget: &cadence, Selector: v1alpha1.Selector{HostSelector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "role", Operator: "Like"}}}}},
			"Invalid", `spec.hostSelector: "Like" is not a valid label selector operator`, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &v1alpha1.RepoMaintenance{ObjectMeta: metav1.ObjectMeta{Generation: 2}, Spec: test.spec}
			if err := decide(m, hosts, testingclock.NewFakePassiveClock(time.Now())); err == nil {
				t.Error("no error, expected that it is not acted on")
			}
			if m.Status.HostsMatched != test.matched || m.Status.ObservedGeneration != 2 {
				t.Errorf("matched %d in generation %d, expected %d in 2", m.Status.HostsMatched, m.Status.ObservedGeneration, test.matched)
			}
			want := map[string]metav1.ConditionStatus{"Ready": "False", "Stalled": "True"}
			if len(m.Status.Conditions) != len(want) {
				t.Errorf("conditions %v, expected Ready and Stalled", m.Status.Conditions)
			}
			for _, c := range m.Status.Conditions {
				if c.Status != want[c.Type] || c.Reason != test.reason || c.Message != test.message {
					t.Errorf("%s is %s %s: %q, expected %s %s: %q", c.Type, c.Status, c.Reason, c.Message, want[c.Type], test.reason, test.message)
				}
			}
		})
	}
}
