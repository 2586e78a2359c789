package job

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/cli/kube"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

var now = time.Date(2026, 11, 28, 14, 30, 0, 0, time.UTC)

func at(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(d)) }

func TestWhatARequestMeans(t *testing.T) {
	host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", Labels: map[string]string{"role": "web"}}}
	maintenance := func(name, executor string, age time.Duration) v1alpha1.RepoMaintenance {
		m := v1alpha1.RepoMaintenance{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: at(-age)}}
		m.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}
		if executor != "" {
			m.Spec.ExecutorRef = &v1alpha1.LocalReference{Name: executor}
		}
		return m
	}
	facts := Facts{Host: host, Groups: []string{"etc", "home"}}
	executed := facts
	executed.Maintenances = []v1alpha1.RepoMaintenance{maintenance("plain", "", 3*time.Hour), maintenance("young", "vault-2", time.Hour), maintenance("old", "vault", 2*time.Hour)}
	for _, tt := range []struct {
		name    string
		facts   Facts
		request Request
		want    string // kind, host, target and group of each job
		fails   string
	}{
		{"a backup is of each group", facts, Request{Kind: v1alpha1.HostJobBackup}, "Backup web-1 web-1 etc; Backup web-1 web-1 home", ""},
		{"a backup of one group", facts, Request{Kind: v1alpha1.HostJobBackup, Group: "home"}, "Backup web-1 web-1 home", ""},
		{"a backup of a group that is not the host's", facts, Request{Kind: v1alpha1.HostJobBackup, Group: "var"}, "", "its groups are etc, home"},
		{"a backup of a host without groups", Facts{Host: host}, Request{Kind: v1alpha1.HostJobBackup}, "", "create a SourceGroup"},
		{"a backup of a host whose set is not there yet", Facts{Host: host}, Request{Kind: v1alpha1.HostJobBackup, Group: "etc"}, "Backup web-1 web-1 etc", ""},
		{"a check with a group", facts, Request{Kind: v1alpha1.HostJobCheck, Group: "etc"}, "", "a check is of the whole repository"},
		{"a prune by the machine itself", facts, Request{Kind: v1alpha1.HostJobPrune}, "Prune web-1 web-1 ", ""},
		{"a prune by the executor of the oldest maintenance", executed, Request{Kind: v1alpha1.HostJobPrune}, "Prune vault web-1 ", ""},
		{"a forget of one group by the executor", executed, Request{Kind: v1alpha1.HostJobForget, Group: "etc"}, "Forget vault web-1 etc", ""},
		{"a backup is never the executor's", executed, Request{Kind: v1alpha1.HostJobBackup, Group: "etc"}, "Backup web-1 web-1 etc", ""},
		{"a restore drill is never the executor's", executed, Request{Kind: v1alpha1.HostJobVerify}, "Verify web-1 web-1 ", ""},
		{"an unlock is the machine's own", executed, Request{Kind: v1alpha1.HostJobUnlock}, "Unlock web-1 web-1 ", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			jobs, err := Plan(tt.facts, tt.request)
			if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Fatalf("got %v, expected an error with %q", err, tt.fails)
			}
			var got []string
			for _, j := range jobs {
				got = append(got, strings.Join([]string{string(j.Spec.Kind), j.Spec.HostRef.Name, j.TargetName(), j.GroupName()}, " "))
			}
			if text := strings.Join(got, "; "); text != tt.want {
				t.Errorf("got %q, expected %q", text, tt.want)
			}
		})
	}
}

// underWay is a backup under way.
func underWay(p *v1alpha1.JobProgress) *v1alpha1.HostJob {
	j := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Name: "backup-1", Namespace: "shop"}}
	started := at(-time.Minute)
	j.Status.Phase, j.Status.StartTime, j.Status.Progress = v1alpha1.JobRunning, &started, p
	return j
}

func progress(done, total int64, ago time.Duration) *v1alpha1.JobProgress {
	return &v1alpha1.JobProgress{Percent: int32(done * 100 / total), BytesDone: done, BytesTotal: total, FilesDone: done / (1 << 20), FilesTotal: total / (1 << 20), UpdateTime: at(ago)}
}

