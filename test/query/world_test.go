package query

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/scenario"
	"github.com/restic-manager/restic-manager/test/stack"
)

// patience is how long a test waits for what should take a second or two: generous, since machines are busy.
const patience = 60 * time.Second

// world is one test's namespace with its machines and users.
type world struct {
	testing.TB
	*stack.Stack
	client.Client
	ns string
}

func newWorld(t testing.TB, name string) *world {
	s, c := shared.Get(t)
	s.Spread()
	return &world{TB: t, Stack: s, Client: c, ns: s.CP.NewNamespace(t, name)}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) eventually(what string, cond func(ctx context.Context) error) {
	w.Helper()
	env.Eventually(w, patience, what, cond)
}

func (w *world) create(objects ...client.Object) {
	w.Helper()
	for _, o := range objects {
		o.SetNamespace(w.ns)
		w.must(w.Create(w.Context(), o))
	}
}

// machine makes a Host with a repository and a group that backs up a folder, and starts its agent. It returns when the repository is there.
func (w *world) machine(name string, flags ...string) (agent *stack.Agent, source string) {
	w.Helper()
	host, secret, err := scenario.NewHost(w.Stack, w.ns, name)
	w.must(err)
	w.create(secret)
	return w.enrol(host, flags...)
}

// successor makes a Host with the repository of another one.
func (w *world) successor(name, of string, flags ...string) (agent *stack.Agent, source string) {
	w.Helper()
	host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: name}}
	host.Spec.Repository = w.get(of).Spec.Repository
	return w.enrol(host, flags...)
}

func (w *world) get(host string) *v1alpha1.Host {
	w.Helper()
	got := &v1alpha1.Host{}
	w.must(w.Get(w.Context(), client.ObjectKey{Namespace: w.ns, Name: host}, got))
	return got
}

func (w *world) enrol(host *v1alpha1.Host, flags ...string) (agent *stack.Agent, source string) {
	w.Helper()
	source = filepath.Join(w.Dir, "machines", w.ns, host.Name, "data")
	w.must(os.MkdirAll(source, 0o755))
	group := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Name: host.Name + "-data"}}
	group.Spec = v1alpha1.SourceGroupSpec{Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: host.Name}}, Includes: []string{source}}
	w.create(host, group)
	agent, err := w.Enroll(w.Context(), stack.Machine{Namespace: w.ns, Host: host.Name, Flags: flags})
	w.must(err)
	w.must(agent.Start(w.Context()))
	w.Cleanup(func() { w.must(agent.Stop()) })
	w.eventually("the repository of "+host.Name+" is ready", func(context.Context) error {
		if got := w.get(host.Name); !meta.IsStatusConditionTrue(got.Status.Conditions, v1alpha1.ConditionRepositoryReady) {
			return fmt.Errorf("conditions are %+v", got.Status.Conditions)
		}
		return nil
	})
	return agent, source
}

// write makes or changes a file on a machine.
func (w *world) write(path string, content []byte) {
	w.Helper()
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, content, 0o644))
}

// user is somebody with one of Kubernetes' own roles in the namespace, by kubeconfig.
func (w *world) user(role string) string {
	w.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: role}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.ns, Name: role}},
	}
	w.create(account, binding)
	_, kubeconfig, err := w.CP.ServiceAccountConfig(w.Context(), w.ns, role)
	w.must(err)
	w.eventually(role+" may list Hosts", func(ctx context.Context) error {
		_, err := w.CP.KubectlAs(ctx, kubeconfig, "-n", w.ns, "get", "hosts")
		return err
	})
	return kubeconfig
}

// said is what a command of the plugin printed, and its exit code.
type said struct {
	out, err string
	code     int
}

func (s said) String() string { return fmt.Sprintf("exit code %d\n%s%s", s.code, s.out, s.err) }

func (w *world) command(ctx context.Context, kubeconfig string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(w.BinDir, "kubectl-restic"), append([]string{"-n", w.ns}, args...)...)
	cmd.Env = []string{"KUBECONFIG=" + kubeconfig, "HOME=" + w.Dir, "PATH=/usr/bin:/bin"}
	return cmd
}

// restic runs a command of the plugin to its end.
func (w *world) restic(kubeconfig string, args ...string) said {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 3*patience)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := w.command(ctx, kubeconfig, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.Fatalf("kubectl restic %q: %v", args, err)
	}
	return said{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// succeed runs a command that must succeed, and returns what it printed on stdout.
func (w *world) succeed(kubeconfig string, args ...string) string {
	w.Helper()
	s := w.restic(kubeconfig, args...)
	if s.code != 0 {
		w.Fatalf("kubectl restic %q: %s", args, s)
	}
	return s.out
}
