package recovery

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/signing"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/scenario"
	"github.com/restic-manager/restic-manager/test/stack"
)

// patience is for the rotation, whose machines are counted once a minute.
const patience = 3 * time.Minute

type world struct {
	*testing.T
	*stack.Stack
	client.Client
	ns string
}

func newWorld(t *testing.T, name string) *world {
	s, c := shared.Get(t)
	w := &world{T: t, Stack: s, Client: c, ns: s.CP.NewNamespace(t, name)}
	// What is left would be waited for by the next test.
	t.Cleanup(func() {
		for _, o := range []client.Object{&v1alpha1.Schedule{}, &v1alpha1.SourceGroup{}, &v1alpha1.HostJob{}, &v1alpha1.Host{}} {
			if err := c.DeleteAllOf(context.Background(), o, client.InNamespace(w.ns)); err != nil {
				t.Error(err)
			}
		}
	})
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) eventually(what string, cond func(ctx context.Context) error) {
	w.Helper()
	env.Eventually(w.T, patience, what, cond)
}

// machine makes a Host with a group of its own name, enrols a machine for it and starts its agent.
func (w *world) machine(name string) *stack.Agent {
	w.Helper()
	host, secret, err := scenario.NewHost(w.Stack, w.ns, name)
	w.must(err)
	w.must(w.Create(w.Context(), secret))
	w.must(w.Create(w.Context(), host))
	dir := filepath.Join(w.Dir, "machines", w.ns, name, "data")
	w.must(os.MkdirAll(dir, 0o755))
	w.must(os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o644))
	group := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}}
	group.Spec.HostRef, group.Spec.Includes = &v1alpha1.LocalReference{Name: name}, []string{dir}
	w.must(w.Create(w.Context(), group))
	a, err := w.Enroll(w.Context(), stack.Machine{Namespace: w.ns, Host: name})
	w.must(err)
	w.must(a.Start(w.Context()))
	w.Cleanup(func() { _ = a.Stop() })
	w.applied(name)
	return a
}

func (w *world) set(ctx context.Context, name string) (*v1alpha1.ScheduleSet, error) {
	set := &v1alpha1.ScheduleSet{}
	return set, w.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: name}, set)
}

// applied waits until a machine has what is published.
func (w *world) applied(name string) {
	w.Helper()
	w.eventually(name+" has the newest set", func(ctx context.Context) error {
		set, err := w.set(ctx, name)
		if err != nil {
			return err
		}
		if set.Status.AppliedRevision != set.Spec.Revision || set.Status.Refusal != nil {
			return fmt.Errorf("revision %s, applied %s, refusal %+v", set.Spec.Revision, set.Status.AppliedRevision, set.Status.Refusal)
		}
		return nil
	})
	w.condition(name, v1alpha1.ConditionRepositoryReady, metav1.ConditionTrue)
}

func (w *world) condition(name, kind string, status metav1.ConditionStatus, says ...string) {
	w.Helper()
	w.eventually(fmt.Sprintf("condition %s=%s of %s", kind, status, name), func(ctx context.Context) error {
		host := &v1alpha1.Host{}
		if err := w.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: name}, host); err != nil {
			return err
		}
		c := meta.FindStatusCondition(host.Status.Conditions, kind)
		if c == nil || c.Status != status {
			return fmt.Errorf("conditions %+v", host.Status.Conditions)
		}
		for _, part := range says {
			if !strings.Contains(c.Reason+": "+c.Message, part) {
				return fmt.Errorf("it says %s: %s", c.Reason, c.Message)
			}
		}
		return nil
	})
}

// backup runs one by a HostJob, which is signed like any command.
func (w *world) backup(job, host string) {
	w.Helper()
	j := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: job}, Spec: v1alpha1.HostJobSpec{
		HostRef: v1alpha1.LocalReference{Name: host}, Kind: v1alpha1.HostJobBackup, Backup: &v1alpha1.BackupJob{SourceGroup: host},
	}}
	w.must(w.Create(w.Context(), j))
	w.succeeded(job)
}

func (w *world) succeeded(job string) {
	w.Helper()
	w.eventually("HostJob "+job+" succeeds", func(ctx context.Context) error {
		j := &v1alpha1.HostJob{}
		if err := w.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: job}, j); err != nil {
			return err
		}
		if j.Status.Phase.Finished() && j.Status.Phase != v1alpha1.JobSucceeded {
			return env.Permanent(fmt.Errorf("%s: %+v", j.Status.Phase, j.Status.Conditions))
		}
		if j.Status.Phase != v1alpha1.JobSucceeded {
			return fmt.Errorf("phase is %q", j.Status.Phase)
		}
		return nil
	})
}

func (w *world) keys(ctx context.Context) (*corev1.Secret, *signing.Keys, error) {
	secret := &corev1.Secret{}
	if err := w.Get(ctx, client.ObjectKey{Namespace: stack.Namespace, Name: signing.SecretName}, secret); err != nil {
		return nil, nil, err
	}
	keys, err := signing.Load(secret)
	return secret, keys, err
}

// annotate does what the guide says, with kubectl.
func (w *world) annotate(name, value string) {
	w.Helper()
	_, err := w.CP.Kubectl(w.Context(), "-n", stack.Namespace, "annotate", "secret", signing.SecretName, "--overwrite", name+"="+value)
	w.must(err)
}

// rotation waits until the annotation of the controllers says what is wanted.
func (w *world) rotation(what string, wanted func(signing.Record) bool) signing.Record {
	w.Helper()
	var record signing.Record
	w.eventually(what, func(ctx context.Context) error {
		secret, _, err := w.keys(ctx)
		if err != nil {
			return err
		}
		record = signing.Record{}
		if err := json.Unmarshal([]byte(secret.Annotations[v1alpha1.AnnotationSigningKeyRotation]), &record); err != nil {
			return err
		}
		if !wanted(record) {
			return fmt.Errorf("record %+v", record)
		}
		return nil
	})
	return record
}

func (w *world) stopController() {
	w.Helper()
	w.must(w.Controller.Stop())
	w.Cleanup(w.startController)
}

func (w *world) startController() {
	if w.Controller.PID() == 0 {
		w.must(w.Controller.Start(context.Background()))
	}
}

// snapshots of a host's repository, by restic itself.
func (w *world) snapshots(a *stack.Agent) int {
	w.Helper()
	secret := &corev1.Secret{}
	w.must(w.Get(w.Context(), client.ObjectKey{Namespace: w.ns, Name: a.Host + "-repo"}, secret))
	command := exec.CommandContext(w.Context(), a.Restic, "--json", "-r", filepath.Join(w.Rest.Data, a.Host+"."+w.ns), "snapshots")
	command.Env = []string{"HOME=" + w.Dir, "RESTIC_PASSWORD=" + string(secret.Data["RESTIC_PASSWORD"]), "RESTIC_CACHE_DIR=" + filepath.Join(w.Dir, "cache")}
	out, err := command.Output()
	w.must(err)
	var found []any
	w.must(json.Unmarshal(out, &found))
	return len(found)
}
