package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
)

// Groups of the second act.
const (
	Hooked = "with-a-hook"
	Dump   = "database"
)

// upkeep is the second act: what keeps a repository healthy for years.
func (r *Run) upkeep() []step {
	return []step{
		{"forget on an append-only repository: refused, and said so", r.forgetRefused},
		{"bind credentials that may delete", r.bindAdmin},
		{"forget with them: the retention shrinks the list", r.forget},
		{"prune: the space comes back", r.prune},
		{"check, reading half of the data", r.check},
		{"a lock left by SIGKILL heals by itself", r.staleLock},
		{"a hook runs before the backup", r.hook},
		{"a dump that fails does not become a snapshot", r.failedDump},
		{"a dump that works does", r.goodDump},
		{"a restore drill", r.drill},
		{"the admin password is nowhere on the machine", r.searchMachine},
	}
}

func (r *Run) patch(ctx context.Context, kind, name, patch string) error {
	_, err := r.Stack.CP.Kubectl(ctx, "patch", kind, name, "-n", Namespace, "--type=merge", "-p", patch)
	return err
}

// snapshots asks plain restic, with the rights of the machine.
func (r *Run) snapshots(ctx context.Context, tag string) (int, error) {
	out, err := r.restic(ctx, "snapshots", "--json", "--tag", tag)
	if err != nil {
		return 0, err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(out, &list); err != nil {
		return 0, err
	}
	return len(list), nil
}

func (r *Run) restic(ctx context.Context, args ...string) ([]byte, error) {
	command, err := r.resticCommand(ctx, args...)
	if err != nil {
		return nil, err
	}
	out, err := command.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil, fmt.Errorf("restic %v: %w: %s", args, err, exit.Stderr)
	}
	return out, err
}

func (r *Run) resticCommand(ctx context.Context, args ...string) (*exec.Cmd, error) {
	binary, err := env.Binary("", env.Restic)
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, binary, append([]string{"--cacert", r.Stack.CA.CertFile, "--no-cache"}, args...)...)
	command.Env = append(os.Environ(), "RESTIC_REPOSITORY="+r.Stack.AppendOnly.RepositoryURL(Host), "RESTIC_PASSWORD="+r.Passwords["repository password"],
		"RESTIC_REST_USERNAME="+Host, "RESTIC_REST_PASSWORD="+r.Passwords["rest-server password"])
	return command, nil
}

func (r *Run) forgetRefused(ctx context.Context) (string, error) {
	if err := r.patch(ctx, "sourcegroup", Group, `{"spec":{"retention":{"keepLast":1,"keepDaily":null,"keepWeekly":null,"keepMonthly":null}}}`); err != nil {
		return "", err
	}
	before, err := r.snapshots(ctx, Group)
	if err != nil {
		return "", err
	}
	job, err := r.job(ctx, "forget-refused", v1alpha1.HostJobSpec{Kind: v1alpha1.HostJobForget}, v1alpha1.ConditionFailed)
	if err != nil {
		return "", err
	}
	after, err := r.snapshots(ctx, Group)
	if err != nil {
		return "", err
	}
	result := job.Status.Result
	if result == nil || result.Reason != "ForgetRefused" || result.Forget == nil || result.Forget.Refused != int64(before-1) || after != before {
		return "", fmt.Errorf("the result is %+v, with %d snapshots before and %d after; want ForgetRefused for all but one, and none gone", result, before, after)
	}
	return fmt.Sprintf("Failed, ForgetRefused: %d of %d snapshots should have gone, and all are there", result.Forget.Refused, before), nil
}

func (r *Run) bindAdmin(ctx context.Context) (string, error) {
	password, err := NewPassword()
	if err != nil {
		return "", err
	}
	r.Passwords["admin password"] = password
	if err := r.Stack.Rest.SetUser(Host, password); err != nil {
		return "", err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: Host + "-admin", Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
		StringData: map[string]string{
			"RESTIC_PASSWORD": r.Passwords["repository password"], "RESTIC_REST_USERNAME": Host, "RESTIC_REST_PASSWORD": password,
			v1alpha1.AdminRepositoryKey: r.Stack.Rest.RepositoryURL(Host),
		},
	}
	if err := r.client.Create(ctx, secret); err != nil {
		return "", err
	}
	if err := r.patch(ctx, "host", Host, `{"spec":{"repository":{"adminCredentialsSecretRef":{"name":"`+secret.Name+`"}}}}`); err != nil {
		return "", err
	}
	return "a second rest-server without --append-only serves the same folder; only commands carry its password, sealed",
		r.hostCondition(ctx, v1alpha1.ConditionAdminCredentialsExposed, time.Minute)
}

