package host

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/overdue"
)

func TestBackupsCurrent(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	night := metav1.NewTime(time.Date(2026, 3, 2, 2, 30, 0, 0, time.UTC))
	earlier := metav1.NewTime(night.Add(-48 * time.Hour))
	due := func(group string) v1alpha1.OverdueBackup {
		return v1alpha1.OverdueBackup{SourceGroup: group, Schedule: "nightly", DueTime: night}
	}
	for _, test := range []struct {
		name    string
		change  func(*v1alpha1.Host)
		verdict overdue.Verdict
		away    bool
		want    string
	}{
		{
			name: "nobody enrolled", change: func(h *v1alpha1.Host) { h.Spec.Identity = nil },
			want: "Unknown NotEnrolled: no machine has enrolled yet: see condition Enrolled",
		},
		{name: "nothing is scheduled", want: "Unknown NothingScheduled: no Schedule fires a SourceGroup on this Host"},
		{name: "all is suspended", verdict: overdue.Verdict{Suspended: true}, want: "Unknown Suspended: no backup is expected: spec.suspend of the Host or of its Schedules stops all of them"},
		{
			name: "a first backup has to come", verdict: overdue.Verdict{Expected: 2, Waiting: []string{"etc"}},
			want: "Unknown WaitingForFirstBackup: nothing is overdue; waiting for the first success of etc",
		},
		{name: "all is well", verdict: overdue.Verdict{Expected: 2}, want: "True UpToDate: no backup is overdue, of 2 source groups that Schedules fire"},
		{
			name: "one never ran", verdict: overdue.Verdict{Expected: 1, Overdue: []v1alpha1.OverdueBackup{due("etc")}},
			want: "False Overdue: 1 backup is overdue: SourceGroup etc was due at 2026-03-02T02:30:00Z by Schedule nightly, and has never run",
		},
		{
			name: "one keeps failing", verdict: overdue.Verdict{Expected: 1, Overdue: []v1alpha1.OverdueBackup{due("etc")}},
			change: func(h *v1alpha1.Host) {
				h.Status.SourceGroups = []v1alpha1.SourceGroupResult{{Name: "etc", Result: v1alpha1.ResultFailed, Reason: "WrongPassword", LastSuccessTime: &earlier}}
			},
			want: "False Overdue: 1 backup is overdue: SourceGroup etc was due at 2026-03-02T02:30:00Z by Schedule nightly, and last succeeded at 2026-02-28T02:30:00Z " +
				"(the last one: Failed, WrongPassword; see status.sourceGroups)",
		},
		{
			name: "of many five are named, and why nobody answers", away: true,
			verdict: overdue.Verdict{Expected: 7, Overdue: []v1alpha1.OverdueBackup{due("a"), due("b"), due("c"), due("d"), due("e"), due("f"), due("g")}},
			want: "False Overdue: 7 backups are overdue: " +
				"SourceGroup a was due at 2026-03-02T02:30:00Z by Schedule nightly, and has never run; " +
				"SourceGroup b was due at 2026-03-02T02:30:00Z by Schedule nightly, and has never run; " +
				"SourceGroup c was due at 2026-03-02T02:30:00Z by Schedule nightly, and has never run; " +
				"SourceGroup d was due at 2026-03-02T02:30:00Z by Schedule nightly, and has never run; " +
				"SourceGroup e was due at 2026-03-02T02:30:00Z by Schedule nightly, and has never run; and 2 more; the machine is not connected: see condition Connected",
		},
		{
			name: "a laptop is off", away: true, change: func(h *v1alpha1.Host) { h.Spec.OfflineGrace = &metav1.Duration{Duration: 72 * time.Hour} },
			verdict: overdue.Verdict{Expected: 1, Late: []v1alpha1.OverdueBackup{due("etc")}},
			want: "Unknown HostOffline: 1 backup is late, since the machine is or was away: SourceGroup etc was due at 2026-03-02T02:30:00Z by Schedule nightly, and has never run; " +
				"it counts as overdue when spec.offlineGrace (72h0m0s) is used up",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			host := &v1alpha1.Host{Spec: v1alpha1.HostSpec{Identity: &v1alpha1.HostIdentity{}}}
			if test.change != nil {
				test.change(host)
			}
			test.verdict.Next = now.Add(time.Hour)
			got := backupsCurrent(host, test.verdict, !test.away, now)
			if says := string(got.status) + " " + got.reason + ": " + got.message; says != test.want {
				t.Errorf("got  %s\nwant %s", says, test.want)
			}
			if got.again != time.Hour {
				t.Errorf("looks again after %v, want an hour", got.again)
			}
		})
	}
}

