package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const ownURL = "rest:https://backup.example.com/web-1"

// eventOf is the Event of a reason about a HostJob.
func (f *fixture) eventOf(reason, job string) eventsv1.Event {
	f.t.Helper()
	var list eventsv1.EventList
	if err := f.client.List(f.t.Context(), &list, client.InNamespace(f.host.Namespace)); err != nil {
		f.t.Fatal(err)
	}
	for _, e := range list.Items {
		if e.Reason == reason && (e.Related == nil && job == "" || e.Related != nil && e.Related.Name == job) {
			return e
		}
	}
	f.t.Errorf("there is no Event %s about %q", reason, job)
	return eventsv1.Event{}
}

func (f *fixture) countEvents(reason string) int {
	f.t.Helper()
	n := 0
	for _, r := range f.eventList() {
		if r == reason {
			n++
		}
	}
	return n
}

func stats(snapshots int64) *wire.RepositoryStats {
	return &wire.RepositoryStats{Time: start, ListedTime: start.Add(-time.Hour), Snapshots: snapshots, RestoreBytes: 100, RawBytes: 70, RawTime: start.Add(-48 * time.Hour),
		Groups: []wire.GroupStats{{Name: "etc", Snapshots: snapshots, RestoreBytes: 100, Oldest: start.Add(-24 * time.Hour), Newest: start}}}
}

func state(of wire.RepositoryState, reason wire.Reason, url string) *wire.RepoState {
	return &wire.RepoState{State: of, Reason: reason, Message: string(reason), URL: url, Time: start}
}

