package report

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func (f *fixture) stream(s Session) (*Stream, *peer) {
	p := newPeer()
	st := f.NewStream(s, p)
	f.t.Cleanup(st.End)
	return st, p
}

// backup is the result of a scheduled backup.
func backup(seq int64, change func(*wire.JobFinished)) *wire.JobFinished {
	m := &wire.JobFinished{
		Report: wire.ReportID{Epoch: "e1", Seq: seq}, Outcome: wire.OutcomeSucceeded, StartedAt: start.Add(-time.Minute), FinishedAt: start,
		Job:    wire.JobRef{JobID: fmt.Sprintf("fire-%d", seq), Kind: wire.JobBackup, Schedule: "nightly", Nominal: "2026-03-29T02:30", SourceGroup: "etc"},
		Backup: &wire.BackupSummary{SnapshotID: "5f3a9c1e77", FilesProcessed: 12, BytesStored: 2048},
	}
	if change != nil {
		change(m)
	}
	return m
}

func failed(m *wire.JobFinished) {
	m.Outcome, m.Reason, m.Message, m.Backup = wire.OutcomeFailed, wire.ReasonUnreachable, "the repository does not answer", nil
}

func TestAScheduledBackupCostsTwoWritesAndIsStoredOnce(t *testing.T) {
	f := newFixture(t)
	s := f.connect(1, "p1")
	st, p := f.stream(s)
	f.meter.wrote()
	take(t, st, backup(1, nil))
	if ack := p.ack(t); ack.Report.Seq != 1 || ack.Discarded {
		t.Errorf("ack is %+v", ack)
	}
	if diff := cmp.Diff(map[string]int{"hosts": 1, "events": 1}, f.meter.wrote()); diff != "" {
		t.Errorf("writes: %s", diff)
	}
	h := f.getHost()
	at := metav1.NewTime(start)
	want := []v1alpha1.SourceGroupResult{{Name: "etc", JobID: "fire-1", Schedule: "nightly", Result: "Succeeded",
		StartTime: &metav1.Time{Time: start.Add(-time.Minute)}, FinishTime: &at, LastSuccessTime: &at, LastSnapshotID: "5f3a9c1e77",
		Backup: &v1alpha1.BackupSummary{SnapshotID: "5f3a9c1e77", FilesProcessed: 12, BytesStored: 2048}}}
	if diff := cmp.Diff(want, h.Status.SourceGroups); diff != "" {
		t.Error(diff)
	}
	if !h.Status.LastSuccessTime.Time.Equal(start) || *h.Status.LastReport != (v1alpha1.ReportPosition{Epoch: "e1", Seq: 1}) {
		t.Errorf("status is %+v", h.Status)
	}
	e := f.events()[v1alpha1.EventBackupSucceeded]
	if e.Type != "Normal" || e.ReportingController != ReportingController || e.ReportingInstance != "gw-1" || string(e.Regarding.UID) != string(h.UID) ||
		!strings.Contains(e.Note, "etc") || !strings.Contains(e.Note, "5f3a9c1e") {
		t.Errorf("event is %+v", e)
	}

	// A week later, the ack was lost, through another replica.
	again, q := f.replica("gw-2", f.clock).NewStream(f.session(9, "p2"), p), p
	defer again.End()
	take(t, again, backup(1, nil))
	if ack := q.ack(t); ack.Report.Seq != 1 || ack.Discarded {
		t.Errorf("ack is %+v", ack)
	}
	if w := f.meter.wrote(); len(w) != 0 {
		t.Errorf("a report that came again wrote %v", w)
	}
	// In a new epoch any number is news: the machine lost its disk, or was rolled back.
	take(t, again, backup(1, func(m *wire.JobFinished) { m.Report.Epoch = "e2"; m.Job.JobID = "fire-x"; failed(m) }))
	q.ack(t)
	if got := f.getHost().Status; got.LastReport.Epoch != "e2" || got.SourceGroups[0].ConsecutiveFailures != 1 {
		t.Errorf("status is %+v", got)
	}
	// The same job in one more epoch is stored, and is not one more failure.
	take(t, again, backup(1, func(m *wire.JobFinished) { m.Report.Epoch = "e3"; m.Job.JobID = "fire-x"; failed(m) }))
	q.ack(t)
	if got := f.getHost().Status; got.LastReport.Epoch != "e3" || got.SourceGroups[0].ConsecutiveFailures != 1 {
		t.Errorf("status is %+v", got)
	}
}

