package maintenance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// testJob was made by maintenance for a slot, a minute after it.
func testJob(o Operation, host, slot string, edits ...func(*v1alpha1.HostJob)) *v1alpha1.HostJob {
	j := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: jobName(host, o, at(slot)), CreationTimestamp: metav1.NewTime(at(slot).Add(time.Minute)),
		Labels:      map[string]string{v1alpha1.LabelMaintenance: "a", v1alpha1.LabelOperation: string(o)},
		Annotations: map[string]string{v1alpha1.AnnotationScheduleTime: at(slot).Format(time.RFC3339)},
	}}
	j.Spec = v1alpha1.HostJobSpec{HostRef: v1alpha1.LocalReference{Name: host}, Kind: o.Kind(), StartingDeadlineSeconds: 900, ActiveDeadlineSeconds: 86400}
	for _, edit := range edits {
		edit(j)
	}
	return j
}

func ended(phase v1alpha1.HostJobPhase, when, reason, message string) func(*v1alpha1.HostJob) {
	return func(j *v1alpha1.HostJob) {
		j.Status.Phase, j.Status.CompletionTime = phase, new(metav1.NewTime(at(when)))
		if message != "" {
			j.Status.Result = &v1alpha1.JobResultStatus{Reason: reason, Message: message}
		}
	}
}

func succeeded(when string) func(*v1alpha1.HostJob) {
	return ended(v1alpha1.JobSucceeded, when, "", "done")
}
func failed(when string) func(*v1alpha1.HostJob) {
	return ended(v1alpha1.JobFailed, when, "Locked", "locked")
}
func reads(subset string) func(*v1alpha1.HostJob) {
	return func(j *v1alpha1.HostJob) { j.Spec.Check = &v1alpha1.CheckJob{ReadDataSubset: subset} }
}
func byPeople(name string) func(*v1alpha1.HostJob) {
	return func(j *v1alpha1.HostJob) { j.Name, j.Labels, j.Annotations = name, nil, nil }
}
func by(executor string) func(*v1alpha1.HostJob) {
	return func(j *v1alpha1.HostJob) {
		j.Spec.TargetRef = &v1alpha1.LocalReference{Name: j.Spec.HostRef.Name}
		j.Spec.HostRef.Name = executor
	}
}

func recorded(o Operation, record v1alpha1.OperationStatus) func(*v1alpha1.Host) {
	return func(h *v1alpha1.Host) {
		if h.Status.Maintenance == nil {
			h.Status.Maintenance = &v1alpha1.MaintenanceStatus{}
		}
		*o.StatusOf(h.Status.Maintenance) = &record
	}
}

func when(text string) *metav1.Time { return new(metav1.NewTime(at(text))) }

// inWords is a record, without the next plan.
func inWords(o *v1alpha1.OperationStatus) string {
	if o == nil {
		return "nothing"
	}
	var words []string
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if o.LastScheduleTime != nil {
		add("for %s", o.LastScheduleTime.UTC().Format(layout))
	}
	if o.HostJob != "" {
		add("by %s", o.HostJob)
	}
	if o.Executor != "" {
		add("on %s", o.Executor)
	}
	if o.Result != "" {
		add("%s at %s", o.Result, o.FinishTime.UTC().Format(layout))
	}
	if o.Reason != "" || o.Message != "" {
		add("(%s: %s)", o.Reason, o.Message)
	}
	if o.LastSuccessTime != nil {
		add("success %s", o.LastSuccessTime.UTC().Format(layout))
	}
	if o.ConsecutiveFailures != 0 {
		add("failures %d", o.ConsecutiveFailures)
	}
	if o.ReadDataSubset != "" {
		add("read %s", o.ReadDataSubset)
	}
	return strings.Join(words, ", ")
}

func statusOf(r *Repository, host *v1alpha1.Host, now time.Time) *v1alpha1.MaintenanceStatus {
	tasks := r.Tasks(now)
	return r.Status(host, tasks, Decide(now, tasks, r.UnderWay(now) != nil).Plans, now)
}