func TestAHostFallsOverdueAndRecoversWithOneEventEach(t *testing.T) {
	h := newHarness(t)
	// The night of the test, whatever day it is.
	h.clock.SetTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	h.create(newSecret(), newHost("web-1"), newGroup("etc"), newSchedule("nightly", "etc"))
	h.enrolHost("web-1", newAgent(t))
	h.run("web-1")
	h.wantCondition("web-1", v1alpha1.ConditionBackupsCurrent, "Unknown WaitingForFirstBackup", "etc")
	host := h.host("web-1")
	if len(host.Status.Schedules) != 1 || host.Status.NextRunTime == nil || !host.Status.NextRunTime.Time.Equal(time.Date(2026, 3, 2, 2, 30, 0, 0, time.UTC)) {
		t.Fatalf("schedules are %+v, next run %v", host.Status.Schedules, host.Status.NextRunTime)
	}
	h.drainEvents()

	wait := h.run("web-1").RequeueAfter
	if want := time.Date(2026, 3, 2, 8, 30, 0, 0, time.UTC).Sub(h.clock.Now()); wait > want {
		t.Fatalf("looks again after %v, want at most %v, when the backup is overdue", wait, want)
	}
	h.clock.SetTime(time.Date(2026, 3, 2, 8, 30, 0, 0, time.UTC))
	stale := h.host("web-1")
	h.run("web-1")
	h.wantCondition("web-1", v1alpha1.ConditionBackupsCurrent, "False Overdue", "SourceGroup etc was due at 2026-03-02T02:30:00Z by Schedule nightly")
	if got := h.host("web-1").Status.Overdue; len(got) != 1 || got[0].SourceGroup != "etc" || got[0].Schedule != "nightly" {
		t.Errorf("overdue is %+v", got)
	}
	h.run("web-1")
	// The cache may be behind what was just written.
	if _, err := h.reconcile(t.Context(), stale); !apierrors.IsConflict(err) {
		t.Errorf("what is told is written from a stale copy: %v", err)
	}
	h.clock.Step(24 * time.Hour)
	h.run("web-1")
	h.restart()
	h.run("web-1")
	if got := h.countEvents(v1alpha1.EventBackupsOverdue); got != 1 {
		t.Errorf("%d Events say that it is overdue, want 1", got)
	}

	done := metav1.NewTime(h.clock.Now())
	changeStatus(h, h.host("web-1"), func(host *v1alpha1.Host) {
		host.Status.SourceGroups = []v1alpha1.SourceGroupResult{{Name: "etc", JobID: "1", Result: v1alpha1.ResultSucceeded, StartTime: &done, FinishTime: &done, LastSuccessTime: &done}}
	})
	h.restart() // as if the success had come while no controllers were there
	h.run("web-1")
	h.restart()
	h.run("web-1")
	h.wantCondition("web-1", v1alpha1.ConditionBackupsCurrent, "True UpToDate")
	if got := h.host("web-1").Status.Overdue; len(got) != 0 {
		t.Errorf("overdue is %+v", got)
	}
	if got := h.countEvents(v1alpha1.EventBackupsRecovered); got != 1 {
		t.Errorf("%d Events say that it recovered, want 1", got)
	}

	// Every further night costs one write, of the next run.
	h.clock.Step(time.Hour)
	h.run("web-1")
	h.writes = 0
	h.clock.SetTime(time.Date(2026, 3, 4, 2, 31, 0, 0, time.UTC))
	done = metav1.NewTime(h.clock.Now())
	changeStatus(h, h.host("web-1"), func(host *v1alpha1.Host) {
		r := &host.Status.SourceGroups[0]
		r.JobID, r.StartTime, r.FinishTime, r.LastSuccessTime = "2", &done, &done, &done
	})
	h.run("web-1")
	if h.writes != 1 {
		t.Errorf("a backup in time cost the controllers %d writes of the Host, want 1", h.writes)
	}
}