func TestResultsOfAGroup(t *testing.T) {
	f := newFixture(t)
	st, p := f.stream(f.connect(1, "p1"))
	later := start.Add(48 * time.Hour)
	for i, c := range []struct {
		name      string
		change    func(*wire.JobFinished)
		result    v1alpha1.JobResult
		failures  int32
		snapshot  string
		success   time.Time
		finished  time.Time
		eventKind string
	}{
		{"fails at first", failed, "Failed", 1, "", time.Time{}, start, v1alpha1.EventBackupFailed},
		{"fails again", failed, "Failed", 2, "", time.Time{}, start, ""},
		{"is cancelled", func(m *wire.JobFinished) {
			failed(m)
			m.Outcome, m.Reason = wire.OutcomeCancelled, wire.ReasonCancelled
		}, "Cancelled", 2, "",
			time.Time{}, start, v1alpha1.EventBackupCancelled},
		{"misses some files", func(m *wire.JobFinished) {
			m.Outcome, m.Reason, m.Message = wire.OutcomeCompletedWithErrors, wire.ReasonSourceUnreadable, "2 files"
			m.Backup.Errors, m.Backup.FailedPaths = 30, strings.Split(strings.Repeat("/a/"+strings.Repeat("é", 500)+"\n", 20), "\n")[:20]
		}, "CompletedWithErrors", 0, "5f3a9c1e77", time.Time{}, start, v1alpha1.EventBackupIncomplete},
		{"succeeds by a clock that is ahead", func(m *wire.JobFinished) { m.FinishedAt = later }, "Succeeded", 0, "5f3a9c1e77", start, start,
			v1alpha1.EventBackupSucceeded},
		{"fails after that", failed, "Failed", 1, "5f3a9c1e77", start, start, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := backup(int64(i+1), c.change)
			take(t, st, m)
			p.ack(t)
			r := f.getHost().Status.SourceGroups[0]
			if r.Result != c.result || r.ConsecutiveFailures != c.failures || r.LastSnapshotID != c.snapshot || r.Reason != string(m.Reason) {
				t.Errorf("result is %+v", r)
			}
			if c.success.IsZero() != (r.LastSuccessTime == nil) || r.LastSuccessTime != nil && !r.LastSuccessTime.Time.Equal(c.success) {
				t.Errorf("last success is %v, want %v", r.LastSuccessTime, c.success)
			}
			if !r.FinishTime.Time.Equal(c.finished) {
				t.Errorf("finished at %v, want %v", r.FinishTime, c.finished)
			}
			if r.Backup != nil {
				for _, path := range r.Backup.FailedPaths {
					if len(path) > maxResultPath || !strings.HasPrefix(path, "/a/") {
						t.Errorf("failed path %q", path)
					}
				}
				if len(r.Backup.FailedPaths) > maxResultPaths {
					t.Errorf("%d failed paths", len(r.Backup.FailedPaths))
				}
			}
			if c.eventKind == "" {
				return
			}
			if names := f.eventList(); !strings.Contains(strings.Join(names, " "), c.eventKind) {
				t.Errorf("events are %v", names)
			}
		})
	}
}

