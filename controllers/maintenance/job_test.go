package maintenance

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func TestTheSameRunHasTheSameName(t *testing.T) {
	a, b := testHost("web-1", sharedURL, madeAt(noon.AddDate(0, 0, -40))), testHost("web-2", sharedURL)
	r := repository(list(a, b), forHost("m", "", forRole("web"), all))
	run := func(executor, target *v1alpha1.Host) *v1alpha1.HostJob {
		return r.Job(&Run{Task: &Task{Operation: Forget, Executor: executor, Target: target, Maintenance: new(forHost("m", "web-1", all))}, Slot: at("2026-03-02 05:00")})
	}
	if one, other := run(a, a).Name, run(b, b).Name; one != other || one != "web-1-forget-29540460" {
		t.Errorf("%s and %s, expected that whoever does it does the same", one, other)
	}
	job := run(testHost("nas"), b)
	want := v1alpha1.HostJobSpec{Kind: v1alpha1.HostJobForget, HostRef: v1alpha1.LocalReference{Name: "nas"}, TargetRef: &v1alpha1.LocalReference{Name: "web-2"},
		StartingDeadlineSeconds: 900, ActiveDeadlineSeconds: 86400, TTLSecondsAfterFinished: new(int32(30 * 86400))}
	if diff := cmp.Diff(want, job.Spec); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	job = run(a, a)
	if job.Spec.TTLSecondsAfterFinished != nil {
		t.Errorf("on its own repository it is kept for %d s, expected that the history decides", *job.Spec.TTLSecondsAfterFinished)
	}
	job = run(testHost("nas"), b)
	if job.Annotations[v1alpha1.AnnotationScheduleTime] != "2026-03-02T05:00:00Z" || job.Labels[v1alpha1.LabelHost] != "web-2" {
		t.Errorf("annotations %v and labels %v, expected the slot and the target", job.Annotations, job.Labels)
	}
}

func TestLongNamesStayValidAndDifferent(t *testing.T) {
	seen := map[string]bool{}
	for _, end := range []string{"a", "b"} {
		host := strings.Repeat("long-name.", 24) + strings.Repeat("x", 12) + end
		name := jobName(host, Forget, noon)
		if len(name) > 253 || len(validation.IsDNS1123Subdomain(name)) > 0 || seen[name] {
			t.Errorf("%d characters: %s: %v", len(name), name, validation.IsDNS1123Subdomain(name))
		}
		label := LabelValue(host)
		if len(validation.IsValidLabelValue(label)) > 0 || seen[label] {
			t.Errorf("%s: %v", label, validation.IsValidLabelValue(label))
		}
		seen[name], seen[label] = true, true
	}
	if LabelValue("web-1") != "web-1" {
		t.Error("a short name was changed")
	}
}

func TestTheRotationGoesOn(t *testing.T) {
	for _, test := range []struct {
		name, last, want string
		cadence          v1alpha1.CheckCadence
	}{
		{"it begins with the first part", "", "1/12", v1alpha1.CheckCadence{ReadDataRotation: 12}},
		{"it goes on with the next", "3/12", "4/12", v1alpha1.CheckCadence{ReadDataRotation: 12}},
		{"after the last it begins anew", "12/12", "1/12", v1alpha1.CheckCadence{ReadDataRotation: 12}},
		{"another number of parts begins anew", "3/12", "1/6", v1alpha1.CheckCadence{ReadDataRotation: 6}},
		{"what is no part begins anew", "5%", "1/12", v1alpha1.CheckCadence{ReadDataRotation: 12}},
		{"nor is this", "x/12", "1/12", v1alpha1.CheckCadence{ReadDataRotation: 12}},
		{"without a rotation it is what the cadence says", "3/12", "5%", v1alpha1.CheckCadence{ReadDataSubset: "5%"}},
		{"which may be nothing", "3/12", "", v1alpha1.CheckCadence{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := nextSubset(&test.cadence, test.last); got != test.want {
				t.Errorf("%q, expected %q", got, test.want)
			}
		})
	}
}

