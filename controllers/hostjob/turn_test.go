package hostjob

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// fixedClock is always at one time.
type fixedClock struct{ at time.Time }

func (c fixedClock) Now() time.Time                  { return c.at }
func (c fixedClock) Since(t time.Time) time.Duration { return c.at.Sub(t) }

func TestOneAtATimeOnARepository(t *testing.T) {
	other := func(name string, age time.Duration, changes ...func(*v1alpha1.HostJob)) *v1alpha1.HostJob {
		j := job(v1alpha1.HostJobCheck)
		j.Name, j.UID = name, types.UID("uid-of-"+name)
		j.CreationTimestamp = metav1.NewTime(created.Add(-age))
		for _, change := range changes {
			change(j)
		}
		return j
	}
	in := func(phase v1alpha1.HostJobPhase) func(*v1alpha1.HostJob) {
		return func(j *v1alpha1.HostJob) { j.Status.Phase = phase }
	}
	commanded := func(j *v1alpha1.HostJob) { j.Status.Command = &v1alpha1.SignedDocument{Document: "{}"} }
	for _, test := range []struct {
		name   string
		others []*v1alpha1.HostJob
		after  string // the job that is waited for
		says   string
	}{
		{name: "alone it is its turn"},
		{name: "it does not wait for itself", others: []*v1alpha1.HostJob{job(v1alpha1.HostJobForget)}},
		{name: "who came first goes first", others: []*v1alpha1.HostJob{other("early", time.Minute)}, after: "early", says: "comes first"},
		{name: "who comes later waits", others: []*v1alpha1.HostJob{other("late", -time.Minute)}},
		{name: "in the same second the names decide", others: []*v1alpha1.HostJob{other("a", 0)}, after: "a"},
		{name: "and only they", others: []*v1alpha1.HostJob{other("z", 0)}},
		{name: "a running one is waited for", others: []*v1alpha1.HostJob{other("early", time.Second, in(v1alpha1.JobRunning))}, after: "early", says: "is under way"},
		{name: "even when it is younger", others: []*v1alpha1.HostJob{other("late", -time.Second, in(v1alpha1.JobRunning))}, after: "late"},
		{name: "and so is one that may be sent at any moment", others: []*v1alpha1.HostJob{other("late", -time.Second, commanded)}, after: "late"},
		{name: "one that ended is not", others: []*v1alpha1.HostJob{other("early", time.Minute, in(v1alpha1.JobFailed))}},
		{name: "one that must have ended is not, so that a lost machine does not block the repository for ever",
			others: []*v1alpha1.HostJob{other("early", 2*time.Hour, in(v1alpha1.JobRunning))}},
		{name: "of several the one that runs is named", others: []*v1alpha1.HostJob{other("a", time.Minute), other("b", time.Second, in(v1alpha1.JobDispatched))}, after: "b"},
		{name: "or else the first", others: []*v1alpha1.HostJob{other("b", time.Second), other("a", time.Minute)}, after: "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newWorld(t, v1alpha1.HostJobForget)
			f.others = test.others
			d := decide(f)
			if test.after == "" {
				if d.command == nil {
					t.Errorf("no command: %s", d.message)
				}
				return
			}
			if d.phase != v1alpha1.JobPending || d.command != nil || refusal(d.err) != "waits WaitingForRepository" {
				t.Fatalf("phase %s, command %v: %v", d.phase, d.command, d.err)
			}
			for _, part := range []string{`HostJob "` + test.after + `"`, test.says, "cancel it"} {
				if !strings.Contains(d.message, part) {
					t.Errorf("message %q, expected %q in it", d.message, part)
				}
			}
		})
	}
}

func TestWhatWaitsLooksAgainWhenTheOtherMustHaveEnded(t *testing.T) {
	f := newWorld(t, v1alpha1.HostJobForget)
	running := job(v1alpha1.HostJobPrune)
	running.Name, running.UID = "running", "uid-of-running"
	running.CreationTimestamp = metav1.NewTime(created.Add(-50 * time.Minute))
	running.Status.Phase = v1alpha1.JobDispatched
	f.others = []*v1alpha1.HostJob{running}
	if d := decide(f); !d.again.Equal(silentFrom(running)) {
		t.Errorf("looks again at %s, expected %s", d.again, silentFrom(running))
	}
	f.now = startingDeadline(f.job)
	if d := decide(f); d.phase != v1alpha1.JobExpired {
		t.Errorf("phase %s, expected Expired", d.phase)
	}
}

func TestWhatCanNeverRunDoesNotWaitForItsTurn(t *testing.T) {
	f := newWorld(t, v1alpha1.HostJobPrune)
	early := job(v1alpha1.HostJobCheck)
	early.Name, early.UID = "early", "uid-of-early"
	f.others = []*v1alpha1.HostJob{early}
	if d := decide(f); d.phase != v1alpha1.JobFailed || !strings.Contains(d.message, "adminCredentialsSecretRef") {
		t.Errorf("phase %s: %s", d.phase, d.message)
	}
}