func (r *Run) forget(ctx context.Context) (string, error) {
	before, err := r.snapshots(ctx, Group)
	if err != nil {
		return "", err
	}
	job, err := r.job(ctx, "forget", v1alpha1.HostJobSpec{Kind: v1alpha1.HostJobForget}, v1alpha1.ConditionComplete)
	if err != nil {
		return "", err
	}
	after, err := r.snapshots(ctx, Group)
	if err != nil {
		return "", err
	}
	others, err := r.snapshots(ctx, Locked)
	if err != nil {
		return "", err
	}
	if after != 1 || others != 1 || job.Status.Result.Forget == nil || job.Status.Result.Forget.Removed != int64(before-1) {
		return "", fmt.Errorf("%d snapshots of the group and %d of the other one are left, result %+v; want 1 and 1", after, others, job.Status.Result.Forget)
	}
	return fmt.Sprintf("%d snapshots before, %d after; the group without retention keeps its own", before, after), nil
}

func (r *Run) prune(ctx context.Context) (string, error) {
	job, err := r.job(ctx, "prune", v1alpha1.HostJobSpec{Kind: v1alpha1.HostJobPrune, Prune: &v1alpha1.PruneOptions{MaxUnused: "0"}}, v1alpha1.ConditionComplete)
	if err != nil {
		return "", err
	}
	p := job.Status.Result.Prune
	if p == nil || p.BytesFreed == 0 || p.BytesRemaining == 0 {
		return "", fmt.Errorf("the result is %+v, want bytes freed and bytes left", p)
	}
	return fmt.Sprintf("%d KiB freed, %d MiB remain", p.BytesFreed>>10, p.BytesRemaining>>20), nil
}

func (r *Run) check(ctx context.Context) (string, error) {
	job, err := r.job(ctx, "check", v1alpha1.HostJobSpec{Kind: v1alpha1.HostJobCheck, Check: &v1alpha1.CheckJob{ReadDataSubset: "1/2"}}, v1alpha1.ConditionComplete)
	if err != nil {
		return "", err
	}
	if c := job.Status.Result.Check; c == nil || c.Errors != 0 || c.ReadDataSubset != "1/2" {
		return "", fmt.Errorf("the result is %+v, want no errors in 1/2", c)
	}
	return "no errors", nil
}

func (r *Run) locks() ([]string, error) { return env.Locks(filepath.Join(r.Stack.Rest.Data, Host)) }

// staleLock kills a restic of this machine in the middle of a backup, which leaves its lock, and has a forget meet it.
func (r *Run) staleLock(ctx context.Context) (string, error) {
	command, err := r.resticCommand(ctx, "--limit-upload=1", "backup", "--quiet", "--host=killed", "--tag=killed", "/usr/share", "/usr/lib")
	if err != nil {
		return "", err
	}
	if err := command.Start(); err != nil {
		return "", err
	}
	err = env.Poll(ctx, time.Minute, "the lock of a running restic", func(context.Context) error {
		if locks, err := r.locks(); err != nil || len(locks) == 0 {
			return fmt.Errorf("%d locks, %w", len(locks), err)
		}
		return nil
	})
	killErr := command.Process.Kill()
	_ = command.Wait() // it was killed, and says so
	if err := errors.Join(err, killErr); err != nil {
		return "", err
	}
	job, err := r.job(ctx, "forget-after-a-crash", v1alpha1.HostJobSpec{Kind: v1alpha1.HostJobForget}, v1alpha1.ConditionComplete)
	if err != nil {
		return "", err
	}
	left, err := r.locks()
	if err != nil {
		return "", err
	}
	if job.Status.Result.LocksRemoved == 0 || len(left) != 0 {
		return "", fmt.Errorf("%d locks were removed and %d are left, want one and none", job.Status.Result.LocksRemoved, len(left))
	}
	return fmt.Sprintf("forget succeeded, and removed %d stale lock", job.Status.Result.LocksRemoved), nil
}

func (r *Run) hookDir() string  { return filepath.Join(filepath.Dir(r.Source), "hooks") }
func (r *Run) hookSaid() string { return filepath.Join(r.hookDir(), "said") }
func (r *Run) hookFile() string { return filepath.Join(r.hookDir(), "freeze.sh") }
func (r *Run) writeHook() error {
	if err := os.MkdirAll(r.hookDir(), 0o755); err != nil {
		return err
	}
	script := "#!/bin/sh\nenv | sort >" + r.hookSaid() + "\necho frozen for $RESTIC_MANAGER_SOURCE_GROUP\n"
	return os.WriteFile(r.hookFile(), []byte(script), 0o755)
}

func (r *Run) group(ctx context.Context, name string, spec v1alpha1.SourceGroupSpec) error {
	spec.HostRef = &v1alpha1.LocalReference{Name: Host}
	return r.client.Create(ctx, &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name}, Spec: spec})
}

