package report

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maintain makes a HostJob of a kind that was sent, on the repository of target where that is not empty.
func (f *fixture) maintain(name string, kind v1alpha1.HostJobKind, target string) wire.JobRef {
	f.t.Helper()
	job := &v1alpha1.HostJob{}
	job.Namespace, job.Name = f.host.Namespace, name
	job.Spec = v1alpha1.HostJobSpec{HostRef: v1alpha1.LocalReference{Name: f.host.Name}, Kind: kind}
	if target != "" {
		job.Spec.TargetRef = &v1alpha1.LocalReference{Name: target}
	}
	f.create(job)
	job.Status.Phase = v1alpha1.JobDispatched
	job.Status.Command = &v1alpha1.SignedDocument{Document: "{}", Signatures: []v1alpha1.Signature{{KeyID: "k", Value: "dg=="}}}
	job.Status.Credentials = []v1alpha1.SealedCredential{{Name: wire.CredentialAdmin, Sealed: "c2VhbGVk"}}
	if err := f.client.Status().Update(f.t.Context(), job); err != nil {
		f.t.Fatal(err)
	}
	return wire.JobRef{JobID: wire.CommandID(string(job.UID)), Kind: wire.JobKind(kind), HostJob: name, HostJobUID: string(job.UID), TargetHost: target}
}

func endOf(seq int64, ref wire.JobRef, change func(*wire.JobFinished)) *wire.JobFinished {
	m := &wire.JobFinished{Report: wire.ReportID{Epoch: "e1", Seq: seq}, Job: ref, Outcome: wire.OutcomeSucceeded, StartedAt: start.Add(-time.Minute), FinishedAt: start}
	if change != nil {
		change(m)
	}
	return m
}

