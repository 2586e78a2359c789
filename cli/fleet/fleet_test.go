package fleet

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2026, 11, 28, 14, 30, 0, 0, time.UTC)

func at(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(d)} }

// host is one that is current, changed.
func host(name string, changes ...func(*v1alpha1.Host)) v1alpha1.Host {
	h := v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	h.Status.Schedules = []v1alpha1.HostSchedule{{Name: "nightly", SourceGroups: []v1alpha1.HostScheduleGroup{{Name: "etc-and-home"}}}}
	h.Status.SourceGroups = []v1alpha1.SourceGroupResult{{Name: "etc-and-home", Result: v1alpha1.ResultSucceeded, LastSuccessTime: at(-7 * time.Hour)}}
	h.Status.LastSuccessTime, h.Status.NextRunTime = at(-7*time.Hour), at(12*time.Hour)
	for kind, reason := range map[string]string{v1alpha1.ConditionReady: "Published", v1alpha1.ConditionEnrolled: "IdentityPinned",
		v1alpha1.ConditionConnected: "SessionEstablished", v1alpha1.ConditionBackupsCurrent: "UpToDate"} {
		put(&h, kind, metav1.ConditionTrue, reason, "fine")
	}
	for _, f := range changes {
		f(&h)
	}
	return h
}

func put(h *v1alpha1.Host, kind string, status metav1.ConditionStatus, reason, message string) {
	for i := range h.Status.Conditions {
		if c := &h.Status.Conditions[i]; c.Type == kind {
			c.Status, c.Reason, c.Message = status, reason, message
			return
		}
	}
	h.Status.Conditions = append(h.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message})
}

func so(kind string, status metav1.ConditionStatus, reason, message string) func(*v1alpha1.Host) {
	return func(h *v1alpha1.Host) { put(h, kind, status, reason, message) }
}

func never(h *v1alpha1.Host) {
	h.Status.SourceGroups, h.Status.LastSuccessTime = nil, nil
}

func TestTheStateOfAHost(t *testing.T) {
	failed := func(h *v1alpha1.Host) {
		h.Status.SourceGroups[0].Result, h.Status.SourceGroups[0].Message = v1alpha1.ResultFailed, "wrong password"
	}
	overdue := func(h *v1alpha1.Host) {
		h.Status.Overdue = []v1alpha1.OverdueBackup{{SourceGroup: "etc-and-home", Schedule: "nightly", DueTime: *at(-48 * time.Hour)}}
		put(h, v1alpha1.ConditionBackupsCurrent, "False", v1alpha1.ReasonOverdue, "overdue since 2d")
	}
	away := so(v1alpha1.ConditionConnected, "False", v1alpha1.ReasonDisconnected, "no session for 90 s")
	for _, tt := range []struct {
		name string
		host v1alpha1.Host
		want State
		says string
		code int
	}{
		{"all is well", host("a"), Current, "", 0},
		{"the last backup failed", host("a", failed), Failing, "etc-and-home: wrong password", 1},
		{"the last backup is incomplete", host("a", func(h *v1alpha1.Host) { h.Status.SourceGroups[0].Result = v1alpha1.ResultCompletedWithErrors }), Failing,
			"etc-and-home: the last backup ended CompletedWithErrors", 1},
		{"the last backup was cancelled, there is an earlier one", host("a", func(h *v1alpha1.Host) { h.Status.SourceGroups[0].Result = v1alpha1.ResultCancelled }), Current, "", 0},
		{"the repository does not open", host("a", so(v1alpha1.ConditionRepositoryReady, "False", "WrongPassword", "wrong password")), Failing, "wrong password", 1},
		{"the repository is damaged", host("a", so(v1alpha1.ConditionRepositoryHealthy, "False", "CheckFailed", "2 errors")), Failing, "2 errors", 1},
		{"a backup is overdue", host("a", overdue), Overdue, "etc-and-home: overdue by Schedule nightly", 1},
		{"overdue and failing", host("a", overdue, failed), Failing, "etc-and-home: wrong password", 1},
		{"overdue because it is away", host("a", overdue, away), Overdue, "etc-and-home: overdue by Schedule nightly", 1},
		{"away, and nothing is overdue", host("a", away), Disconnected, "no session for 90 s", 1},
		{"not accepted", host("a", so(v1alpha1.ConditionReady, "False", "Invalid", "spec.repository.url")), NotReady, "spec.repository.url", 1},
		{"not enrolled", host("a", never, so(v1alpha1.ConditionEnrolled, "False", "WaitingForMachine", "run the line"), away), NotReady, "not enrolled: run the line", 1},
		{"nobody looked at it", host("a", func(h *v1alpha1.Host) { h.Status = v1alpha1.HostStatus{} }), NotReady, "the controllers have not looked at it yet", 1},
		{"no backup yet", host("a", never), Waiting, "etc-and-home: no backup yet", 1},
		{"nothing is scheduled", host("a", never, func(h *v1alpha1.Host) { h.Status.Schedules = nil },
			so(v1alpha1.ConditionBackupsCurrent, "Unknown", v1alpha1.ReasonNothingScheduled, "no Schedule")), Unscheduled, "no Schedule", 1},
		{"suspended", host("a", func(h *v1alpha1.Host) { h.Spec.Suspend, h.Status.Schedules[0].Suspended = true, true }), Suspended, "etc-and-home: spec.suspend of the Host stops it", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Judge([]v1alpha1.Host{tt.host})
			if got := r.Hosts[0]; got.State != tt.want || got.Message != tt.says || r.Code() != tt.code {
				t.Errorf("got %s %q and code %d, expected %s %q and %d", got.State, got.Message, r.Code(), tt.want, tt.says, tt.code)
			}
		})
	}
}

