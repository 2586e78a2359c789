package cli_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/cli"
	"github.com/restic-manager/restic-manager/test/collector"
)

func TestStatusSaysWhoIsNotBackedUp(t *testing.T) {
	w := newWorld(t)
	w.host("web-1")
	w.run("view", "status").expect(t, 0, "1 host: 1 current", "web-1")
	w.host("db-1", func(h *v1alpha1.Host) {
		h.Status.Conditions[3] = is(v1alpha1.ConditionBackupsCurrent, "False", "Overdue", "etc is overdue since 9d")
		h.Status.SourceGroups = []v1alpha1.SourceGroupResult{{Name: "etc", JobID: "j", Result: v1alpha1.ResultFailed, Message: "wrong password\x1b[2J"}}
	})
	s := w.run("view", "status")
	s.expect(t, 1, "2 hosts: 1 failing, 1 current", "etc: wrong password")
	if strings.Index(s.out, "db-1") > strings.Index(s.out, "web-1") {
		t.Error("the worst does not come first")
	}
	w.run("view", "status", "web-1").expect(t, 0, "web-1")
	w.run("view", "status", "-o", "name", "--problems").expect(t, 1, "host.backup.restic-manager.io/db-1\n")
	w.run("view", "status", "-o", "json").expect(t, 1, `"state": "Failing"`)
	w.run("view", "status", "web-2").expect(t, 2, `there is no host "web-2"`, "did you mean web-1?")
	w.run("view", "status", "-o", "xml").expect(t, 2, "--output")
}

func TestEachRoleMayWhatItMay(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	machine := w.machine(func(q *wire.HostQuery, _ wire.QueryParameters, to *collector.Writer) error {
		_ = to.Record(wire.LogRecord{JobID: "job-1", State: wire.LogEnded})
		return to.Data([]byte("a line\n"))
	})
	w.host("web-1", func(h *v1alpha1.Host) { h.Spec.Identity = machine.Identity() })
	w.groups("web-1", "etc")
	other.host("web-9")
	for _, tt := range []struct {
		name string
		role string
		args []string
		code int
		says string
	}{
		{"view sees states", "view", []string{"status"}, 0, "web-1"},
		{"view sees nothing of another namespace", "view", []string{"status", "--namespace=" + other.namespace}, 2, "you may not do this"},
		{"view sees not all namespaces", "view", []string{"status", "-A"}, 2, "you may not do this"},
		{"view reads no logs", "view", []string{"logs", "web-1"}, 2, "take the role edit"},
		{"view runs nothing", "view", []string{"run", "backup", "web-1"}, 2, "take the role edit"},
		{"edit reads logs", "edit", []string{"logs", "web-1"}, 0, "a line"},
		{"edit runs backups", "edit", []string{"run", "backup", "web-1"}, 0, "created"},
		{"edit suspends no host", "edit", []string{"suspend", "web-1"}, 2, "takes the role admin"},
		{"admin suspends a host", "admin", []string{"suspend", "web-1"}, 0, "suspended"},
		{"admin does nothing in another namespace", "admin", []string{"run", "check", "web-9", "--namespace=" + other.namespace}, 2, "you may not do this"},
	} {
		t.Run(tt.name, func(t *testing.T) { w.run(tt.role, tt.args...).expect(t, tt.code, tt.says) })
	}
}