func TestResultsOfEveryKindOfMaintenance(t *testing.T) {
	f := newFixture(t)
	st, p := f.stream(f.connect(1, "p1"))
	at := metav1.NewTime(start)
	everything := func(m *wire.JobFinished) { // a machine that sends summaries that do not belong to the job
		m.Backup = &wire.BackupSummary{SnapshotID: "made-up"}
		m.Restore = &wire.RestoreSummary{Target: "/"}
		m.Forget = &wire.ForgetSummary{Kept: 12, Removed: 4, Groups: []wire.ForgetGroupResult{{Name: "etc", Host: "web-1", Kept: 12, Removed: 4}}}
		m.Prune = &wire.PruneSummary{BytesFreed: 3 << 20, BytesRemaining: 5 << 30, BytesUnused: 1}
		m.Check = &wire.CheckSummary{ReadDataSubset: "3/12", SuggestPrune: true}
		m.Verify = &wire.VerifySummary{FilesVerified: 20, BytesVerified: 1 << 20, FilesMatchingLive: 11, Groups: []wire.VerifyGroupResult{
			{Name: "etc", SnapshotID: "5f3a9c1e77", SnapshotTime: start, FilesInSnapshot: 4000, FilesVerified: 20}}}
	}
	fails := func(reason wire.Reason) func(*wire.JobFinished) {
		return func(m *wire.JobFinished) {
			everything(m)
			m.Outcome, m.Reason, m.Message, m.ExitCode = wire.OutcomeFailed, reason, "see the log", 1
			m.Check.Errors, m.Check.Problems = 2, []string{"pack 4a1f does not match its id"}
		}
	}
	forget := &v1alpha1.ForgetSummary{Kept: 12, Removed: 4, Groups: []v1alpha1.ForgetGroupResult{{Name: "etc", Host: "web-1", Kept: 12, Removed: 4}}}
	for i, c := range []struct {
		name   string
		kind   v1alpha1.HostJobKind
		change func(*wire.JobFinished)
		phase  v1alpha1.HostJobPhase
		want   v1alpha1.JobResultStatus
		event  string
		sort   string
		note   string
	}{
		{"a forget", v1alpha1.HostJobForget, everything, v1alpha1.JobSucceeded, v1alpha1.JobResultStatus{Forget: forget},
			v1alpha1.EventForgetSucceeded, "Normal", "; 4 snapshots removed, 12 kept"},
		{"a forget that was refused", v1alpha1.HostJobForget, fails(wire.ReasonForgetRefused), v1alpha1.JobFailed,
			v1alpha1.JobResultStatus{Reason: "ForgetRefused", Message: "see the log", ExitCode: 1, Forget: forget}, v1alpha1.EventForgetFailed, "Warning", "(ForgetRefused): see the log"},
		{"a forget that was done in part", v1alpha1.HostJobForget, func(m *wire.JobFinished) {
			fails(wire.ReasonForgetRefused)(m)
			m.Outcome = wire.OutcomeCompletedWithErrors
		}, v1alpha1.JobCompletedWithErrors,
			v1alpha1.JobResultStatus{Reason: "ForgetRefused", Message: "see the log", ExitCode: 1, Forget: forget}, v1alpha1.EventForgetFailed, "Warning", "completed with errors"},
		{"a prune at the second attempt", v1alpha1.HostJobPrune, func(m *wire.JobFinished) { everything(m); m.Attempts = 2 }, v1alpha1.JobSucceeded,
			v1alpha1.JobResultStatus{Attempts: 2, Prune: &v1alpha1.PruneSummary{BytesFreed: 3 << 20, BytesRemaining: 5 << 30, BytesUnused: 1}},
			v1alpha1.EventPruneSucceeded, "Normal", "succeeded after 2 attempts; 3 MiB freed, 5 GiB remain"},
		{"a prune without credentials", v1alpha1.HostJobPrune, func(m *wire.JobFinished) {
			m.Outcome, m.Reason, m.Message, m.ExitCode = wire.OutcomeFailed, wire.ReasonNoAdminCredentials, "none are bound", -1
		}, v1alpha1.JobFailed, v1alpha1.JobResultStatus{Reason: "NoAdminCredentials", Message: "none are bound", ExitCode: -1}, v1alpha1.EventPruneFailed, "Warning", "none are bound"},
		{"a check", v1alpha1.HostJobCheck, everything, v1alpha1.JobSucceeded,
			v1alpha1.JobResultStatus{Check: &v1alpha1.CheckSummary{ReadDataSubset: "3/12", SuggestPrune: true}}, v1alpha1.EventCheckSucceeded, "Normal", "; 0 errors, data read: 3/12"},
		{"a check that found damage", v1alpha1.HostJobCheck, fails(wire.ReasonRepositoryDamaged), v1alpha1.JobFailed,
			v1alpha1.JobResultStatus{Reason: "RepositoryDamaged", Message: "see the log", ExitCode: 1,
				Check: &v1alpha1.CheckSummary{Errors: 2, ReadDataSubset: "3/12", Problems: []string{"pack 4a1f does not match its id"}, SuggestPrune: true}},
			v1alpha1.EventCheckFailed, "Warning", "2 errors"},
		{"an unlock", v1alpha1.HostJobUnlock, func(m *wire.JobFinished) { m.LocksRemoved = 1 }, v1alpha1.JobSucceeded, v1alpha1.JobResultStatus{LocksRemoved: 1},
			v1alpha1.EventUnlockSucceeded, "Normal", "Unlock (HostJob "},
		{"a restore drill", v1alpha1.HostJobVerify, everything, v1alpha1.JobSucceeded,
			v1alpha1.JobResultStatus{Verify: &v1alpha1.VerifySummary{FilesVerified: 20, BytesVerified: 1 << 20, FilesMatchingLive: 11, Groups: []v1alpha1.VerifyGroupResult{
				{Name: "etc", SnapshotID: "5f3a9c1e77", SnapshotTime: &at, FilesInSnapshot: 4000, FilesVerified: 20}}}},
			v1alpha1.EventVerifySucceeded, "Normal", "20 files restored and compared, 11 of them"},
		{"a restore drill that was cancelled", v1alpha1.HostJobVerify, func(m *wire.JobFinished) {
			m.Outcome, m.Reason, m.Message, m.ExitCode = wire.OutcomeCancelled, wire.ReasonCancelled, "by a person", -1
		}, v1alpha1.JobCancelled, v1alpha1.JobResultStatus{Reason: "Cancelled", Message: "by a person", ExitCode: -1},
			v1alpha1.EventMaintenanceCancelled, "Normal", "was cancelled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ref := f.maintain(fmt.Sprintf("job-%d", i), c.kind, "")
			f.meter.wrote()
			take(t, st, endOf(int64(i+1), ref, c.change))
			p.ack(t)
			events := 1
			if c.want.LocksRemoved > 0 {
				events = 2
			}
			if diff := cmp.Diff(map[string]int{"hosts": 1, "hostjobs": 1, "events": events}, f.meter.wrote()); diff != "" {
				t.Errorf("writes: %s", diff)
			}
			got := f.getJob(ref.HostJob).Status
			if got.Phase != c.phase {
				t.Errorf("phase is %s", got.Phase)
			}
			if diff := cmp.Diff(&c.want, got.Result); diff != "" {
				t.Error(diff)
			}
			e := f.eventOf(c.event, ref.HostJob)
			if e.Type != c.sort || !strings.Contains(e.Note, c.note) || e.Action != string(c.kind) {
				t.Errorf("event is %s, %s: %q; want %s and %q", e.Type, e.Action, e.Note, c.sort, c.note)
			}
		})
	}
	if got := f.getHost().Status; len(got.SourceGroups) != 0 || got.LastSuccessTime != nil || got.Maintenance != nil {
		t.Errorf("maintenance was taken for a backup, or as its own record: %+v", got)
	}
}