// restart is a start of the controllers: what they know is what they find. Events go on to be counted.
func (h *harness) restart() {
	h.Reconciler = &Reconciler{
		Client: h.Client, Live: h.Live, Namespaces: h.Namespaces, Clock: h.Clock, Recorder: h.Recorder, Signer: h.Signer, Gateways: NewGateways(nil, h.Live, operatorNamespace, h.clock),
		GatewayURL: h.GatewayURL, TLSPins: h.TLSPins, TokenTTL: h.TokenTTL, OverdueMinGrace: h.OverdueMinGrace, TombstoneTTL: h.TombstoneTTL,
	}
}

// drainEvents forgets the Events so far.
func (h *harness) drainEvents() { h.countEvents("") }

// countEvents counts those with a reason since the last call.
func (h *harness) countEvents(reason string) int {
	n := 0
	for {
		select {
		case e := <-h.recorder.Events:
			if words := strings.Fields(e); len(words) > 1 && words[1] == reason {
				n++
			}
		default:
			return n
		}
	}
}

func TestWhatIsAboutToChangeAgainWaits(t *testing.T) {
	published := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	set := &v1alpha1.ScheduleSet{Spec: v1alpha1.ScheduleSetSpec{Serial: published.UnixMicro()}}
	schedules := []v1alpha1.HostSchedule{{Name: "nightly"}}
	current := func(reason, message string) []metav1.Condition {
		return []metav1.Condition{{Type: v1alpha1.ConditionBackupsCurrent, Status: metav1.ConditionTrue, Reason: reason, Message: message}}
	}
	ended := []v1alpha1.SourceGroupResult{{Name: "etc", FinishTime: new(metav1.NewTime(published.Add(-time.Hour)))}, {Name: "home", FinishTime: new(metav1.NewTime(published))}}
	before := v1alpha1.HostStatus{Conditions: current("Current", "waiting for etc, home"), SourceGroups: ended}
	with := func(change func(*v1alpha1.HostStatus)) v1alpha1.HostStatus {
		after := before.DeepCopy()
		change(after)
		return *after
	}
	message := func(s *v1alpha1.HostStatus) { s.Conditions = current("Current", "waiting for etc") }
	next := func(s *v1alpha1.HostStatus) { s.Schedules, s.NextRunTime = schedules, new(metav1.NewTime(published)) }
	for _, test := range []struct {
		test  string
		facts *facts
		after time.Duration
		host  v1alpha1.HostStatus
		want  time.Duration
	}{
		{"nothing is known", nil, 0, with(next), 0},
		{"nothing is published", &facts{}, 0, with(next), 0},
		{"the next run is another", &facts{set: set}, 50 * time.Millisecond, with(next), 150 * time.Millisecond},
		{"it is for a while", &facts{set: set}, time.Second, with(next), 0},
		{"the clock was set back", &facts{set: set}, -time.Hour, with(next), 0},
		{"nothing is another", &facts{set: set}, 0, before, 0},
		{"something else is too", &facts{set: set}, 0, with(func(s *v1alpha1.HostStatus) { next(s); s.ObservedGeneration = 2 }), 0},
		{"something else is", &facts{set: set}, 0, with(func(s *v1alpha1.HostStatus) { s.ObservedGeneration = 2 }), 0},
		{"another group is named after a result", &facts{set: set}, 10 * time.Second, with(message), 20 * time.Second},
		{"it is for a while", &facts{set: set}, 30 * time.Second, with(message), 0},
		{"another reason", &facts{set: set}, time.Second, with(func(s *v1alpha1.HostStatus) { s.Conditions = current("Overdue", "etc") }), 0},
		{"both", &facts{set: set}, 100 * time.Millisecond, with(func(s *v1alpha1.HostStatus) { message(s); next(s) }), 100 * time.Millisecond},
		{"both, and one is for a while", &facts{set: set}, time.Second, with(func(s *v1alpha1.HostStatus) { message(s); next(s) }), 0},
	} {
		t.Run(test.test, func(t *testing.T) {
			host := &v1alpha1.Host{Status: test.host}
			unchanged := host.DeepCopy()
			if got := settles(&v1alpha1.Host{Status: before}, host, test.facts, published.Add(test.after)); got != test.want {
				t.Errorf("waits %v, want %v", got, test.want)
			}
			if !equality.Semantic.DeepEqual(host, unchanged) {
				t.Error("it was changed")
			}
		})
	}
}