func TestHowFarAJobIs(t *testing.T) {
	const mib = 1 << 20
	half := progress(512*mib, 1024*mib, 0)
	m := &Meter{}
	m.Add(progress(312*mib, 1024*mib, -20*time.Second))
	m.Add(half)
	retrying := *half
	retrying.Retrying, retrying.Attempt = "connection refused\x1b[2J", 2
	pending, queued := &v1alpha1.HostJob{}, &v1alpha1.HostJob{}
	pending.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Message: "the machine is not connected"}}
	queued.Status.Phase, queued.Status.Queued = v1alpha1.JobDispatched, true
	done := underWay(half)
	ended := at(0)
	done.Status.Phase, done.Status.CompletionTime = v1alpha1.JobSucceeded, &ended
	done.Status.Result = &v1alpha1.JobResultStatus{Backup: &v1alpha1.BackupSummary{SnapshotID: "1a2b3c4d5e6f", FilesProcessed: 10, BytesProcessed: 2048, BytesAdded: 1024, BytesStored: 512}}
	for _, tt := range []struct {
		name, want string
		job        *v1alpha1.HostJob
		meter      *Meter
		width      int
	}{
		{"it waits", "waiting: the machine is not connected", pending, &Meter{}, 80},
		{"it is queued", "queued: the machine runs another job of this repository first", queued, &Meter{}, 80},
		{"it has begun, and nothing is known", "running 60s", underWay(nil), &Meter{}, 80},
		{"it is half done", "[###########...........] 50%, 512.0 MiB of 1.0 GiB, 512 of 1024 files, 10.0 MiB/s, 51s left", underWay(half), m, 92},
		{"on a broad terminal the bar is longer", "[###############...............] 50%, 512.0 MiB of 1.0 GiB, 512 of 1024 files, 10.0 MiB/s, 51s left", underWay(half), m, 200},
		{"on a narrow terminal there is no bar", "50%, 512.0 MiB of 1.0 GiB, 512 of 1024 …", underWay(half), m, 41},
		{"it retries", "50%, 512.0 MiB of 1.0 GiB, 512 of 1024 files, attempt 2, retrying: connection refused^[[2J", underWay(&retrying), &Meter{}, 92},
		{"it succeeded", "succeeded after 60s; snapshot 1a2b3c4d: 10 files, 2.0 KiB, of which 1.0 KiB new and 512 B stored", done, m, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Bar(tt.job, tt.meter, now, tt.width); got != tt.want {
				t.Errorf("got\n%s\nexpected\n%s", got, tt.want)
			}
		})
	}
}

func TestARateIsOfTheLastReports(t *testing.T) {
	m := &Meter{}
	if m.Add(progress(0, 1000, -time.Hour)); m.Rate() != 0 {
		t.Error("one report gives no rate")
	}
	for i := range 10 {
		m.Add(progress(int64(i)*100, 1000, time.Duration(i)*10*time.Second))
	}
	if m.Rate() != 10 {
		t.Errorf("the rate is %f, expected 10", m.Rate())
	}
	m.Add(progress(100, 1000, 50*time.Second)) // an old report
	if m.Rate() != 10 {
		t.Errorf("an old report changed the rate to %f", m.Rate())
	}
	m.Add(progress(0, 1000, 200*time.Second)) // the next attempt
	if m.Rate() != 0 {
		t.Errorf("after a new attempt the rate is %f, expected that it is not known", m.Rate())
	}
}

// watching starts a watch of a job that runs; what is answered to a question stands in answers.
func watching(t *testing.T, answers string) (c client.WithWatch, j *v1alpha1.HostJob, i *terminal.Interrupts, out *output, ended chan error) {
	t.Helper()
	if answers == "" {
		return watchingWith(t, nil)
	}
	return watchingWith(t, strings.NewReader(answers))
}

// output can be read while it is written.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func watchingWith(t *testing.T, in io.Reader) (c client.WithWatch, j *v1alpha1.HostJob, i *terminal.Interrupts, out *output, ended chan error) {
	t.Helper()
	c = fake.NewClientBuilder().WithScheme(kube.Scheme()).WithStatusSubresource(&v1alpha1.HostJob{}).WithObjects(underWay(nil)).Build()
	ctx, i := terminal.NewInterrupts(t.Context())
	out = &output{}
	on := terminal.New(genericiooptions.IOStreams{In: in, Out: out, ErrOut: out}, i)
	on.Answers = in != nil
	j, ended = underWay(nil), make(chan error, 1)
	caught := make(chan struct{})
	w := &Watcher{Client: c, Terminal: on, Clock: signalled{clock.RealClock{}, caught}}
	go func() { ended <- w.Watch(ctx, j) }()
	<-caught
	return c, j, i, out, ended
}

