package install

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// What a platform team does, in order: install, enrol a machine with one line, back up, upgrade, restore, uninstall.
func TestFromHelmInstallToARestoredFileAndThroughAnUpgrade(t *testing.T) {
	before, now, _, err := versions()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, before, now)
	// The cluster holds the namespace to the strictest standard.
	w.must(w.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: system, Labels: map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
	}}}))
	if said := w.deploy(before); !strings.Contains(said, "STATUS: deployed") || strings.Contains(said, "would violate") {
		t.Errorf("helm says\n%s", said)
	}

	line := w.host("web-1", "/srv/data")
	machine := w.machine()
	w.on(machine, "mkdir -p /srv/data && echo hers >/srv/data/hers && chmod 0600 /srv/data/hers && head -c 100000 /dev/urandom >/srv/data/blob")
	if said, err := machine.Try(t.Context(), line+" --wait=90\n", "bash"); err != nil || !strings.Contains(said, "is connected, as Host shop/web-1") {
		t.Fatalf("%v\n%s", err, said)
	}
	w.ready("web-1")
	w.job("before", v1alpha1.HostJobSpec{Kind: v1alpha1.HostJobBackup, Backup: &v1alpha1.BackupJob{SourceGroup: "files"}})
	applied := w.applied()
	sum := w.on(machine, "sha256sum /srv/data/hers /srv/data/blob")

	// A backup is under way, slowly, while everything is replaced.
	w.must(w.Patch(t.Context(), &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "web-1"}}, mergePatch(`{"spec":{"bandwidth":{"uploadKBps":400}}}`)))
	w.eventually("the machine has the cap", func(context.Context) error {
		if w.applied() == applied {
			return errors.New("not yet")
		}
		return nil
	})
	w.on(machine, "head -c 12000000 /dev/urandom >/srv/data/large")
	slow := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "meanwhile"}, Spec: v1alpha1.HostJobSpec{
		HostRef: v1alpha1.LocalReference{Name: "web-1"}, Kind: v1alpha1.HostJobBackup, Backup: &v1alpha1.BackupJob{SourceGroup: "files"},
	}}
	w.must(w.Create(t.Context(), slow))
	w.eventually("the backup runs", func(ctx context.Context) error {
		w.must(w.Get(ctx, client.ObjectKeyFromObject(slow), slow))
		if slow.Status.Phase != v1alpha1.JobRunning {
			return fmt.Errorf("it is %s", slow.Status.Phase)
		}
		return nil
	})
	pid := w.on(machine, "systemctl show -P MainPID restic-manager-agent")
	w.deploy(now)
	w.finished(slow)
	w.ready("web-1")
	if n := w.on(machine, "systemctl show -P MainPID restic-manager-agent"); n != pid {
		t.Error("the agent was started again")
	}
	w.oneSnapshotEach()
	if said := w.helm("test", release, "--namespace", system, "--logs=false"); !strings.Contains(said, "Succeeded") {
		t.Errorf("helm test says\n%s", said)
	}

	// The agent follows, by the installer of the version that is there now.
	w.on(machine, "curl -fsSk https://"+gatewayName+"/install/install.sh -o /install.sh && bash /install.sh")
	if said := w.on(machine, "restic-manager-agent --version"); !strings.Contains(said, now.name) {
		t.Errorf("the agent is %s, want %s", said, now.name)
	}
	w.ready("web-1")
	w.on(machine, "rm -r /srv/data")
	restored := w.job("restore", v1alpha1.HostJobSpec{Kind: v1alpha1.HostJobRestore, Restore: &v1alpha1.RestoreJob{Snapshot: "latest", SourceGroup: "files"}})
	target := restored.Status.Result.Restore.Target
	if back := w.on(machine, "cd "+target+" && sha256sum srv/data/hers srv/data/blob"); strings.ReplaceAll(back, " srv", " /srv") != sum {
		t.Errorf("restored\n%s\nwant\n%s", back, sum)
	}

	w.helm("uninstall", release, "--namespace", system, "--wait", "--timeout", "3m")
	w.eventually("nothing runs after the uninstall", func(ctx context.Context) error {
		left, err := w.cp.Kubectl(ctx, "get", "pods,deployments,services", "-n", system, "-o", "name")
		if err == nil && left != "" {
			err = errors.New("left are " + left)
		}
		return err
	})
	if left := w.kubectl("get", "hosts,sourcegroups", "-n", shop, "-o", "name"); !strings.Contains(left, "web-1") || !strings.Contains(left, "files") {
		t.Errorf("of what people wrote there is left: %s", left)
	}
	w.on(machine, "systemctl is-active restic-manager-agent")
}

func mergePatch(text string) client.Patch {
	return client.RawPatch("application/merge-patch+json", []byte(text))
}

// applied is the revision that the machine has.
func (w *world) applied() string {
	w.Helper()
	return w.kubectl("get", "scheduleset", "web-1", "-n", shop, "-o", "jsonpath={.status.appliedRevision}")
}

// oneSnapshotEach: each backup that succeeded ran once.
func (w *world) oneSnapshotEach() {
	w.Helper()
	snapshots := map[string]bool{}
	var jobs v1alpha1.HostJobList
	w.must(w.List(w.Context(), &jobs, client.InNamespace(shop)))
	for _, j := range jobs.Items {
		if j.Spec.Kind == v1alpha1.HostJobBackup {
			snapshots[j.Status.Result.Backup.SnapshotID] = true
		}
	}
	files, err := snapshotFiles(w)
	w.must(err)
	if len(snapshots) != 2 || files != 2 {
		w.Errorf("two backups made %d snapshots, %d files of such are in the repository", len(snapshots), files)
	}
}