func fleet() []v1alpha1.Host {
	hosts := []v1alpha1.Host{
		host("web-1"), host("web-2"),
		host("db-1", so(v1alpha1.ConditionRepositoryReady, "False", "WrongPassword", "the password in Secret db-1-repo does not open the repository"), func(h *v1alpha1.Host) {
			h.Status.SourceGroups[0] = v1alpha1.SourceGroupResult{Name: "etc-and-home", Result: v1alpha1.ResultFailed, Reason: "WrongPassword", ConsecutiveFailures: 9,
				Message: "the password in Secret db-1-repo does not open the repository; restore the Secret, or name the right one", LastSuccessTime: at(-9 * 24 * time.Hour)}
			h.Status.LastSuccessTime = at(-9 * 24 * time.Hour)
		}),
		host("edge-7", so(v1alpha1.ConditionConnected, "False", v1alpha1.ReasonDisconnected, "no session since 2026-11-28T09:12:00Z"), func(h *v1alpha1.Host) {
			h.Status.Overdue = []v1alpha1.OverdueBackup{{SourceGroup: "etc-and-home", Schedule: "nightly", DueTime: *at(-26 * time.Hour)}}
		}),
		host("laptop", so(v1alpha1.ConditionConnected, "False", v1alpha1.ReasonDisconnected, "no session since 2026-11-28T13:58:00Z")),
		host("new-1", never),
		host("old-1", func(h *v1alpha1.Host) {
			h.Spec.Suspend, h.Status.Schedules[0].Suspended, h.Status.NextRunTime = true, true, nil
		}),
	}
	return hosts
}

func TestTheFleetInNarrowAndWideTerminals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		width  int
		format terminal.Format
		colour bool
	}{
		{"narrow", 60, terminal.FormatTable, false}, {"usual", 100, terminal.FormatTable, false}, {"broad", 180, terminal.FormatTable, false},
		{"wide", 100, terminal.FormatWide, false}, {"colour", 100, terminal.FormatTable, true}, {"pipe", 0, terminal.FormatTable, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			on := terminal.New(genericiooptions.IOStreams{Out: &out, ErrOut: &out}, nil)
			on.Width, on.Colour = func() int { return tt.width }, tt.colour
			if err := Print(on, Judge(fleet()), Options{Now: now, Format: tt.format, Namespaces: tt.format == terminal.FormatWide}); err != nil {
				t.Fatal(err)
			}
			golden(t, tt.name, out.Bytes())
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; go test -update writes it anew):\n%s", file, diff)
	}
}

func TestTheWorstComeFirst(t *testing.T) {
	var states []State
	for _, h := range Judge(fleet()).Hosts {
		states = append(states, h.State)
	}
	if diff := cmp.Diff([]State{Failing, Overdue, Disconnected, Waiting, Suspended, Current, Current}, states); diff != "" {
		t.Error(diff)
	}
	if got := fmt.Sprint(Judge(nil).Code()); got != "0" {
		t.Errorf("an empty fleet has code %s", got)
	}
}