func TestOnlyGroupsOfTheSetAreKept(t *testing.T) {
	f := newFixture(t)
	st, p := f.stream(f.connect(1, "p1"))
	take(t, st, backup(1, nil))
	p.ack(t)
	take(t, st, backup(2, func(m *wire.JobFinished) { m.Job.SourceGroup = "gone" }))
	if ack := p.ack(t); ack.Discarded {
		t.Errorf("the result of a group that is gone was discarded: %s", ack.Reason)
	}
	if got := f.getHost().Status; len(got.SourceGroups) != 1 || got.LastReport.Seq != 2 {
		t.Errorf("status is %+v", got)
	}
	set := f.set()
	set.Spec.Groups = []v1alpha1.ScheduleSetGroup{{Name: "home", Generation: 1}}
	if err := f.client.Update(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	take(t, st, backup(3, func(m *wire.JobFinished) { m.Job.SourceGroup = "home" }))
	p.ack(t)
	if got := f.getHost().Status.SourceGroups; len(got) != 1 || got[0].Name != "home" {
		t.Errorf("groups are %+v", got)
	}
}

func TestTheGroupThatIsFarthestBehindTellsSinceWhenAllIsBackedUp(t *testing.T) {
	f := newFixture(t)
	st, p := f.stream(f.connect(1, "p1"))
	set := f.set()
	set.Spec.Groups = []v1alpha1.ScheduleSetGroup{{Name: "etc", Generation: 1}, {Name: "home", Generation: 1}, {Name: "db", Generation: 1}}
	fires := func(suspended bool, groups ...string) {
		t.Helper()
		set.Spec.Schedules = []v1alpha1.ScheduleSetSchedule{{Name: "nightly", Generation: 1, SourceGroups: groups, Suspended: suspended}}
		if err := f.client.Update(t.Context(), set); err != nil {
			t.Fatal(err)
		}
	}
	fires(false, "etc", "home")
	ago := func(minutes int) time.Time { return start.Add(-time.Duration(minutes) * time.Minute) }
	for i, step := range []struct {
		name, group string
		finished    time.Time
		change      func(*wire.JobFinished)
		before      func()
		want        time.Time
	}{
		{name: "what nothing fires does not count", group: "db", finished: ago(50), want: time.Time{}},
		{name: "the first success of one that is fired", group: "etc", finished: ago(40), want: ago(40)},
		{name: "a later one of another", group: "home", finished: ago(30), want: ago(40)},
		{name: "a failure of the one that is behind", group: "etc", finished: ago(20), change: failed, want: ago(40)},
		{name: "its next success", group: "etc", finished: ago(10), want: ago(30)},
		{name: "when all is suspended, all counts", group: "home", finished: ago(5), before: func() { fires(true, "etc", "home") }, want: ago(50)},
	} {
		t.Run(step.name, func(t *testing.T) {
			if step.before != nil {
				step.before()
			}
			take(t, st, backup(int64(i+1), func(m *wire.JobFinished) {
				if step.change != nil {
					step.change(m)
				}
				m.Job.JobID, m.Job.SourceGroup, m.StartedAt, m.FinishedAt = fmt.Sprintf("fire-%d", i), step.group, step.finished.Add(-time.Minute), step.finished
			}))
			p.ack(t)
			if got := f.getHost().Status.OldestSuccessTime; got.IsZero() != step.want.IsZero() || got != nil && !got.Time.Equal(step.want) {
				t.Errorf("everything is backed up since %v, want %v", got, step.want)
			}
		})
	}
}

func TestAHostJobFromDispatchToResult(t *testing.T) {
	f := newFixture(t)
	s := f.connect(1, "p1")
	st, p := f.stream(s)
	job := f.job("now", v1alpha1.JobPending)
	send, err := f.Dispatched(t.Context(), s, job)
	if err != nil || !send || f.getJob("now").Status.Phase != v1alpha1.JobDispatched {
		t.Fatalf("dispatched: %v, %v", send, err)
	}
	ref := refOf(job)
	take(t, st, &wire.JobStarted{Job: ref, Queued: true})
	take(t, st, &wire.JobStarted{Job: ref, StartedAt: start})
	expect := func(what string, ok func(*v1alpha1.HostJobStatus) bool) {
		t.Helper()
		env.Eventually(t, time.Minute, what, func(context.Context) error {
			if status := f.getJob("now").Status; !ok(&status) {
				return fmt.Errorf("status is %+v", status)
			}
			return nil
		})
	}
	expect("running", func(s *v1alpha1.HostJobStatus) bool {
		return s.Phase == v1alpha1.JobRunning && s.StartTime.Time.Equal(start)
	})
	progress := func(done int64, retrying string) {
		take(t, st, &wire.JobProgress{Job: ref, BytesDone: done, BytesTotal: 200, FilesDone: done, FilesTotal: 9, Retrying: retrying})
	}
	percent := func(n int32) func(*v1alpha1.HostJobStatus) bool {
		return func(s *v1alpha1.HostJobStatus) bool { return s.Progress != nil && s.Progress.Percent == n }
	}
	progress(20, "")
	expect("the first progress at once", percent(10))
	progress(40, "")
	progress(50, "dial tcp: connection refused")
	expect("that it is retrying, at once", func(s *v1alpha1.HostJobStatus) bool { return s.Progress.Retrying != "" && s.Progress.Percent == 25 })
	progress(60, "dial tcp: connection refused")
	f.clock.Step(progressEvery)
	progress(100, "dial tcp: connection refused")
	expect("the next progress after ten seconds", percent(50))

	older := f.session(0, "p0")
	if err := f.progress(t.Context(), older, &wire.JobProgress{Job: ref, BytesDone: 1, BytesTotal: 2}, start); !errors.Is(err, errSuperseded) {
		t.Errorf("the progress of an older session: %v", err)
	}

	m := backup(1, func(m *wire.JobFinished) { m.Job = ref; m.LogTail = "done"; m.ExitCode = 0 })
	take(t, st, m)
	p.ack(t)
	got := f.getJob("now").Status
	if got.Phase != v1alpha1.JobSucceeded || got.Result.Backup.SnapshotID != "5f3a9c1e77" || got.LogTail != "done" || got.Progress != nil ||
		!got.CompletionTime.Time.Equal(start) {
		t.Errorf("status is %+v", got)
	}
	if r := f.getHost().Status.SourceGroups; len(r) != 1 || r[0].Schedule != "" || r[0].JobID != ref.JobID {
		t.Errorf("groups are %+v", r)
	}
	if e := f.events()[v1alpha1.EventBackupSucceeded]; e.Related == nil || e.Related.Name != "now" {
		t.Errorf("event is %+v", e)
	}
	// Nothing overwrites the end.
	take(t, st, backup(2, func(m *wire.JobFinished) { m.Job = ref; failed(m) }))
	p.ack(t)
	if got := f.getJob("now").Status.Phase; got != v1alpha1.JobSucceeded {
		t.Errorf("phase is %s", got)
	}
}

func TestOfAResultThatTheAPIServerDoesNotTakePeopleAreTold(t *testing.T) {
	f := newFixture(t)
	s := f.connect(1, "p1")
	job := f.job("now", v1alpha1.JobDispatched)
	f.o.Client = &interceptor{Client: f.client, beforePatch: func(object client.Object) error {
		if kind := object.GetObjectKind().GroupVersionKind(); kind.Kind == "HostJob" {
			return apierrors.NewInvalid(kind.GroupKind(), object.GetName(), nil)
		}
		return nil
	}}
	st, p := f.stream(s)
	take(t, st, backup(1, func(m *wire.JobFinished) { m.Job = refOf(job) }))
	if ack := p.ack(t); !ack.Discarded || !strings.Contains(ack.Reason, "the API server does not take it") {
		t.Errorf("the ack is %+v", ack)
	}
	if _, told := f.events()[v1alpha1.EventBackupSucceeded]; !told {
		t.Errorf("Events are %v", f.eventList())
	}
	if last := f.getHost().Status.LastReport; last != nil {
		t.Errorf("the Host says that it is stored: %+v", last)
	}
}

func TestJobsThatAreNotToBeSent(t *testing.T) {
	f := newFixture(t)
	s := f.connect(5, "p1")
	for _, c := range []struct {
		name string
		job  func() *v1alpha1.HostJob
		send bool
	}{
		{"finished", func() *v1alpha1.HostJob { return f.job("finished", v1alpha1.JobFailed) }, false},
		{"running already", func() *v1alpha1.HostJob { return f.job("running", v1alpha1.JobRunning) }, true},
		{"cancelled while it waits", func() *v1alpha1.HostJob {
			job := f.job("cancelled", v1alpha1.JobPending)
			job.Spec.Cancel = true
			if err := f.client.Update(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			return job
		}, false},
		{"deleted", func() *v1alpha1.HostJob {
			job := f.job("deleted", v1alpha1.JobPending)
			if err := f.client.Delete(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			return job
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			job := c.job()
			f.meter.wrote()
			send, err := f.Dispatched(t.Context(), s, job)
			if err != nil || send != c.send || len(f.meter.wrote()) != 0 {
				t.Errorf("send=%v, %v; want %v and no write", send, err, c.send)
			}
		})
	}
}

func TestAMachineCannotTouchTheJobsOfOthers(t *testing.T) {
	f := newFixture(t)
	st, p := f.stream(f.connect(1, "p1"))
	job := f.job("theirs", v1alpha1.JobDispatched)
	job2 := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Namespace: f.host.Namespace, Name: "of-web-2"}, Spec: *job.Spec.DeepCopy()}
	job2.Spec.HostRef.Name = "web-2"
	f.create(job2)
	refs := []wire.JobRef{refOf(job2), refOf(job), refOf(job), refOf(job)}
	refs[1].HostJobUID = "another-uid"
	refs[2].JobID = "job-made-up"
	refs[3].HostJob = "../../hosts/web-2"
	for i, ref := range refs {
		take(t, st, backup(int64(i+1), func(m *wire.JobFinished) { m.Job = ref }))
		if ack := p.ack(t); ack.Report.Seq != int64(i+1) {
			t.Errorf("ack is %+v", ack)
		}
	}
	for _, name := range []string{"theirs", "of-web-2"} {
		if got := f.getJob(name).Status; got.Phase.Finished() || got.Result != nil {
			t.Errorf("%s was touched: %+v", name, got)
		}
	}
}

func TestRepositoryStates(t *testing.T) {
	f := newFixture(t)
	st, p := f.stream(f.connect(1, "p1"))
	url := "rest:https://backup.example.com/web-1"
	for i, c := range []struct {
		name    string
		message wire.Report
		state   string
		reason  string
		event   string
	}{
		{"the first initialisation fails", &wire.JobFinished{Job: wire.JobRef{JobID: "init-1", Kind: wire.JobInit}, Outcome: wire.OutcomeFailed,
			Reason: wire.ReasonUnauthorized, Message: "403", FinishedAt: start}, "Failed", "Unauthorized", v1alpha1.EventInitFailed},
		{"it retries", &wire.RepoState{State: wire.RepositoryRetrying, Reason: wire.ReasonUnreachable, Message: "refused", URL: url, Time: start},
			"Retrying", "Unreachable", ""},
		{"it is ready", &wire.RepoState{State: wire.RepositoryReady, URL: url, Time: start}, "Ready", "", v1alpha1.EventRepositoryReady},
		{"it is told again by the next process", &wire.RepoState{State: wire.RepositoryReady, URL: url, Time: start}, "Ready", "", ""},
		{"it is locked out", &wire.RepoState{State: wire.RepositoryFailed, Reason: wire.ReasonWrongPassword, Message: "wrong", URL: url, Time: start},
			"Failed", "WrongPassword", v1alpha1.EventRepositoryFailed},
		{"another initialisation succeeds", &wire.JobFinished{Job: wire.JobRef{JobID: "init-2", Kind: wire.JobInit}, Outcome: wire.OutcomeSucceeded,
			FinishedAt: start}, "Ready", "", v1alpha1.EventInitSucceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(f.eventList())
			c.message.SetID(wire.ReportID{Epoch: "e", Seq: int64(i + 1)})
			take(t, st, c.message)
			p.ack(t)
			got := f.getHost().Status
			if got.Repository.State != c.state || got.Repository.Reason != c.reason || got.LastReport.Seq != int64(i+1) {
				t.Errorf("repository is %+v, last report %+v", got.Repository, got.LastReport)
			}
			events := f.eventList()
			if c.event == "" && len(events) != before || c.event != "" && !strings.Contains(strings.Join(events, " "), c.event) {
				t.Errorf("events are %v", events)
			}
		})
	}
}

