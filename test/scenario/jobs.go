package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/tree"
)

func (r *Run) scheduledBackup(ctx context.Context) (string, error) {
	r.Print("   waiting for the next full minute")
	var seen string
	err := env.Poll(ctx, 100*time.Second, "a scheduled backup", func(ctx context.Context) error {
		var host v1alpha1.Host
		if err := r.client.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: Host}, &host); err != nil {
			return err
		}
		for _, g := range host.Status.SourceGroups {
			if g.Name != Group || g.Schedule != Schedule || g.Backup == nil {
				continue
			}
			if g.Result != v1alpha1.ResultSucceeded {
				return env.Permanent(fmt.Errorf("result is %s (%s): %s", g.Result, g.Reason, g.Message))
			}
			seen = fmt.Sprintf("snapshot %.8s, %d files, %d MiB stored", g.Backup.SnapshotID, g.Backup.FilesProcessed, g.Backup.BytesStored>>20)
			return nil
		}
		return errors.New("no result yet")
	})
	if err != nil {
		return "", err
	}
	// One is enough: the rest of the run is on demand.
	_, err = r.Stack.CP.Kubectl(ctx, "patch", "schedule", Schedule, "-n", Namespace, "--type=merge", "-p", `{"spec":{"suspend":true}}`)
	return seen, err
}

func (r *Run) backupOnDemand(ctx context.Context) (string, error) {
	return r.backup(ctx, "backup-now")
}

func (r *Run) backupChanges(ctx context.Context) (string, error) {
	if err := tree.Change(r.Source); err != nil {
		return "", err
	}
	return r.backup(ctx, "backup-changes")
}

func (r *Run) backup(ctx context.Context, name string) (string, error) {
	job, err := r.job(ctx, name, v1alpha1.HostJobSpec{Kind: v1alpha1.HostJobBackup, Backup: &v1alpha1.BackupJob{SourceGroup: Group}}, v1alpha1.ConditionComplete)
	if err != nil {
		return "", err
	}
	b := job.Status.Result.Backup
	return fmt.Sprintf("snapshot %.8s: %d new, %d changed, %d unmodified", b.SnapshotID, b.FilesNew, b.FilesChanged, b.FilesUnmodified), nil
}

func (r *Run) backupLockedFile(ctx context.Context) (string, error) {
	job, err := r.job(ctx, "backup-locked", v1alpha1.HostJobSpec{Kind: v1alpha1.HostJobBackup, Backup: &v1alpha1.BackupJob{SourceGroup: Locked}}, v1alpha1.ConditionFailed)
	if err != nil {
		return "", err
	}
	result := job.Status.Result
	if job.Status.Phase != v1alpha1.JobCompletedWithErrors || result.Backup == nil || result.Backup.SnapshotID == "" {
		return "", fmt.Errorf("phase is %s, result %+v; want CompletedWithErrors and a snapshot", job.Status.Phase, result)
	}
	want := filepath.Join(r.lockedSource(), tree.Unreadable)
	if strings.Join(result.Backup.FailedPaths, "") != want {
		return "", fmt.Errorf("failedPaths is %q, want %q", result.Backup.FailedPaths, want)
	}
	return "CompletedWithErrors: " + result.Message, nil
}

func (r *Run) restore(ctx context.Context) (string, error) {
	job, err := r.job(ctx, "restore", v1alpha1.HostJobSpec{Kind: v1alpha1.HostJobRestore, Restore: &v1alpha1.RestoreJob{
		Snapshot: "latest", SourceGroup: Group, Target: r.Restored, Verify: true,
	}}, v1alpha1.ConditionComplete)
	if err != nil {
		return "", err
	}
	summary := job.Status.Result.Restore
	return fmt.Sprintf("%d files, %d MiB, verified, into %s", summary.FilesRestored, summary.BytesRestored>>20, summary.Target), nil
}

// job creates a HostJob and waits with kubectl, as a person would.
func (r *Run) job(ctx context.Context, name string, spec v1alpha1.HostJobSpec, condition string) (*v1alpha1.HostJob, error) {
	spec.HostRef.Name = Host
	job := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name}, Spec: spec}
	if err := r.client.Create(ctx, job); err != nil {
		return nil, err
	}
	_, err := r.Stack.CP.Kubectl(ctx, "wait", "hostjob", name, "-n", Namespace, "--for=condition="+condition, "--timeout=120s")
	if getErr := r.client.Get(ctx, client.ObjectKeyFromObject(job), job); getErr != nil {
		return nil, getErr
	}
	if err != nil {
		return nil, fmt.Errorf("%w; phase %s, result %+v, conditions %v", err, job.Status.Phase, job.Status.Result, describe(job.Status.Conditions))
	}
	return job, nil
}

// plainRestic reads the repository by hand, without restic-manager, and shows how.
func (r *Run) plainRestic(ctx context.Context) (string, error) {
	binary, err := env.Binary("", env.Restic)
	if err != nil {
		return "", err
	}
	url := r.Stack.AppendOnly.RepositoryURL(Host)
	r.Print("   RESTIC_PASSWORD=… RESTIC_REST_USERNAME=%s RESTIC_REST_PASSWORD=… \\\n   restic -r %s --cacert %s snapshots --host %s.%s",
		Host, url, r.Stack.CA.CertFile, Host, Namespace)
	command := exec.CommandContext(ctx, binary, "-r", url, "--cacert", r.Stack.CA.CertFile, "--no-cache", "snapshots", "--host", Host+"."+Namespace)
	command.Env = append(os.Environ(), "RESTIC_PASSWORD="+r.Passwords["repository password"],
		"RESTIC_REST_USERNAME="+Host, "RESTIC_REST_PASSWORD="+r.Passwords["rest-server password"])
	out, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	r.Print("%s", indent(string(out)))
	if want := "4 snapshots"; !strings.Contains(string(out), want) {
		return "", fmt.Errorf("restic does not show %s", want)
	}
	return "4 snapshots", nil
}

func describe(conditions []metav1.Condition) []string {
	var out []string
	for _, c := range conditions {
		out = append(out, fmt.Sprintf("%s=%s/%s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	return out
}
