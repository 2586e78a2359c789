package cli_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/collector"
)

var snapshotID = strings.Repeat("1a2b3c4d", 8)

// holdsFiles is a machine with one snapshot, of a file that no chunk could hold.
func holdsFiles(t *testing.T, end error) (collector.Answer, []byte) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, h := range []*tar.Header{{Name: "/srv", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "/srv/big", Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(content))}} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return func(q *wire.HostQuery, p wire.QueryParameters, to *collector.Writer) error {
		switch q.Kind {
		case wire.QuerySnapshots:
			if r := p.Snapshots.ResticHost; r != "" && !strings.HasPrefix(r, "web-1.") {
				return nil
			}
			return to.Record(wire.SnapshotRecord{ID: snapshotID, Time: time.Now().Add(-time.Hour), Files: 1, Bytes: int64(len(content))})
		case wire.QueryContent:
			if !p.Content.Tar || p.Content.Snapshot != snapshotID {
				return collector.End{Reason: wire.AnswerInvalid}
			}
			if err := to.Data(archive.Bytes()); err != nil {
				return err
			}
			return end
		}
		return collector.End{Reason: wire.AnswerNotFound}
	}, content
}

func TestFilesComeToThisTerminal(t *testing.T) {
	w := newWorld(t)
	answer, content := holdsFiles(t, nil)
	machine := w.machine(answer)
	w.host("web-1", func(h *v1alpha1.Host) { h.Spec.Identity = machine.Identity() })
	dir := filepath.Join(t.TempDir(), "restored")

	w.run("edit", "restore", "web-1", "/srv", "--to-local", dir).expect(t, 2, "hostqueries/content")
	w.run("admin", "restore", "web-1", "/srv", "--to-local", dir).expect(t, 0, "Snapshot 1a2b3c4d of web-1", "Restored to "+dir+": 1 file, 625.0 KiB")
	if got, err := os.ReadFile(filepath.Join(dir, "srv", "big")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the file differs (%v)", err)
	}
	w.run("admin", "restore", "web-1", "/srv", "--to-local", dir).expect(t, 2, "srv/big exists already", "--overwrite")
	w.run("admin", "restore", "web-1", "/srv", "--to-local", dir, "--overwrite", "Never").expect(t, 0, "1 left as they are")
	w.run("admin", "restore", "web-1", "/srv", "--to-local", dir, "--overwrite", "Always").expect(t, 2, "--yes")
	w.run("admin", "restore", "web-1", "srv", "--to-local", dir).expect(t, 2, "must be absolute")
	w.run("admin", "restore", "web-1", "--to-local", dir, "--at", "2 days ago").expect(t, 2, "no snapshot from before")

	s := w.run("admin", "restore", "web-1", "/srv", "--tar", "-")
	s.expect(t, 0)
	if h, err := tar.NewReader(strings.NewReader(s.out)).Next(); err != nil || h.Name != "/srv" {
		t.Errorf("the output begins with %+v (%v), expected an archive of /srv", h, err)
	}
}

func TestAnArchiveThatIsNotWholeIsNotKept(t *testing.T) {
	w := newWorld(t)
	answer, _ := holdsFiles(t, collector.End{Reason: wire.AnswerFailed, Message: "restic says no"})
	machine := w.machine(answer)
	w.host("web-1", func(h *v1alpha1.Host) { h.Spec.Identity = machine.Identity() })
	file := filepath.Join(t.TempDir(), "srv.tar")
	w.run("admin", "restore", "web-1", "/srv", "--tar", file).expect(t, 2, "restic says no")
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is there (%v)", err)
	}
	w.run("admin", "restore", "web-1", "/srv", "--to-local", t.TempDir()).expect(t, 2, "restic says no", "What came before that")
}

func TestARestoreOnAMachineIsTriedDryFirst(t *testing.T) {
	w := newWorld(t)
	answer, _ := holdsFiles(t, nil)
	machine := w.machine(answer)
	same := func(h *v1alpha1.Host) {
		h.Spec.Identity, h.Spec.Repository.URL = machine.Identity(), "rest:https://backup.example.com/shared"
	}
	w.host("web-1", same)
	w.host("web-2", same)
	w.host("web-3")
	go w.restores()

	w.run("admin", "restore", "web-1", "/srv").expect(t, 2, "no terminal to ask on")
	w.run("admin", "restore", "web-1", "/srv", "--dry-run").expect(t, 0, "Dry run: 3 files (1.0 KiB) of 3 would be restored, to /srv/restored")
	w.run("edit", "restore", "web-1", "/srv", "--dry-run").expect(t, 2, "hostjobs/restore")
	w.run("admin", "restore", "web-1", "/srv", "--yes", "--target", "/srv/restored", "--verify").expect(t, 0, "succeeded", "3 files (1.0 KiB) of 3 restored")
	w.run("admin", "restore", "web-1", "/srv", "--yes", "--onto", "web-2").expect(t, 0, "succeeded")
	w.run("admin", "restore", "web-1", "/srv", "--yes", "--onto", "web-3").expect(t, 2, "another repository")
	w.run("admin", "restore", "web-1", "/srv", "--yes", "--exclude", "*.log").expect(t, 2, "exclude each other")
	w.run("admin", "restore", "web-1", "--yes", "--target", "srv").expect(t, 2, "--to-local")

	jobs := &v1alpha1.HostJobList{}
	if err := w.admin.List(t.Context(), jobs, client.InNamespace(w.namespace)); err != nil {
		t.Fatal(err)
	}
	onto := 0
	for _, j := range jobs.Items {
		if j.Spec.Restore.Snapshot != snapshotID || len(j.Spec.Restore.Includes) != 1 {
			t.Errorf("job %s restores %+v", j.Name, j.Spec.Restore)
		}
		if j.Spec.HostRef.Name == "web-2" {
			onto++
		}
	}
	if len(jobs.Items) != 3 || onto != 1 {
		t.Errorf("%d jobs, %d of them for web-2; expected 3 and 1", len(jobs.Items), onto)
	}
}

// restores does each restore that appears.
func (w *world) restores() {
	ctx := w.t.Context()
	watcher, err := w.admin.Watch(ctx, &v1alpha1.HostJobList{}, client.InNamespace(w.namespace))
	if err != nil {
		return
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		j, is := event.Object.(*v1alpha1.HostJob)
		if !is || j.Status.Phase.Finished() {
			continue
		}
		now := metav1.Now()
		j.Status.Phase, j.Status.StartTime, j.Status.CompletionTime = v1alpha1.JobSucceeded, &now, &now
		j.Status.Result = &v1alpha1.JobResultStatus{Restore: &v1alpha1.RestoreSummary{SnapshotID: j.Spec.Restore.Snapshot, Target: "/srv/restored", FilesTotal: 3, FilesRestored: 3,
			BytesTotal: 1024, BytesRestored: 1024, DryRun: j.Spec.Restore.DryRun}}
		_ = w.admin.Status().Update(ctx, j)
	}
}