// signalled tells that the watch stands: it takes its ticker after it has caught Ctrl-C.
type signalled struct {
	clock.RealClock
	stands chan struct{}
}

func (s signalled) NewTicker(d time.Duration) clock.Ticker {
	close(s.stands)
	return s.RealClock.NewTicker(d)
}

func TestABarMovesOnATerminalAndLeavesNothingBehind(t *testing.T) {
	var out bytes.Buffer
	on := terminal.New(genericiooptions.IOStreams{Out: &out, ErrOut: &out}, nil)
	on.Interactive, on.Width = true, func() int { return 60 }
	d := &display{w: &Watcher{Terminal: on, Clock: clock.RealClock{}}, meter: &Meter{}}
	j := underWay(progress(1<<20, 4<<20, 0))
	d.show(j)
	j.Status.Progress = progress(2<<20, 4<<20, 10*time.Second)
	d.show(j)
	d.again(j)
	d.clear()
	j.Status.Phase = v1alpha1.JobSucceeded
	d.again(j)
	frames := strings.Split(out.String(), "\r")
	if len(frames) != 5 || !strings.Contains(frames[1], "25%, 1.0 MiB of 4.0 MiB") || !strings.Contains(frames[2], "104.8 KiB/s") && !strings.Contains(frames[2], "102.4 KiB/s") || frames[4] != "\x1b[K" {
		t.Errorf("drawn: %q", frames)
	}
	for _, f := range frames {
		if n := len([]rune(strings.TrimSuffix(f, "\x1b[K"))); n >= 60 {
			t.Errorf("%q has %d columns, and would wrap", f, n)
		}
	}
}

func TestCtrlCAsksWhatIsMeant(t *testing.T) {
	t.Run("to stop watching", func(t *testing.T) {
		c, j, i, out, ended := watching(t, "s\n")
		i.Fire()
		if err := <-ended; !errors.Is(err, ErrStopped) || !strings.Contains(out.String(), "kubectl restic logs job/backup-1 -n shop -f") {
			t.Errorf("got %v and %q", err, out)
		}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(j), j); err != nil || j.Spec.Cancel {
			t.Errorf("the job is cancelled: %v (%v), expected that it goes on", j.Spec.Cancel, err)
		}
	})
	t.Run("twice, to stop at once", func(t *testing.T) {
		read, write := io.Pipe() // nobody answers
		defer write.Close()
		_, _, i, out, ended := watchingWith(t, read)
		i.Fire()
		for asked := false; !asked; asked = strings.Contains(out.String(), "[s] ") {
			runtime.Gosched()
		}
		i.Fire()
		if err := <-ended; !errors.Is(err, ErrStopped) {
			t.Errorf("got %v, expected that it stops watching", err)
		}
	})
	t.Run("without a terminal it stops watching", func(t *testing.T) {
		_, _, i, out, ended := watching(t, "")
		i.Fire()
		if err := <-ended; !errors.Is(err, ErrStopped) || !strings.Contains(out.String(), "kubectl restic cancel backup-1") {
			t.Errorf("got %v and %q", err, out)
		}
	})
	t.Run("to cancel the job", func(t *testing.T) {
		c, j, i, out, ended := watching(t, "c\n")
		i.Fire()
		now := underWay(nil)
		err := kube.Until(t.Context(), c, now, func(j *v1alpha1.HostJob) (bool, error) { return j.Spec.Cancel, nil })
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(now), now); err != nil {
			t.Fatal(err)
		}
		now.Status.Phase = v1alpha1.JobCancelled
		if err := c.Status().Update(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, ErrFailed) || j.Status.Phase != v1alpha1.JobCancelled || !strings.Contains(out.String(), "was cancelled") {
			t.Errorf("got %v, phase %s and %q", err, j.Status.Phase, out)
		}
	})
}