func TestAResultIsBounded(t *testing.T) {
	f := newFixture(t)
	st, p := f.stream(f.connect(1, "p1"))
	text := strings.Repeat("é", wire.MaxString/2)
	list := strings.Split(strings.Repeat(text+"\n", wire.MaxListed), "\n")[:wire.MaxListed]
	future := start.AddDate(7000, 0, 0)
	name := func(i int) string { return fmt.Sprintf("%0253d", i) }
	forget, verify, check := f.maintain("forget", v1alpha1.HostJobForget, ""), f.maintain("verify", v1alpha1.HostJobVerify, ""), f.maintain("check", v1alpha1.HostJobCheck, "")
	for seq, m := range []*wire.JobFinished{
		endOf(1, forget, func(m *wire.JobFinished) {
			m.Forget = &wire.ForgetSummary{Removed: 1<<63 - 1}
			for i := range wire.MaxForgetResults {
				m.Forget.Groups = append(m.Forget.Groups, wire.ForgetGroupResult{Name: name(i), Host: name(i), Error: text})
			}
			m.HookFailures, m.Attempts, m.LocksRemoved = list, 1<<62, 1<<62
		}),
		endOf(2, verify, func(m *wire.JobFinished) {
			m.Verify = &wire.VerifySummary{FailedPaths: list}
			for i := range wire.MaxVerified {
				m.Verify.Groups = append(m.Verify.Groups, wire.VerifyGroupResult{Name: name(i / 2), SnapshotID: name(i), SnapshotTime: future, Error: text})
			}
		}),
		endOf(3, check, func(m *wire.JobFinished) { m.Check = &wire.CheckSummary{Problems: list, ReadDataSubset: name(0)} }),
	} {
		m.FinishedAt = future
		take(t, st, m)
		if ack := p.ack(t); ack.Discarded {
			t.Errorf("report %d was discarded: %s", seq+1, ack.Reason)
		}
	}
	result := func(ref wire.JobRef) *v1alpha1.JobResultStatus {
		status := f.getJob(ref.HostJob).Status
		if !status.CompletionTime.Time.Equal(start) {
			t.Errorf("%s was completed at %s", ref.HostJob, status.CompletionTime)
		}
		return status.Result
	}
	r := result(forget)
	if len(r.Forget.Groups) != wire.MaxForgetResults || len(r.Forget.Groups[99].Error) > maxGroupError || len(r.HookFailures) != 20 || len(r.HookFailures[0]) > maxListedText {
		t.Errorf("forget is %d groups, %d hooks", len(r.Forget.Groups), len(r.HookFailures))
	}
	r = result(verify)
	if len(r.Verify.Groups) != wire.MaxVerified/2 || !r.Verify.Groups[0].SnapshotTime.Time.Equal(start) || len(r.Verify.FailedPaths[0]) > maxListedText {
		t.Errorf("verify has %d groups, the first is %+v", len(r.Verify.Groups), r.Verify.Groups[0])
	}
	if r = result(check); len(r.Check.Problems) != 20 || len(r.Check.Problems[0]) > maxListedText {
		t.Errorf("check has %d problems", len(r.Check.Problems))
	}
}