func TestReportsAreAckedInOrderAndOnlyWhenTheyAreStored(t *testing.T) {
	f := newFixture(t)
	s := f.connect(1, "p1")
	down := make(chan struct{}, 1)
	flaky := &interceptor{Client: f.client}
	failures := 0
	flaky.beforePatch = func(client.Object) error {
		if failures++; failures <= 2 {
			down <- struct{}{}
			return apierrors.NewServiceUnavailable("the API server is away")
		}
		return nil
	}
	w := NewWriter(Options{Client: flaky, Live: f.client, Cache: slimmed{f.client}, Gateway: "gw-1", Clock: f.clock, Meter: f.meter, Logger: f.o.Logger})
	p := newPeer()
	st := w.NewStream(s, p)
	defer st.End()
	for seq := range int64(3) {
		take(t, st, backup(seq+1, nil))
	}
	for range 2 {
		<-down
		if len(p.sent) != 0 {
			t.Fatal("a report was acked that is not stored")
		}
		env.Eventually(t, time.Minute, "the stream waits for its retry", func(context.Context) error {
			if !f.clock.HasWaiters() {
				return errors.New("not yet")
			}
			return nil
		})
		f.clock.Step(lastRetry)
	}
	for want := range int64(3) {
		if ack := p.ack(t); ack.Report.Seq != want+1 {
			t.Errorf("ack %d is %+v", want+1, ack)
		}
	}
	if n := len(f.eventList()); n != 3 {
		t.Errorf("%d Events for 3 reports", n)
	}
}