func TestStatsOfARepository(t *testing.T) {
	f := newFixture(t)
	st, p := f.stream(f.connect(1, "p1"))
	seq := int64(0)
	store := func(m wire.Report) *v1alpha1.RepositoryStatus {
		t.Helper()
		seq++
		m.SetID(wire.ReportID{Epoch: "e", Seq: seq})
		f.meter.wrote()
		take(t, st, m)
		if ack := p.ack(t); ack.Discarded {
			t.Fatalf("discarded: %s", ack.Reason)
		}
		if w := f.meter.wrote(); w["hosts"] != 1 || w["events"] > 1 {
			t.Errorf("writes are %v", w)
		}
		h := f.getHost()
		if h.Status.LastReport.Seq != seq {
			t.Errorf("last report is %+v", h.Status.LastReport)
		}
		return h.Status.Repository
	}
	at := func(d time.Duration) metav1.Time { return metav1.NewTime(start.Add(d)) }
	pointer := func(t metav1.Time) *metav1.Time { return &t }

	got := store(&wire.RepoStats{Stats: *stats(3), URL: ownURL})
	want := &v1alpha1.RepositoryStatus{State: "Ready", URL: ownURL, Time: at(0), Stats: &v1alpha1.RepositoryStats{
		Time: at(0), ListedTime: at(-time.Hour), Snapshots: 3, RestoreBytes: 100, RawBytes: 70, RawTime: pointer(at(-48 * time.Hour)),
		Groups: []v1alpha1.GroupStats{{Name: "etc", Snapshots: 3, RestoreBytes: 100, Oldest: pointer(at(-24 * time.Hour)), Newest: pointer(at(0))}}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the first that is told of a repository: %s", diff)
	}
	if len(f.eventList()) != 0 {
		t.Errorf("stats made Events %v", f.eventList())
	}

	got = store(backup(0, func(m *wire.JobFinished) { m.Stats = stats(4) }))
	if got.Stats.Snapshots != 4 || got.State != "Ready" {
		t.Errorf("after a backup: %+v", got.Stats)
	}
	got = store(backup(0, nil))
	if got.Stats == nil || got.Stats.Snapshots != 4 {
		t.Errorf("after a backup of an agent that tells none: %+v", got.Stats)
	}
	for _, c := range []*wire.RepoState{state(wire.RepositoryRetrying, wire.ReasonUnreachable, ownURL), state(wire.RepositoryFailed, wire.ReasonWrongPassword, ownURL),
		state(wire.RepositoryReady, "", ownURL)} {
		if got = store(c); got.Stats == nil || got.Stats.Snapshots != 4 || got.State != string(c.State) {
			t.Errorf("after the state %s: %+v", c.State, got)
		}
	}
	if got = store(&wire.RepoStats{Stats: *stats(99), URL: "rest:https://former.example.com/web-1"}); got.Stats.Snapshots != 4 {
		t.Errorf("stats of a former repository count: %+v", got.Stats)
	}
	if got = store(state(wire.RepositoryReady, "", "s3:https://s3.example.com/web-1")); got.Stats != nil {
		t.Errorf("stats of the former repository are shown for the new one: %+v", got.Stats)
	}
}

func TestStatsAreClampedAndBounded(t *testing.T) {
	f := newFixture(t)
	st, p := f.stream(f.connect(1, "p1"))
	future := start.AddDate(5000, 0, 0)
	hostile := wire.RepositoryStats{Time: future, ListedTime: future, RawTime: future, Snapshots: 1<<63 - 1, RestoreBytes: 1<<63 - 1, RawBytes: 1<<63 - 1, FutureSnapshots: 1<<63 - 1}
	for i := range wire.MaxGroups {
		hostile.Groups = append(hostile.Groups, wire.GroupStats{Name: fmt.Sprintf("%0253d", i/2), Snapshots: int64(i), Oldest: future, Newest: future})
	}
	take(t, st, &wire.RepoStats{Report: wire.ReportID{Epoch: "e", Seq: 1}, Stats: hostile, URL: ownURL})
	if ack := p.ack(t); ack.Discarded {
		t.Fatalf("discarded: %s", ack.Reason)
	}
	got := f.getHost().Status.Repository.Stats
	for name, at := range map[string]*metav1.Time{"time": &got.Time, "listedTime": &got.ListedTime, "rawTime": got.RawTime, "oldest": got.Groups[0].Oldest, "newest": got.Groups[49].Newest} {
		if at == nil || !at.Time.Equal(start) {
			t.Errorf("%s is %v, want when it was received", name, at)
		}
	}
	if len(got.Groups) != wire.MaxGroups/2 || got.Snapshots != 1<<63-1 {
		t.Errorf("%d groups, %d snapshots", len(got.Groups), got.Snapshots)
	}
	// Stats of no listing, and of long ago, are no stats.
	for i, s := range []wire.RepositoryStats{{Time: start}, {Time: start.AddDate(-100, 0, 0), ListedTime: start}} {
		take(t, st, &wire.RepoStats{Report: wire.ReportID{Epoch: "e", Seq: int64(i + 2)}, Stats: s, URL: ownURL})
		if ack := p.ack(t); ack.Discarded {
			t.Errorf("discarded: %s", ack.Reason)
		}
		if now := f.getHost().Status.Repository.Stats; now == nil || now.Snapshots != got.Snapshots {
			t.Errorf("stats %+v were taken over", s)
		}
	}
}

func TestLocksAreToldOncePerPeriod(t *testing.T) {
	f := newFixture(t)
	st, p := f.stream(f.connect(1, "p1"))
	result := func(kind wire.JobKind, outcome wire.Outcome, reason wire.Reason, removed int64) *wire.JobFinished {
		m := &wire.JobFinished{Job: wire.JobRef{JobID: "job-x", Kind: kind, SourceGroup: "etc"}, Outcome: outcome, Reason: reason, Message: string(reason), FinishedAt: start,
			LocksRemoved: removed}
		if kind != wire.JobBackup {
			m.Job.SourceGroup = ""
		}
		return m
	}
	otherTrouble := false
	for i, c := range []struct {
		name    string
		message wire.Report
		present bool
		state   string
		locked  int // Events so far
		healed  int
	}{
		{"the repository is ready", state(wire.RepositoryReady, "", ownURL), false, "Ready", 0, 0},
		{"a job waits for a lock", state(wire.RepositoryRetrying, wire.ReasonLocked, ownURL), true, "Retrying", 1, 0},
		{"it goes on waiting", state(wire.RepositoryRetrying, wire.ReasonLocked, ownURL), true, "Retrying", 1, 0},
		{"somebody looks at the repository without a lock", state(wire.RepositoryReady, "", ownURL), true, "Ready", 1, 0},
		{"it waits again", state(wire.RepositoryRetrying, wire.ReasonLocked, ownURL), true, "Retrying", 1, 0},
		{"the network is gone too", state(wire.RepositoryRetrying, wire.ReasonUnreachable, ownURL), true, "Retrying", 1, 0},
		{"it gives up", state(wire.RepositoryFailed, wire.ReasonLocked, ownURL), true, "Failed", 1, 0},
		{"its result says so", result(wire.JobForget, wire.OutcomeFailed, wire.ReasonLocked, 0), true, "Failed", 1, 0},
		{"a job is cancelled", result(wire.JobForget, wire.OutcomeCancelled, wire.ReasonCancelled, 0), true, "Failed", 1, 0},
		{"an initialisation needs no lock", result(wire.JobInit, wire.OutcomeSucceeded, "", 0), true, "Ready", 1, 0},
		{"a backup fails for another reason", result(wire.JobBackup, wire.OutcomeFailed, wire.ReasonSourceMissing, 0), true, "Ready", 1, 0},
		{"it is locked again", state(wire.RepositoryFailed, wire.ReasonLocked, ownURL), true, "Failed", 1, 0},
		{"a prune gets through", result(wire.JobPrune, wire.OutcomeSucceeded, "", 1), false, "Ready", 1, 1},
		{"a backup meets the next lock", result(wire.JobBackup, wire.OutcomeFailed, wire.ReasonLocked, 0), true, "Ready", 2, 1},
		{"a backup gets through in part", result(wire.JobBackup, wire.OutcomeCompletedWithErrors, wire.ReasonSourceUnreadable, 0), false, "Ready", 2, 1},
		{"a lock in the repository", state(wire.RepositoryFailed, wire.ReasonLocked, ownURL), true, "Failed", 3, 1},
		{"another repository has none", state(wire.RepositoryReady, "", "/srv/restic"), false, "Ready", 3, 1},
		{"but then it has", state(wire.RepositoryFailed, wire.ReasonLocked, "/srv/restic"), true, "Failed", 4, 1},
		{"a wrong password does not mend it", state(wire.RepositoryFailed, wire.ReasonWrongPassword, "/srv/restic"), true, "Failed", 4, 1},
		{"a lock that heals does not mend the password", result(wire.JobUnlock, wire.OutcomeSucceeded, "", 0), false, "Failed", 4, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.message.SetID(wire.ReportID{Epoch: "e", Seq: int64(i + 1)})
			take(t, st, c.message)
			p.ack(t)
			got := f.getHost().Status.Repository
			if got.LockPresent != c.present || got.State != c.state {
				t.Errorf("repository is %+v, want a lock: %v, state %s", got, c.present, c.state)
			}
			if (got.State == "Ready") != (got.Reason == "") {
				t.Errorf("state %s with the reason %q", got.State, got.Reason)
			}
			if n := f.countEvents(v1alpha1.EventRepositoryLocked); n != c.locked {
				t.Errorf("%d Events say that it is locked, want %d", n, c.locked)
			}
			if n := f.countEvents(v1alpha1.EventStaleLocksRemoved); n != c.healed {
				t.Errorf("%d Events say that stale locks were removed, want %d", n, c.healed)
			}
			if m, ok := c.message.(*wire.RepoState); ok && m.Reason == wire.ReasonWrongPassword {
				otherTrouble = true
			}
			if slices.Contains(f.eventList(), v1alpha1.EventRepositoryFailed) != otherTrouble {
				t.Errorf("events are %v: a lock is not told as a repository that cannot be used", f.eventList())
			}
		})
	}
	if note := f.eventOf(v1alpha1.EventRepositoryLocked, "").Note; !strings.Contains(note, "lock") {
		t.Errorf("note is %q", note)
	}
}