func TestWhatTheMachineKnowsIsShown(t *testing.T) {
	w := newWorld(t)
	first, second := strings.Repeat("1a2b3c4d", 8), strings.Repeat("5e6f7a8b", 8)
	yesterday := time.Now().Add(-24 * time.Hour)
	machine := w.machine(func(q *wire.HostQuery, p wire.QueryParameters, to *collector.Writer) error {
		switch q.Kind {
		case wire.QuerySnapshots:
			return to.Record(wire.SnapshotRecord{ID: second, Time: time.Now().Add(-time.Hour), Tags: []string{"etc"}, ResticHost: "web-1.shop", Paths: []string{"/etc"}, Files: 7, Bytes: 2048},
				wire.SnapshotRecord{ID: first, Time: yesterday, Tags: []string{"etc"}, ResticHost: "web-1.shop", Paths: []string{"/etc"}})
		case wire.QueryFiles:
			if p.Files.Snapshot != second {
				return collector.End{Reason: wire.AnswerNotFound, Message: "no such snapshot"}
			}
			return to.Record(wire.FileRecord{Path: p.Files.Path + "/nginx.conf", Type: "file", Mode: 0o640, Size: 1234, MTime: yesterday},
				wire.FileRecord{Path: p.Files.Path + "/evil\x1b[2J", Type: "symlink", Mode: 0o777, LinkTarget: "/etc/passwd"})
		case wire.QueryFind:
			return to.Record(wire.FileRecord{Path: "/etc/" + p.Find.Pattern, Type: "file", Snapshot: first})
		case wire.QueryDiff:
			return to.Record(wire.DiffRecord{Path: "/etc/new", Modifier: "+"}, wire.DiffRecord{Summary: &wire.DiffSummary{FilesAdded: 1, BytesAdded: 10}})
		}
		return collector.End{Reason: wire.AnswerNotAllowed, Message: "allow.queries"}
	})
	w.host("web-1", func(h *v1alpha1.Host) { h.Spec.Identity = machine.Identity() })
	w.host("web-2")

	w.run("edit", "snapshots", "web-1").expect(t, 0, "SNAPSHOT", "1a2b3c4d", "5e6f7a8b", "2.0 KiB")
	w.run("edit", "snapshots", "web-1", "-o", "name").expect(t, 0, first+"\n"+second+"\n")
	w.run("edit", "snapshots", "web-1", "-o", "yaml").expect(t, 0, "resticHost: web-1.shop")
	w.run("edit", "ls", "web-1", "latest", "/etc").expect(t, 0, "-rw-r-----", "1.2 KiB", "/etc/nginx.conf", "-> /etc/passwd")
	w.run("edit", "ls", "web-1", "latest", "/etc", "--at", "2h ago").expect(t, 2, "no such snapshot")
	w.run("edit", "ls", "web-1", "latest", "etc").expect(t, 2, "must be absolute")
	w.run("edit", "ls", "web-1", "1a2b3c4d", "--at", "2h ago").expect(t, 2, "exclude each other")
	w.run("edit", "ls", "web-1", "zzz").expect(t, 2, "is no snapshot")
	w.run("edit", "ls", "web-1").expect(t, 2, "SNAPSHOT is missing")
	w.run("edit", "find", "web-1", "hosts").expect(t, 0, "1a2b3c4d", "/etc/hosts")
	w.run("edit", "diff", "web-1", "1a2b3c4d", "latest").expect(t, 0, "+    /etc/new", "1 file added")
	w.run("edit", "snapshots", "web-2").expect(t, 2, "not enrolled", "kubectl restic enroll web-2")
	if s := w.run("edit", "__complete", "ls", "web-1", ""); !strings.Contains(s.out, "5e6f7a8b") || !strings.Contains(s.out, "latest") {
		t.Errorf("completion of snapshots: %s%s", s.out, s.err)
	}
	if s := w.run("view", "__complete", "status", "web"); !strings.Contains(s.out, "web-1\nweb-2\n") {
		t.Errorf("completion of hosts: %s%s", s.out, s.err)
	}
	left := &v1alpha1.HostQueryList{}
	if err := w.admin.List(t.Context(), left, client.InNamespace(w.namespace)); err != nil || len(left.Items) > 0 {
		t.Errorf("%d HostQueries are left (%v)", len(left.Items), err)
	}
}

func TestJobsAreCreatedListedAndCancelled(t *testing.T) {
	w := newWorld(t)
	w.host("web-1")
	w.host("vault")
	w.groups("web-1", "etc", "home")
	w.run("edit", "run", "backup", "web-1").expect(t, 0, "created")
	w.run("edit", "run", "backup", "web-1", "--group", "var").expect(t, 2, "its groups are etc, home")
	w.run("edit", "run", "check", "web-1", "--group", "etc").expect(t, 2, "--group is for")
	w.run("edit", "run", "dance", "web-1").expect(t, 2, "one of backup")
	jobs := &v1alpha1.HostJobList{}
	if err := w.admin.List(t.Context(), jobs, client.InNamespace(w.namespace)); err != nil || len(jobs.Items) != 2 {
		t.Fatalf("%d jobs (%v), expected one for each group", len(jobs.Items), err)
	}
	name := jobs.Items[0].Name
	w.run("view", "jobs").expect(t, 0, name, "etc", "home", "Pending")
	w.run("view", "jobs", "web-2").expect(t, 0, "No jobs found.")
	w.run("view", "jobs", "-o", "name").expect(t, 0, "hostjob.backup.restic-manager.io/"+name)
	w.run("edit", "cancel", name).expect(t, 0, "asked to stop")
	if err := w.admin.Get(t.Context(), client.ObjectKeyFromObject(&jobs.Items[0]), &jobs.Items[0]); err != nil || !jobs.Items[0].Spec.Cancel {
		t.Errorf("spec.cancel is not set (%v)", err)
	}

	maintenance := &v1alpha1.RepoMaintenance{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "all"}, Spec: v1alpha1.RepoMaintenanceSpec{
		Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "web-1"}}, ExecutorRef: &v1alpha1.LocalReference{Name: "vault"}, Check: &v1alpha1.CheckCadence{}}}
	maintenance.Spec.Check.Cron = "0 6 * * 0"
	if err := w.admin.Create(t.Context(), maintenance); err != nil {
		t.Fatal(err)
	}
	w.run("edit", "run", "check", "web-1", "--read-data-subset", "5%", "-o", "yaml").expect(t, 0, "name: vault", "targetRef", "readDataSubset: 5%")
}

