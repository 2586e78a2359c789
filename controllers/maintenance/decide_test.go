package maintenance

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/cronspec"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

const layout = "2006-01-02 15:04"

func at(text string) time.Time {
	t, err := time.Parse(layout, text)
	if err != nil {
		panic(err)
	}
	return t
}

// task is asked for since the beginning of the year, for web-1, which is connected.
func task(o Operation, cron string, edits ...func(*Task)) Task {
	spec, err := cronspec.Parse(cmp.Or(cron, "@daily"), "UTC")
	if err != nil {
		panic(err)
	}
	t := Task{Operation: o, Cadence: spec, Since: at("2026-01-01 00:00"), Executor: testHost("web-1"), Target: testHost("web-1")}
	for _, edit := range edits {
		edit(&t)
	}
	return t
}

func planned(text string) func(*Task) { return func(t *Task) { t.Past.Planned = at(text) } }
func done(text string) func(*Task)    { return func(t *Task) { t.Past.Slot = at(text) } }
func since(text string) func(*Task)   { return func(t *Task) { t.Since = at(text) } }
func expired(text string) func(*Task) { return func(t *Task) { t.Past.Expired = at(text) } }
func held(why Why) func(*Task)        { return func(t *Task) { t.Hold = why } }
func jittered(d time.Duration) func(*Task) {
	return func(t *Task) { t.Jitter = d }
}
func offline(t *Task)     { t.Executor = nil }
func idle(t *Task)        { t.NothingToDo = func() bool { return true } }
func notAskedFor(t *Task) { t.Cadence = nil }
func on(host string) func(*Task) {
	return func(t *Task) { t.Host, t.Executor, t.Target = host, testHost(host), testHost(host) }
}
func zone(cron, name string) func(*Task) {
	return func(t *Task) {
		spec, err := cronspec.Parse(cron, name)
		if err != nil {
			panic(err)
		}
		t.Cadence = spec
	}
}

func connectedAt(text string) func(*Task) {
	return func(t *Task) {
		t.Executor = testHost("web-1", func(h *v1alpha1.Host) { h.Status.Conditions[0].LastTransitionTime = metav1.NewTime(at(text)) })
	}
}

// told is a decision in words: what runs, then the plan of each task, then when to look again.
func told(d Decision) string {
	words := []string{"nothing runs"}
	if d.Run != nil {
		words[0] = strings.TrimSpace(fmt.Sprintf("%s %s", d.Run.Operation, d.Run.Host)) + " runs for " + d.Run.Slot.UTC().Format(layout)
	}
	for _, plan := range d.Plans {
		next := "never"
		if !plan.Next.IsZero() {
			next = plan.Next.UTC().Format(layout)
		}
		words = append(words, strings.TrimSpace(next+" "+string(plan.Why)))
	}
	again := "never"
	if !d.Again.IsZero() {
		again = d.Again.UTC().Format(layout)
	}
	return strings.Join(append(words, "again "+again), "; ")
}