func TestALockIsTheFirstThatIsKnownOfARepository(t *testing.T) {
	f := newFixture(t)
	st, p := f.stream(f.connect(1, "p1"))
	take(t, st, backup(1, func(m *wire.JobFinished) { failed(m); m.Reason = wire.ReasonLocked }))
	p.ack(t)
	if got := f.getHost().Status.Repository; got == nil || !got.LockPresent || got.State != "Failed" || got.Reason != "Locked" {
		t.Errorf("repository is %+v", got)
	}
	take(t, st, backup(2, func(m *wire.JobFinished) { m.LocksRemoved = 1 }))
	p.ack(t)
	if got := f.getHost().Status.Repository; got.LockPresent || got.State != "Ready" || got.Reason != "" {
		t.Errorf("repository is %+v", got)
	}
	e := f.eventOf(v1alpha1.EventStaleLocksRemoved, "")
	if e.Type != "Normal" || !strings.Contains(e.Note, "1 stale lock of") || string(e.Regarding.UID) != string(f.getHost().UID) {
		t.Errorf("event is %+v", e)
	}
}

func TestTheRecordOfTheControllersIsNeverTouched(t *testing.T) {
	f := newFixture(t)
	st, p := f.stream(f.connect(1, "p1"))
	h := f.getHost()
	h.Status.Maintenance = &v1alpha1.MaintenanceStatus{Prune: &v1alpha1.OperationStatus{Result: "Failed", HostJob: "web-1-prune-1", ConsecutiveFailures: 2}}
	h.Status.MintedCredentials = &v1alpha1.MintedCredentials{SecretName: "web-1-repo", Time: metav1.NewTime(start)}
	h.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "True", Reason: "Published", LastTransitionTime: metav1.NewTime(start)}}
	if err := f.client.Status().Update(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	before := f.getHost().Status
	for i, m := range []wire.Report{state(wire.RepositoryReady, "", ownURL), &wire.RepoStats{Stats: *stats(1), URL: ownURL}, backup(0, nil),
		endOf(0, f.maintain("prune", v1alpha1.HostJobPrune, ""), func(m *wire.JobFinished) { m.Prune = &wire.PruneSummary{BytesFreed: 1} })} {
		m.SetID(wire.ReportID{Epoch: "e", Seq: int64(i + 1)})
		take(t, st, m)
		p.ack(t)
	}
	after := f.getHost().Status
	if diff := cmp.Diff([]any{before.Maintenance, before.MintedCredentials, before.Conditions}, []any{after.Maintenance, after.MintedCredentials, after.Conditions}); diff != "" {
		t.Error(diff)
	}
	if after.LastReport.Seq != 4 || after.Repository.Stats == nil {
		t.Errorf("status is %+v", after)
	}
}