func TestMaintenanceOfAnothersRepositorySaysNothingOfTheExecutors(t *testing.T) {
	f := newFixture(t)
	st, p := f.stream(f.connect(1, "p1"))
	h := f.getHost()
	h.Status.Repository = &v1alpha1.RepositoryStatus{State: "Ready", URL: h.Spec.Repository.URL, Time: metav1.NewTime(start.Add(-time.Hour))}
	h.Status.Maintenance = &v1alpha1.MaintenanceStatus{Forget: &v1alpha1.OperationStatus{Result: "Succeeded", Message: "of the controllers"}}
	if err := f.client.Status().Update(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	before := f.getHost().Status
	for i, kind := range []v1alpha1.HostJobKind{v1alpha1.HostJobForget, v1alpha1.HostJobPrune, v1alpha1.HostJobCheck, v1alpha1.HostJobUnlock} {
		ref := f.maintain(strings.ToLower(string(kind)), kind, "web-2")
		take(t, st, endOf(int64(i+1), ref, func(m *wire.JobFinished) {
			m.Outcome, m.Reason, m.Message, m.LocksRemoved = wire.OutcomeFailed, wire.ReasonLocked, "locked by web-3", 2
			m.Stats = &wire.RepositoryStats{Time: start, ListedTime: start, Snapshots: 7}
		}))
		p.ack(t)
		if got := f.getJob(ref.HostJob).Status; got.Phase != v1alpha1.JobFailed || got.Result.LocksRemoved != 2 {
			t.Errorf("%s: status is %+v", kind, got)
		}
	}
	after := f.getHost().Status
	if after.LastReport.Seq != 4 {
		t.Errorf("last report is %+v", after.LastReport)
	}
	after.LastReport = before.LastReport
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the executor's own status changed: %s", diff)
	}
	for _, reason := range f.eventList() {
		if reason == v1alpha1.EventRepositoryLocked {
			t.Error("the executor's own repository is said to be locked")
		}
	}
	if e := f.eventOf(v1alpha1.EventStaleLocksRemoved, "unlock"); !strings.Contains(e.Note, "2 stale locks") || !strings.Contains(e.Note, "of Host web-2") {
		t.Errorf("event is %q", e.Note)
	}
	if e := f.eventOf(v1alpha1.EventCheckFailed, "check"); !strings.Contains(e.Note, "on the repository of Host web-2") {
		t.Errorf("event is %q", e.Note)
	}
}

func TestAttemptsAreShownAtOnce(t *testing.T) {
	f := newFixture(t)
	st, _ := f.stream(f.connect(1, "p1"))
	ref := f.maintain("prune", v1alpha1.HostJobPrune, "")
	for attempt := range int64(3) {
		message := fmt.Sprintf("attempt %d of 5 at 12:03: locked", attempt+1)
		take(t, st, &wire.JobProgress{Job: ref, Retrying: message, Attempt: attempt + 1})
		env.Eventually(t, time.Minute, message, func(context.Context) error {
			got := f.getJob("prune").Status
			if got.Progress == nil || got.Progress.Retrying != message {
				return fmt.Errorf("progress is %+v", got.Progress)
			}
			if want := attempt + 1; want > 1 && got.Progress.Attempt != want || want == 1 && got.Progress.Attempt != 0 {
				t.Errorf("attempt is %d, want %d", got.Progress.Attempt, want)
			}
			return nil
		})
	}
}