func TestDecide(t *testing.T) {
	for _, test := range []struct {
		name     string
		now      string
		tasks    []Task
		underWay bool
		want     string
	}{
		{"what is new is planned, and does not run for the past", "2026-03-02 12:00", []Task{task(Forget, "0 5 * * *", since("2026-03-02 11:59"))},
			false, "nothing runs; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"nothing runs before it is due", "2026-03-02 12:00", []Task{task(Forget, "0 5 * * *", planned("2026-03-03 05:00"), done("2026-03-02 05:00"))},
			false, "nothing runs; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"what is due runs, and is planned for the next time", "2026-03-02 05:00", []Task{task(Forget, "0 5 * * *", planned("2026-03-02 05:00"), done("2026-03-01 05:00"))},
			false, "forget runs for 2026-03-02 05:00; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"what is due for the first time runs", "2026-03-02 05:00", []Task{task(Forget, "0 5 * * *", planned("2026-03-02 05:00"))},
			false, "forget runs for 2026-03-02 05:00; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"of forget, prune and check that are due at once forget runs first", "2026-03-02 05:00", []Task{
			task(Check, "0 5 * * *", planned("2026-03-02 05:00")), task(Prune, "0 5 * * *", planned("2026-03-02 05:00")), task(Forget, "0 5 * * *", planned("2026-03-02 05:00"))},
			false, "forget runs for 2026-03-02 05:00; 2026-03-02 05:00 OthersFirst; 2026-03-02 05:00 OthersFirst; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"while forget is under way prune waits", "2026-03-02 05:01", []Task{
			task(Forget, "0 5 * * *", planned("2026-03-03 05:00"), done("2026-03-02 05:00")), task(Prune, "0 5 * * *", planned("2026-03-02 05:00"))},
			true, "nothing runs; 2026-03-03 05:00; 2026-03-02 05:00 OperationUnderWay; again 2026-03-03 05:00"},
		{"after forget prune runs", "2026-03-02 05:10", []Task{
			task(Forget, "0 5 * * *", planned("2026-03-03 05:00"), done("2026-03-02 05:00")), task(Prune, "0 5 * * *", planned("2026-03-02 05:00")), task(Check, "0 5 * * *", planned("2026-03-02 05:00"))},
			false, "prune runs for 2026-03-02 05:00; 2026-03-03 05:00; 2026-03-03 05:00; 2026-03-02 05:00 OthersFirst; again 2026-03-03 05:00"},
		{"after prune check runs", "2026-03-02 05:20", []Task{
			task(Prune, "0 5 * * *", planned("2026-03-03 05:00"), done("2026-03-02 05:00")), task(Check, "0 5 * * *", planned("2026-03-02 05:00"))},
			false, "check runs for 2026-03-02 05:00; 2026-03-03 05:00; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"after check the machines verify one after the other", "2026-03-02 05:30", []Task{
			task(Verify, "0 5 * * *", planned("2026-03-02 05:00"), on("web-2")), task(Verify, "0 5 * * *", planned("2026-03-02 05:00"), on("web-1"))},
			false, "verify web-1 runs for 2026-03-02 05:00; 2026-03-02 05:00 OthersFirst; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"one that has run since another became due lets that one go first", "2026-03-02 05:02", []Task{
			task(Forget, "* * * * *", planned("2026-03-02 05:02"), done("2026-03-02 05:01")), task(Prune, "* * * * *", planned("2026-03-02 05:02"), done("2026-03-02 05:01")),
			task(Check, "* * * * *", planned("2026-03-02 05:01"))},
			false, "check runs for 2026-03-02 05:02; 2026-03-02 05:02 OthersFirst; 2026-03-02 05:02 OthersFirst; 2026-03-02 05:03; again 2026-03-02 05:03"},
		{"after an absence they run in their order, whichever has waited longest", "2026-03-05 12:00", []Task{
			task(Forget, "0 5 * * *", planned("2026-03-04 05:00"), done("2026-03-03 05:00")), task(Check, "0 7 1 * *", planned("2026-03-01 07:00"), done("2026-02-01 07:00"), offline),
			task(Prune, "0 6 * * 3", planned("2026-03-04 06:00"), done("2026-02-25 06:00"))},
			false, "forget runs for 2026-03-05 05:00; 2026-03-06 05:00; 2026-03-01 07:00 ExecutorNotConnected; 2026-03-04 06:00 OthersFirst; again 2026-03-06 05:00"},
		{"a job under way blocks everything", "2026-03-02 05:00", []Task{task(Forget, "0 5 * * *", planned("2026-03-02 05:00")), task(Verify, "0 5 * * *", planned("2026-03-02 05:00"), on("web-1"))},
			true, "nothing runs; 2026-03-02 05:00 OperationUnderWay; 2026-03-02 05:00 OperationUnderWay; again never"},
		{"nothing is run on a host that is offline", "2026-03-02 06:00", []Task{task(Forget, "0 5 * * *", planned("2026-03-02 05:00"), offline)},
			false, "nothing runs; 2026-03-02 05:00 ExecutorNotConnected; again never"},
		{"a host that is back runs once for three missed times, for the newest", "2026-03-04 12:00", []Task{task(Forget, "0 5 * * *", planned("2026-03-02 05:00"), done("2026-03-01 05:00"))},
			false, "forget runs for 2026-03-04 05:00; 2026-03-05 05:00; again 2026-03-05 05:00"},
		{"and not again", "2026-03-04 12:01", []Task{task(Forget, "0 5 * * *", planned("2026-03-05 05:00"), done("2026-03-04 05:00"))},
			false, "nothing runs; 2026-03-05 05:00; again 2026-03-05 05:00"},
		{"a machine that is offline does not keep another one from verifying", "2026-03-02 05:30", []Task{
			task(Verify, "0 5 * * *", planned("2026-03-02 05:00"), on("web-1"), offline), task(Verify, "0 5 * * *", planned("2026-03-02 05:00"), on("web-2"))},
			false, "verify web-2 runs for 2026-03-02 05:00; 2026-03-02 05:00 ExecutorNotConnected; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"prune without admin credentials is not planned, and check runs", "2026-03-02 05:00", []Task{
			task(Prune, "0 4 * * *", planned("2026-03-02 04:00"), held(NoAdminCredentials)), task(Check, "0 5 * * *", planned("2026-03-02 05:00"))},
			false, "check runs for 2026-03-02 05:00; never NoAdminCredentials; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"what is suspended is not planned", "2026-03-02 06:00", []Task{task(Forget, "0 5 * * *", planned("2026-03-02 05:00"), held(Suspended))}, false, "nothing runs; never Suspended; again never"},
		{"what is resumed does not run for what fell due meanwhile", "2026-03-02 06:00", []Task{task(Forget, "0 5 * * *", done("2026-02-20 05:00"))},
			false, "nothing runs; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"a host that is suspended is left alone", "2026-03-02 06:00", []Task{task(Forget, "0 5 * * *", planned("2026-03-02 05:00"), held(HostSuspended))}, false, "nothing runs; never HostSuspended; again never"},
		{"what is not asked for is not planned", "2026-03-02 06:00", []Task{task(Forget, "0 5 * * *", planned("2026-03-02 05:00"), notAskedFor)}, false, "nothing runs; never NotAskedFor; again never"},
		{"what has nothing to do passes, and lets the next one run", "2026-03-02 05:00", []Task{task(Forget, "0 5 * * *", planned("2026-03-02 05:00"), idle), task(Check, "0 5 * * *", planned("2026-03-02 05:00"))},
			false, "check runs for 2026-03-02 05:00; 2026-03-03 05:00 NothingToDo; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"a controller that stopped before it wrote the plan finds the job and does not make it again", "2026-03-02 05:01", []Task{task(Forget, "0 5 * * *", planned("2026-03-02 05:00"), done("2026-03-02 05:00"))},
			true, "nothing runs; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"a controller that was down for a day runs what fell due once", "2026-03-03 09:00", []Task{task(Forget, "0 5 * * *", planned("2026-03-02 05:00"), done("2026-03-01 05:00"))},
			false, "forget runs for 2026-03-03 05:00; 2026-03-04 05:00; again 2026-03-04 05:00"},
		{"a clock that goes back does nothing twice", "2026-03-02 04:00", []Task{task(Forget, "0 5 * * *", planned("2026-03-03 05:00"), done("2026-03-02 05:00"))},
			false, "nothing runs; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"a clock that went ahead and came back plans anew", "2026-03-02 12:00", []Task{task(Forget, "0 5 * * *", planned("2027-01-01 05:00"), done("2026-03-02 05:00"))},
			false, "nothing runs; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"jitter delays the run and not the name", "2026-03-02 06:20", []Task{task(Forget, "0 5 * * *", jittered(80*time.Minute), planned("2026-03-02 06:20"))},
			false, "forget runs for 2026-03-02 05:00; 2026-03-03 06:20; again 2026-03-03 06:20"},
		{"before its jitter has passed it is not due", "2026-03-02 06:19", []Task{task(Forget, "0 5 * * *", jittered(80*time.Minute), planned("2026-03-02 06:20"))},
			false, "nothing runs; 2026-03-02 06:20; again 2026-03-02 06:20"},
		{"a changed cadence is planned anew", "2026-03-02 12:00", []Task{task(Forget, "0 14 * * *", planned("2026-03-03 05:00"), done("2026-03-02 05:00"))},
			false, "nothing runs; 2026-03-02 14:00; again 2026-03-02 14:00"},
		{"a cadence that was changed to an earlier time does not run for the past", "2026-03-02 12:00", []Task{task(Forget, "0 11 * * *", planned("2026-03-02 14:00"), done("2026-03-01 14:00"))},
			false, "nothing runs; 2026-03-03 11:00; again 2026-03-03 11:00"},
		{"a new object that takes over does not run for a time before it was made", "2026-03-02 12:00", []Task{task(Forget, "0 11 * * *", planned("2026-03-02 05:00"), since("2026-03-02 11:30"))},
			false, "nothing runs; 2026-03-03 11:00; again 2026-03-03 11:00"},
		{"a job that expired is made again when the machine has connected since", "2026-03-02 06:00", []Task{task(Forget, "0 5 * * *", planned("2026-03-03 05:00"), done("2026-03-02 05:00"), expired("2026-03-02 05:15"), connectedAt("2026-03-02 05:50"))},
			false, "forget runs for 2026-03-02 05:00; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"a job that expired keeps its place before what became due with it", "2026-03-02 06:15", []Task{
			task(Forget, "0 5 * * *", planned("2026-03-03 05:00"), done("2026-03-02 05:00"), expired("2026-03-02 05:15")), task(Prune, "0 5 * * *", planned("2026-03-02 05:00"))},
			false, "forget runs for 2026-03-02 05:00; 2026-03-03 05:00; 2026-03-02 05:00 OthersFirst; again 2026-03-03 05:00"},
		{"a job that expired waits for its machine", "2026-03-02 08:00", []Task{task(Forget, "0 5 * * *", planned("2026-03-03 05:00"), done("2026-03-02 05:00"), expired("2026-03-02 05:15"), offline)},
			false, "nothing runs; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"a job that expired on a connected machine is made again after an hour, not at once", "2026-03-02 06:00", []Task{task(Forget, "0 5 * * *", planned("2026-03-03 05:00"), done("2026-03-02 05:00"), expired("2026-03-02 05:15"), connectedAt("2026-03-01 00:00"))},
			false, "nothing runs; 2026-03-03 05:00; again 2026-03-02 06:15"},
		{"and then it is", "2026-03-02 06:15", []Task{task(Forget, "0 5 * * *", planned("2026-03-03 05:00"), done("2026-03-02 05:00"), expired("2026-03-02 05:15"), connectedAt("2026-03-01 00:00"))},
			false, "forget runs for 2026-03-02 05:00; 2026-03-03 05:00; again 2026-03-03 05:00"},
		{"a newer time takes the place of one whose job expired", "2026-03-03 05:00", []Task{task(Forget, "0 5 * * *", planned("2026-03-03 05:00"), done("2026-03-02 05:00"), expired("2026-03-02 05:15"))},
			false, "forget runs for 2026-03-03 05:00; 2026-03-04 05:00; again 2026-03-04 05:00"},
		{"in spring a time that does not exist runs right after the gap", "2026-03-29 01:00", []Task{task(Forget, "", zone("30 2 * * *", "Europe/Zurich"), planned("2026-03-29 01:00"), done("2026-03-28 01:30"))},
			false, "forget runs for 2026-03-29 01:00; 2026-03-30 00:30; again 2026-03-30 00:30"},
		{"in autumn a time that comes twice runs the first time", "2026-10-25 00:30", []Task{task(Forget, "", zone("30 2 * * *", "Europe/Zurich"), planned("2026-10-25 00:30"), done("2026-10-24 00:30"))},
			false, "forget runs for 2026-10-25 00:30; 2026-10-26 01:30; again 2026-10-26 01:30"},
		{"and not the second time", "2026-10-25 01:30", []Task{task(Forget, "", zone("30 2 * * *", "Europe/Zurich"), planned("2026-10-26 01:30"), done("2026-10-25 00:30"))},
			false, "nothing runs; 2026-10-26 01:30; again 2026-10-26 01:30"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := told(Decide(at(test.now), test.tasks, test.underWay)); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if got := told(Decide(at(test.now), test.tasks, test.underWay)); got != test.want {
				t.Errorf("another controller decides %s", got)
			}
		})
	}
}