func TestRecord(t *testing.T) {
	before := v1alpha1.OperationStatus{LastScheduleTime: when("2026-03-01 05:00"), HostJob: "old", Result: v1alpha1.ResultFailed, Reason: "Locked", Message: "locked",
		FinishTime: when("2026-03-01 05:02"), LastSuccessTime: when("2026-02-28 05:02"), ConsecutiveFailures: 1, ReadDataSubset: "3/12"}
	for _, test := range []struct {
		name string
		o    Operation
		host func(*v1alpha1.Host)
		jobs []*v1alpha1.HostJob
		want string
	}{
		{"a job that was made is the last run", Forget, nil, list(testJob(Forget, "web-1", "2026-03-02 05:00")), "for 2026-03-02 05:00, by web-1-forget-29540460"},
		{"while it runs the last result stays", Forget, recorded(Forget, before), list(testJob(Forget, "web-1", "2026-03-02 05:00")),
			"for 2026-03-02 05:00, by web-1-forget-29540460, Failed at 2026-03-01 05:02, (Locked: locked), success 2026-02-28 05:02, failures 1, read 3/12"},
		{"a success ends the failures", Forget, recorded(Forget, before), list(testJob(Forget, "web-1", "2026-03-02 05:00", succeeded("2026-03-02 05:03"))),
			"for 2026-03-02 05:00, by web-1-forget-29540460, Succeeded at 2026-03-02 05:03, (: done), success 2026-03-02 05:03, read 3/12"},
		{"a failure is counted", Forget, recorded(Forget, before), list(testJob(Forget, "web-1", "2026-03-02 05:00", failed("2026-03-02 05:03"))),
			"for 2026-03-02 05:00, by web-1-forget-29540460, Failed at 2026-03-02 05:03, (Locked: locked), success 2026-02-28 05:02, failures 2, read 3/12"},
		{"several that ended while nobody looked are counted in order", Forget, recorded(Forget, before), list(
			testJob(Forget, "web-1", "2026-03-02 05:00", failed("2026-03-02 05:03")), testJob(Forget, "web-1", "2026-03-01 06:00", failed("2026-03-01 06:03"))),
			"for 2026-03-02 05:00, by web-1-forget-29540460, Failed at 2026-03-02 05:03, (Locked: locked), success 2026-02-28 05:02, failures 3, read 3/12"},
		{"one that is recorded is not counted again", Forget, recorded(Forget, before), list(testJob(Forget, "web-1", "2026-03-01 05:00", failed("2026-03-01 05:02"))),
			"for 2026-03-01 05:00, by old, Failed at 2026-03-01 05:02, (Locked: locked), success 2026-02-28 05:02, failures 1, read 3/12"},
		{"a cancelled one did not fail", Forget, recorded(Forget, before), list(testJob(Forget, "web-1", "2026-03-02 05:00", ended(v1alpha1.JobCancelled, "2026-03-02 05:03", "Cancelled", "cancelled"))),
			"for 2026-03-02 05:00, by web-1-forget-29540460, Cancelled at 2026-03-02 05:03, (Cancelled: cancelled), success 2026-02-28 05:02, failures 1, read 3/12"},
		{"an expired one was no run", Forget, recorded(Forget, before), list(testJob(Forget, "web-1", "2026-03-02 05:00", ended(v1alpha1.JobExpired, "2026-03-02 05:16", "", ""))),
			"for 2026-03-02 05:00, by web-1-forget-29540460, Failed at 2026-03-01 05:02, (Locked: locked), success 2026-02-28 05:02, failures 1, read 3/12"},
		{"what a person ran is recorded, and is no slot", Check, nil, list(testJob(Check, "web-1", "2026-03-02 05:00", byPeople("by-hand"), reads("5%"), succeeded("2026-03-02 05:03"))),
			"by by-hand, Succeeded at 2026-03-02 05:03, (: done), success 2026-03-02 05:03"},
		{"what says that it was made for a time to come was not: else nothing would run until then", Forget, recorded(Forget, before),
			list(testJob(Forget, "web-1", "2026-03-02 05:00", func(j *v1alpha1.HostJob) {
				j.Annotations[v1alpha1.AnnotationScheduleTime] = "2226-03-02T05:00:00Z"
			})),
			"for 2026-03-01 05:00, by old, Failed at 2026-03-01 05:02, (Locked: locked), success 2026-02-28 05:02, failures 1, read 3/12"},
		{"what a person narrowed is not the operation", Forget, nil, list(testJob(Forget, "web-1", "2026-03-02 05:00", byPeople("by-hand"), succeeded("2026-03-02 05:03"),
			func(j *v1alpha1.HostJob) { j.Spec.Forget = &v1alpha1.ForgetJob{SourceGroup: "etc"} })), ""},
		{"a job that no machine took has its cause from the conditions", Prune, nil, list(testJob(Prune, "web-1", "2026-03-02 05:00", ended(v1alpha1.JobFailed, "2026-03-02 05:01", "", ""),
			func(j *v1alpha1.HostJob) {
				j.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFailed, Status: "True", Reason: "Failed", Message: "no admin credentials"}}
			})), "for 2026-03-02 05:00, by web-1-prune-29540460, Failed at 2026-03-02 05:01, (Failed: no admin credentials), failures 1"},
		{"one of a person that no machine was told of says nothing of the repository", Prune, nil,
			list(testJob(Prune, "web-1", "2026-03-02 05:00", byPeople("by-hand"), ended(v1alpha1.JobFailed, "2026-03-02 05:01", "", ""))), "nothing"},
		{"one whose result never came is a failure in the end", Forget, nil, list(testJob(Forget, "web-1", "2026-02-27 05:00", func(j *v1alpha1.HostJob) { j.Status.Phase = v1alpha1.JobDispatched })),
			`for 2026-02-27 05:00, by web-1-forget-29536140, Failed at 2026-02-28 06:16, (NoReport: Host "web-1" took it and its result never came: see whether the machine is alive), failures 1`},
		{"a machine whose clock is behind ends nothing before it began", Forget, nil, list(testJob(Forget, "web-1", "2026-03-02 05:00", succeeded("2026-03-02 03:00"))),
			"for 2026-03-02 05:00, by web-1-forget-29540460, Succeeded at 2026-03-02 05:01, (: done), success 2026-03-02 05:01"},
		{"a check that succeeded read its part", Check, nil, list(testJob(Check, "web-1", "2026-03-02 05:00", reads("4/12"), succeeded("2026-03-02 05:03"))),
			"for 2026-03-02 05:00, by web-1-check-29540460, Succeeded at 2026-03-02 05:03, (: done), success 2026-03-02 05:03, read 4/12"},
		{"a check that found damage read its part", Check, recorded(Check, before), list(testJob(Check, "web-1", "2026-03-02 05:00", reads("4/12"), ended(v1alpha1.JobFailed, "2026-03-02 05:03", "RepositoryDamaged", "damaged"))),
			"for 2026-03-02 05:00, by web-1-check-29540460, Failed at 2026-03-02 05:03, (RepositoryDamaged: damaged), success 2026-02-28 05:02, failures 2, read 4/12"},
		{"a check that could not run did not", Check, recorded(Check, before), list(testJob(Check, "web-1", "2026-03-02 05:00", reads("4/12"), failed("2026-03-02 05:03"))),
			"for 2026-03-02 05:00, by web-1-check-29540460, Failed at 2026-03-02 05:03, (Locked: locked), success 2026-02-28 05:02, failures 2, read 3/12"},
		{"an executor is named", Forget, nil, list(testJob(Forget, "web-1", "2026-03-02 05:00", by("nas"), succeeded("2026-03-02 05:03"))),
			"for 2026-03-02 05:00, by web-1-forget-29540460, on nas, Succeeded at 2026-03-02 05:03, (: done), success 2026-03-02 05:03"},
	} {
		t.Run(test.name, func(t *testing.T) {
			host := testHost("web-1")
			if test.host != nil {
				test.host(host)
			}
			r := repository(list(host), forHost("a", "web-1", all))
			r.Jobs = test.jobs
			status := statusOf(r, host, noon)
			if got := inWords(*test.o.StatusOf(status)); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			host.Status.Maintenance = status
			if diff := cmp.Diff(status, statusOf(r, host, noon)); diff != "" {
				t.Errorf("a second look changes it (-first +second):\n%s", diff)
			}
		})
	}
}

