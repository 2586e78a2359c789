package cli_test

import (
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/collector"
)

// job creates a HostJob with a status.
func (w *world) job(name, host string, change func(*v1alpha1.HostJob)) *v1alpha1.HostJob {
	w.t.Helper()
	j := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: v1alpha1.HostJobSpec{HostRef: v1alpha1.LocalReference{Name: host}, Kind: v1alpha1.HostJobBackup, Backup: &v1alpha1.BackupJob{SourceGroup: "etc"}}}
	if err := w.admin.Create(w.t.Context(), j); err != nil {
		w.t.Fatal(err)
	}
	if change != nil {
		change(j)
		if err := w.admin.Status().Update(w.t.Context(), j); err != nil {
			w.t.Fatal(err)
		}
	}
	return j
}

func TestTheLogOfWhatIsNamed(t *testing.T) {
	w := newWorld(t)
	var asked wire.LogQuery
	machine := w.machine(func(_ *wire.HostQuery, p wire.QueryParameters, to *collector.Writer) error {
		asked = *p.Log
		_ = to.Record(wire.LogRecord{JobID: "job-1", Kind: wire.JobBackup, State: wire.LogEnded})
		return to.Data([]byte("one\ntwo\n"))
	})
	enrolled := func(h *v1alpha1.Host) { h.Spec.Identity = machine.Identity() }
	w.host("web-1", enrolled)
	w.host("both", enrolled)
	j := w.job("backup-1", "web-1", nil)
	w.job("both", "web-1", nil)

	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
		want wire.LogQuery
	}{
		{"a host", []string{"web-1"}, 0, "one\ntwo\n", wire.LogQuery{}},
		{"a host, one group, the job before", []string{"web-1", "--group", "etc", "--previous"}, 0, "one\n", wire.LogQuery{Group: "etc", Previous: true}},
		{"a host, followed, each file", []string{"host/web-1", "-f", "-v"}, 0, "one\n", wire.LogQuery{Follow: true, Verbose: true}},
		{"a job", []string{"backup-1"}, 0, "one\n", wire.LogQuery{JobID: wire.CommandID(string(j.UID))}},
		{"a job by its kind", []string{"job/backup-1", "-f"}, 0, "one\n", wire.LogQuery{JobID: wire.CommandID(string(j.UID)), Follow: true}},
		{"a name of both", []string{"both"}, 2, "write host/both or job/both", wire.LogQuery{}},
		{"a name of none", []string{"web-2"}, 2, "did you mean web-1?", wire.LogQuery{}},
		{"a job with a group", []string{"job/backup-1", "--group", "etc"}, 2, "a job that is named needs neither", wire.LogQuery{}},
		{"-v without -f", []string{"web-1", "-v"}, 2, "add -f", wire.LogQuery{}},
		{"a time that is none", []string{"web-1", "--since", "soon"}, 2, "--since", wire.LogQuery{}},
		{"a schedule", []string{"schedule/nightly"}, 2, "has no log", wire.LogQuery{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked = wire.LogQuery{}
			w.run("edit", append([]string{"logs"}, tt.args...)...).expect(t, tt.code, tt.says)
			if asked != tt.want {
				t.Errorf("the machine was asked for %+v, expected %+v", asked, tt.want)
			}
		})
	}
	w.run("edit", "logs", "web-1", "--since", "2h ago").expect(t, 0, "one\n")
	if asked.Since == nil || time.Since(*asked.Since).Round(time.Minute) != 2*time.Hour {
		t.Errorf("the machine was asked for lines since %v", asked.Since)
	}
}

func TestWhereTheMachineIsAwayTheClusterKeepsTheEnd(t *testing.T) {
	w := newWorld(t)
	machine := w.machine(nil)
	machine.Refuse = func(int) (int, *wire.Error) {
		return http.StatusServiceUnavailable, &wire.Error{Code: wire.CodeNotConnected, Message: "away"}
	}
	w.host("web-1", func(h *v1alpha1.Host) { h.Spec.Identity = machine.Identity() })
	w.job("backup-1", "web-1", func(j *v1alpha1.HostJob) { j.Status.Phase, j.Status.LogTail = v1alpha1.JobFailed, "the last line" })
	w.job("backup-2", "web-1", nil)
	w.job("backup-3", "web-1", func(j *v1alpha1.HostJob) { j.Status.Phase = v1alpha1.JobExpired })
	w.run("edit", "logs", "backup-1").expect(t, 0, "is not connected", "as the cluster keeps it", "the last line")
	w.run("edit", "logs", "backup-2").expect(t, 2, "is not connected", "kubectl restic doctor web-1")
	w.run("edit", "logs", "backup-3").expect(t, 2, "never began")
	w.run("edit", "logs", "web-1").expect(t, 2, "is not connected")
}

func TestAMachineThatAnswersIsDiagnosed(t *testing.T) {
	w := newWorld(t)
	machine := w.machine(func(_ *wire.HostQuery, _ wire.QueryParameters, to *collector.Writer) error {
		return to.Record(wire.DiagnosisRecord{Time: time.Now().Add(-time.Hour), Restic: "0.19.1", Hostname: "web", RepositoryChecked: true, RepositoryReason: "WrongPassword", RepositoryMessage: "restic says so",
			Disks: []wire.DiskRecord{{Path: "/var", BytesFree: 1 << 40, BytesTotal: 1 << 41}}})
	})
	w.host("web-1", func(h *v1alpha1.Host) { h.Spec.Identity, h.Status.ObservedGeneration = machine.Identity(), 1 })
	s := w.run("edit", "doctor", "web-1")
	s.expect(t, 1, "answers with the expected certificate", "its clock is 1h0m0s behind", "WrongPassword", "edit secret web-1-repo", "1.0 TiB free for /var")
	t.Logf("this is what it looks like:\n%s", s.out)
	w.run("edit", "doctor", "web-1", "--no-query").expect(t, 1, "it was not asked")
	w.run("view", "doctor", "web-1").expect(t, 1, "you may not ask it")
}