func TestObsolete(t *testing.T) {
	written := v1alpha1.OperationStatus{FinishTime: when("2026-03-02 11:30")}
	for _, test := range []struct {
		name  string
		host  []func(*v1alpha1.Host)
		jobs  []*v1alpha1.HostJob
		want  string
		again string
	}{
		{"a success is kept for its time", list(recorded(Forget, written)), list(testJob(Forget, "web-1", "2026-03-02 11:00", succeeded("2026-03-02 11:30"))), "", "2026-03-02 12:30"},
		{"then it goes", list(recorded(Forget, written)), list(testJob(Forget, "web-1", "2026-03-02 10:00", succeeded("2026-03-02 11:00"))), "web-1-forget-29540760", ""},
		{"but not before its result is written", nil, list(testJob(Forget, "web-1", "2026-03-02 10:00", succeeded("2026-03-02 11:00"))), "", ""},
		{"a success goes when something newer has ended", list(recorded(Forget, written)),
			list(testJob(Forget, "web-1", "2026-03-02 11:00", succeeded("2026-03-02 11:10")), testJob(Forget, "web-1", "2026-03-02 11:20", failed("2026-03-02 11:30"))), "web-1-forget-29540820", ""},
		{"a failure is kept until a success", list(recorded(Forget, written)),
			list(testJob(Forget, "web-1", "2026-01-02 11:00", failed("2026-01-02 11:10")), testJob(Forget, "web-1", "2026-03-02 11:20", failed("2026-03-02 11:30"))), "", ""},
		{"and goes with it", list(recorded(Forget, written)),
			list(testJob(Forget, "web-1", "2026-03-02 11:00", failed("2026-03-02 11:10")), testJob(Forget, "web-1", "2026-03-02 11:20", succeeded("2026-03-02 11:30"))), "web-1-forget-29540820", "2026-03-02 12:30"},
		{"of many failures the last three are kept", list(recorded(Forget, written)), list(
			testJob(Forget, "web-1", "2026-03-02 10:00", failed("2026-03-02 10:10")), testJob(Forget, "web-1", "2026-03-02 10:20", failed("2026-03-02 10:30")),
			testJob(Forget, "web-1", "2026-03-02 10:40", failed("2026-03-02 10:50")), testJob(Forget, "web-1", "2026-03-02 11:20", failed("2026-03-02 11:30"))), "web-1-forget-29540760", ""},
		{"one that expired waits for its machine", nil, list(testJob(Forget, "web-1", "2026-03-01 05:00", ended(v1alpha1.JobExpired, "2026-03-01 05:16", "", ""))), "", "2026-03-31 05:16"},
		{"for a month at most", nil, list(testJob(Forget, "web-1", "2026-01-01 05:00", ended(v1alpha1.JobExpired, "2026-01-01 05:16", "", ""))), "web-1-forget-29454060", ""},
		{"and goes when another one was made", nil, list(testJob(Forget, "web-1", "2026-03-02 05:00", ended(v1alpha1.JobExpired, "2026-03-02 05:16", "", "")),
			testJob(Forget, "web-1", "2026-03-02 11:00")), "web-1-forget-29540460", "2026-03-03 12:16"},
		{"one that is lost goes once that is written", list(recorded(Forget, written)), list(testJob(Forget, "web-1", "2026-02-27 05:00")), "web-1-forget-29536140", ""},
		{"what people made stays", list(recorded(Forget, written)), list(testJob(Forget, "web-1", "2026-03-02 05:00", byPeople("x"), succeeded("2026-03-02 05:01"))), "", ""},
		{"other operations have a history of their own", list(recorded(Forget, written), recorded(Check, written)),
			list(testJob(Check, "web-1", "2026-03-02 11:00", failed("2026-03-02 11:10")), testJob(Forget, "web-1", "2026-03-02 11:20", succeeded("2026-03-02 11:30"))), "", "2026-03-02 12:30"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := repository(list(testHost("web-1", test.host...)), forHost("a", "web-1", all))
			r.Jobs = test.jobs
			obsolete, again := r.Obsolete(r.Tasks(noon), noon)
			var names []string
			for _, job := range obsolete {
				names = append(names, job.Name)
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("%q, expected %q", got, test.want)
			}
			wantAgain := time.Time{}
			if test.again != "" {
				wantAgain = at(test.again)
			}
			if !again.Equal(wantAgain) {
				t.Errorf("again at %s, expected %s", again, test.again)
			}
		})
	}
}

func TestAJobIsKeptUntilEverySharingHostHasItsResult(t *testing.T) {
	written := recorded(Forget, v1alpha1.OperationStatus{FinishTime: when("2026-03-02 11:30")})
	a, b := testHost("web-1", sharedURL, written), testHost("web-2", sharedURL)
	r := repository(list(a, b), forHost("a", "", forRole("web")))
	r.Jobs = list(testJob(Forget, "web-1", "2026-03-02 05:00", succeeded("2026-03-02 05:01")))
	if obsolete, _ := r.Obsolete(r.Tasks(noon), noon); len(obsolete) != 0 {
		t.Error("it is obsolete, although web-2 does not know its result")
	}
	written(b)
	if obsolete, _ := r.Obsolete(r.Tasks(noon), noon); len(obsolete) != 1 {
		t.Error("it is kept, although both know its result")
	}
}