func TestALongMessageIsCutBetweenCharacters(t *testing.T) {
	host := testHost("web-1")
	r := repository(list(host), forHost("a", "web-1"))
	r.Jobs = list(testJob(Forget, "web-1", "2026-03-02 05:00", ended(v1alpha1.JobFailed, "2026-03-02 05:03", "Locked", strings.Repeat("ä", 400))))
	got := statusOf(r, host, noon).Forget.Message
	if want := strings.Repeat("ä", 254) + "…"; got != want {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

// What is known of the repository that a Host had before says nothing of the one that it has now.
func TestARecordIsOfOneRepository(t *testing.T) {
	before := v1alpha1.OperationStatus{LastScheduleTime: when("2026-03-01 05:00"), NextScheduleTime: when("2026-03-02 05:00"), HostJob: "old", Result: v1alpha1.ResultFailed,
		Reason: "RepositoryDamaged", Message: "damaged", FinishTime: when("2026-03-01 05:02"), ConsecutiveFailures: 1}
	host := testHost("web-1", recorded(Check, before))
	r := repository(list(host), forHost("a", "web-1", all))
	// In the meantime another one ended there.
	r.Jobs = list(testJob(Check, "web-1", "2026-03-01 06:00", failed("2026-03-01 06:03")))
	host.Status.Maintenance = statusOf(r, host, noon)
	if got := inWords(host.Status.Maintenance.Check); !strings.Contains(got, "failures 2") || host.Status.Maintenance.Since != nil {
		t.Fatalf("got %s since %v", got, host.Status.Maintenance.Since)
	}

	host.Spec.Repository.URL += "//"
	if got := Recorded(host, Check); got == nil {
		t.Error("a slash at the end makes it another repository")
	}
	host.Spec.Repository.URL = "rest:https://backup.example.com/another"
	if got := Recorded(host, Check); got != nil {
		t.Errorf("the record of the former repository is taken for the new one's: %+v", got)
	}
	if d := Decide(noon, r.Tasks(noon), false); d.Run != nil {
		t.Errorf("%s runs at once on a new repository", d.Run.Operation)
	}
	for range 2 { // the second time by what was written the first time
		status := statusOf(r, host, noon)
		if got := inWords(status.Check); got != "" || status.URL != host.Spec.Repository.URL || !status.Since.Equal(new(metav1.NewTime(noon))) {
			t.Errorf("got %q of %s since %v, expected nothing yet", got, status.URL, status.Since)
		}
		host.Status.Maintenance = status
	}
	r.Jobs = append(r.Jobs, testJob(Check, "web-1", "2026-03-02 13:00", succeeded("2026-03-02 13:05")))
	status := statusOf(r, host, noon.Add(2*time.Hour))
	if got := inWords(status.Check); !strings.Contains(got, "Succeeded at 2026-03-02 13:05") || strings.Contains(got, "failures") {
		t.Errorf("got %s", got)
	}
	host.Status.Maintenance = status
	if obsolete, _ := r.Obsolete(r.Tasks(noon), noon.Add(2*time.Hour)); len(obsolete) != 1 || obsolete[0] != r.Jobs[0] {
		t.Errorf("%d are obsolete, expected the one of the former repository", len(obsolete))
	}
}

func TestSharingHostsCarryTheSameRecord(t *testing.T) {
	anchor, other := testHost("web-1", sharedURL, madeAt(noon.AddDate(0, 0, -40))), testHost("web-2", sharedURL)
	r := repository(list(anchor, other), forHost("a", "", forRole("web")))
	write := func() {
		t.Helper()
		first, second := statusOf(r, anchor, noon), statusOf(r, other, noon)
		anchor.Status.Maintenance, other.Status.Maintenance = first, second
	}
	write()
	if a, b := anchor.Status.Maintenance.Forget, other.Status.Maintenance.Forget; !a.NextScheduleTime.Equal(b.NextScheduleTime) || inWords(a) != "" || inWords(b) != "" {
		t.Errorf("before anything ran: %+v and %+v, expected the same plan alone", a, b)
	}
	job := testJob(Forget, "web-2", "2026-03-02 00:00")
	r.Jobs = list(job)
	write()
	if got := inWords(anchor.Status.Maintenance.Forget); got != "for 2026-03-02 00:00, by "+job.Name+", on web-2" {
		t.Errorf("the oldest is told of the start: %s", got)
	}
	if got := inWords(other.Status.Maintenance.Forget); got != "" {
		t.Errorf("the other is left alone until the end: %s", got)
	}
	succeeded("2026-03-02 00:05")(job)
	write()
	want := "for 2026-03-02 00:00, by " + job.Name + ", %sSucceeded at 2026-03-02 00:05, (: done), success 2026-03-02 00:05"
	if got := inWords(anchor.Status.Maintenance.Forget); got != fmt.Sprintf(want, "on web-2, ") {
		t.Errorf("the oldest: %s", got)
	}
	if got := inWords(other.Status.Maintenance.Forget); got != fmt.Sprintf(want, "") {
		t.Errorf("the one that did it: %s", got)
	}
	late := testHost("web-3", sharedURL, madeAt(noon.Add(-time.Hour)))
	r.Hosts = append(r.Hosts, late)
	if got := inWords(statusOf(r, late, noon).Forget); got != fmt.Sprintf(want, "on web-2, ") {
		t.Errorf("a host that comes later: %s", got)
	}
	anchor.Status.Maintenance = nil // a status that was lost
	if got := inWords(statusOf(r, anchor, noon).Forget); got != fmt.Sprintf(want, "on web-2, ") {
		t.Errorf("one that lost its status: %s", got)
	}
}

func TestWhatIsUnderWay(t *testing.T) {
	for _, test := range []struct {
		name string
		job  *v1alpha1.HostJob
		want bool
	}{
		{"a job that has not ended", testJob(Forget, "web-1", "2026-03-02 05:00"), true},
		{"a job of people", testJob(Check, "web-1", "2026-03-02 05:00", byPeople("x")), true},
		{"a job that ended is not", testJob(Forget, "web-1", "2026-03-02 05:00", failed("2026-03-02 05:03")), false},
		{"a backup is not", testJob(Forget, "web-1", "2026-03-02 05:00", func(j *v1alpha1.HostJob) { j.Spec.Kind = v1alpha1.HostJobBackup }), false},
		{"a job that is lost is not", testJob(Forget, "web-1", "2026-02-27 05:00"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &Repository{Jobs: list(test.job)}
			if got := r.UnderWay(noon) != nil; got != test.want {
				t.Errorf("it is under way: %v", got)
			}
		})
	}
}