func TestAStreamStopsAtTheFirstReportOfANewerSession(t *testing.T) {
	f := newFixture(t)
	older := f.connect(1, "p1")
	job := f.job("now", v1alpha1.JobPending)
	newer := f.connect(2, "p1")
	if _, err := f.Dispatched(t.Context(), newer, job); err != nil {
		t.Fatal(err)
	}
	st, p := f.stream(older)
	take(t, st, backup(1, func(m *wire.JobFinished) { m.Job = refOf(job) }))
	// The next may find the stream ended already; what counts is that it is not stored.
	_ = st.Take(backup(2, nil))
	select {
	case e := <-p.closed:
		if e.Code != wire.CodeSuperseded {
			t.Errorf("closed with %v", e)
		}
	case <-time.After(time.Minute):
		t.Fatal("the older session goes on")
	}
	if got := f.getHost().Status.LastReport; got != nil || len(p.sent) != 0 {
		t.Errorf("the older session stored %+v and acked %d", got, len(p.sent))
	}
	again, q := f.stream(newer)
	for seq := range int64(2) {
		take(t, again, backup(seq+1, func(m *wire.JobFinished) {
			if seq == 0 {
				m.Job = refOf(job)
			}
		}))
		q.ack(t)
	}
	if got := f.getHost().Status.LastReport; got.Seq != 2 || f.getJob("now").Status.Phase != v1alpha1.JobSucceeded {
		t.Errorf("last report is %+v", got)
	}
}

func TestAReportThatTheAPIServerNeverTakesIsDiscarded(t *testing.T) {
	f := newFixture(t)
	s := f.connect(1, "p1")
	picky := &interceptor{Client: f.client, beforePatch: func(client.Object) error { return apierrors.NewBadRequest("no") }}
	w := NewWriter(Options{Client: picky, Live: f.client, Cache: slimmed{f.client}, Gateway: "gw-1", Clock: f.clock, Meter: f.meter, Logger: f.o.Logger})
	p := newPeer()
	st := w.NewStream(s, p)
	defer st.End()
	take(t, st, backup(1, nil))
	if ack := p.ack(t); !ack.Discarded || ack.Reason == "" {
		t.Errorf("ack is %+v", ack)
	}
}