func TestSuspendedAndResumed(t *testing.T) {
	w := newWorld(t)
	w.host("web-1")
	schedule := &v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "nightly"}, Spec: v1alpha1.ScheduleSpec{Cron: "@daily", SourceGroups: []string{"etc"}}}
	if err := w.admin.Create(t.Context(), schedule); err != nil {
		t.Fatal(err)
	}
	w.run("edit", "suspend", "schedule/nightly").expect(t, 0, "schedule.backup.restic-manager.io/nightly suspended")
	w.run("edit", "suspend", "schedule/nightly").expect(t, 0, "suspended already")
	w.run("edit", "resume", "schedule/nightly").expect(t, 0, "resumed")
	w.run("admin", "suspend", "web-1").expect(t, 0, "host.backup.restic-manager.io/web-1 suspended")
	w.run("view", "status", "web-1").expect(t, 0, "1 suspended")
	w.run("edit", "suspend", "job/x").expect(t, 2, "kubectl restic cancel x")
}

func TestAWaitShowsTheJobToItsEnd(t *testing.T) {
	for _, tt := range []struct {
		name  string
		phase v1alpha1.HostJobPhase
		code  int
		says  string
	}{
		{"a backup that succeeds", v1alpha1.JobSucceeded, 0, "succeeded"},
		{"a backup that fails", v1alpha1.JobFailed, 1, "(WrongPassword): look into the Secret"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.host("web-1")
			out := &listener{want: "waiting for the controllers", heard: make(chan struct{})}
			go w.machineRuns(tt.phase, out.heard)
			s := w.runWith(t.Context(), func(a *cli.App) { a.Terminal.Out = out }, "edit", "run", "backup", "web-1", "--group", "etc", "--wait")
			s.out = out.String()
			s.expect(t, tt.code, "40%, 400 B of 1000 B", tt.says)
		})
	}
}

// listener is an output that tells when something was written.
type listener struct {
	bytes.Buffer
	want  string
	heard chan struct{}
	once  sync.Once
}

func (l *listener) Write(p []byte) (int, error) {
	n, err := l.Buffer.Write(p)
	if strings.Contains(l.String(), l.want) {
		l.once.Do(func() { close(l.heard) })
	}
	return n, err
}

// machineRuns does the job, once somebody watches it.
func (w *world) machineRuns(phase v1alpha1.HostJobPhase, watched <-chan struct{}) {
	ctx := w.t.Context()
	select {
	case <-watched:
	case <-ctx.Done():
		return
	}
	jobs := &v1alpha1.HostJobList{}
	if w.admin.List(ctx, jobs, client.InNamespace(w.namespace)) != nil || len(jobs.Items) != 1 {
		return
	}
	j := &jobs.Items[0]
	now := metav1.Now()
	j.Status.Phase, j.Status.StartTime = v1alpha1.JobRunning, &now
	j.Status.Progress = &v1alpha1.JobProgress{Percent: 40, BytesDone: 400, BytesTotal: 1000, UpdateTime: now}
	if w.admin.Status().Update(ctx, j) != nil {
		return
	}
	j.Status.Phase, j.Status.CompletionTime = phase, &now
	if phase == v1alpha1.JobFailed {
		j.Status.Result = &v1alpha1.JobResultStatus{Reason: "WrongPassword", Message: "look into the Secret"}
	}
	_ = w.admin.Status().Update(ctx, j)
}