func (r *Run) backupOf(group string) v1alpha1.HostJobSpec {
	return v1alpha1.HostJobSpec{Kind: v1alpha1.HostJobBackup, Backup: &v1alpha1.BackupJob{SourceGroup: group}}
}

func (r *Run) hook(ctx context.Context) (string, error) {
	if err := r.writeHook(); err != nil {
		return "", err
	}
	err := r.group(ctx, Hooked, v1alpha1.SourceGroupSpec{
		Includes: []string{filepath.Join(r.Source, "names")},
		Hooks:    &v1alpha1.Hooks{PreBackup: []v1alpha1.Hook{{Command: []string{r.hookFile()}}}},
	})
	if err != nil {
		return "", err
	}
	job, err := r.job(ctx, "backup-with-a-hook", r.backupOf(Hooked), v1alpha1.ConditionComplete)
	if err != nil {
		return "", err
	}
	said, err := os.ReadFile(r.hookSaid())
	if err != nil {
		return "", err
	}
	switch {
	case !bytes.Contains(said, []byte("RESTIC_MANAGER_SOURCE_GROUP="+Hooked)):
		return "", fmt.Errorf("the hook's environment does not name the group: %s", said)
	case bytes.Contains(said, []byte("RESTIC_PASSWORD")):
		return "", errors.New("the hook was given the password of the repository")
	case !strings.Contains(job.Status.LogTail, "frozen for "+Hooked):
		return "", fmt.Errorf("the job's log does not hold what the hook printed: %s", job.Status.LogTail)
	}
	return "it knows the group, not the password, and its output is in the job's log", nil
}

func (r *Run) failedDump(ctx context.Context) (string, error) {
	err := r.group(ctx, Dump, v1alpha1.SourceGroupSpec{
		Command: []string{"/bin/sh", "-c", "echo half a table; echo connection lost >&2; exit 3"}, FileName: "shop.sql",
	})
	if err != nil {
		return "", err
	}
	job, err := r.job(ctx, "dump-fails", r.backupOf(Dump), v1alpha1.ConditionFailed)
	if err != nil {
		return "", err
	}
	found, err := r.snapshots(ctx, Dump)
	if err != nil {
		return "", err
	}
	if result := job.Status.Result; job.Status.Phase != v1alpha1.JobFailed || result.Reason != "CommandFailed" || found != 0 {
		return "", fmt.Errorf("phase is %s, result %+v, with %d snapshots; want Failed, CommandFailed, and none", job.Status.Phase, result, found)
	}
	return "Failed, CommandFailed: " + job.Status.Result.Message, nil
}

func (r *Run) goodDump(ctx context.Context) (string, error) {
	if err := r.patch(ctx, "sourcegroup", Dump, `{"spec":{"command":["/bin/sh","-c","echo a whole table"]}}`); err != nil {
		return "", err
	}
	job, err := r.job(ctx, "dump-works", r.backupOf(Dump), v1alpha1.ConditionComplete)
	if err != nil {
		return "", err
	}
	id := job.Status.Result.Backup.SnapshotID
	out, err := r.restic(ctx, "dump", id, "/shop.sql")
	if err != nil {
		return "", err
	}
	if string(out) != "a whole table\n" {
		return "", fmt.Errorf("restic dump gives %q", out)
	}
	return fmt.Sprintf("snapshot %.8s holds /shop.sql", id), nil
}

func (r *Run) drill(ctx context.Context) (string, error) {
	job, err := r.job(ctx, "drill", v1alpha1.HostJobSpec{Kind: v1alpha1.HostJobVerify, Verify: &v1alpha1.VerifyJob{Sample: 50}}, v1alpha1.ConditionComplete)
	if err != nil {
		return "", err
	}
	v := job.Status.Result.Verify
	if v == nil || v.FilesVerified < 50 || v.FilesFailed != 0 || v.FilesMatchingLive == 0 || len(v.Groups) != 4 {
		return "", fmt.Errorf("the result is %+v; want 50 files and more in four groups, compared with the machine's own, and none different", v)
	}
	if err := r.hostCondition(ctx, v1alpha1.ConditionRepositoryHealthy, time.Minute); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d files restored and equal to their snapshots, %d of them also to the machine's own; RepositoryHealthy is True", v.FilesVerified, v.FilesMatchingLive), nil
}

// searchMachine looks for the admin password by value in every file of the machine.
func (r *Run) searchMachine(context.Context) (string, error) {
	searched := 0
	err := filepath.WalkDir(r.Agent.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the agent works on
		}
		if err != nil {
			return err
		}
		searched++
		if bytes.Contains(raw, []byte(r.Passwords["admin password"])) {
			return fmt.Errorf("%s holds the admin password", path)
		}
		return nil
	})
	if err == nil && searched < 100 {
		err = fmt.Errorf("only %d files were searched: that proves nothing", searched)
	}
	return fmt.Sprintf("%d files searched by value", searched), err
}
