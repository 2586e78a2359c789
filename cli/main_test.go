package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/cli"
	"github.com/restic-manager/restic-manager/cli/kube"
	"github.com/restic-manager/restic-manager/cli/terminal"
	"github.com/restic-manager/restic-manager/test/collector"
	"github.com/restic-manager/restic-manager/test/env"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

var install sync.Once

// world is a namespace of a real API server, with people who hold the roles view, edit and admin in it.
type world struct {
	*env.ControlPlane
	t         *testing.T
	namespace string
	admin     client.WithWatch
}

func newWorld(t *testing.T) *world {
	t.Helper()
	cp := env.Shared(t)
	c, err := kube.NewClient(cp.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	install.Do(func() {
		root, err := env.Root()
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"rbac/user_roles.yaml", "admission/restore.yaml", "admission/content.yaml"} {
			if _, err := cp.Kubectl(t.Context(), "apply", "--server-side", "-f", filepath.Join(root, "config", file)); err != nil {
				t.Fatal(err)
			}
		}
	})
	w := &world{ControlPlane: cp, t: t, namespace: cp.NewNamespace(t, "plugin"), admin: c}
	for _, role := range []string{"view", "edit", "admin"} {
		w.bind(role, role)
	}
	env.Eventually(t, time.Minute, "roles and admission policies are in force", w.inForce)
	return w
}

// inForce waits for the API server: it takes over a new role or policy some time after its creation.
func (w *world) inForce(ctx context.Context) error {
	as := func(role string) (client.Client, error) {
		config := w.RESTConfig()
		config.Impersonate.UserName, config.Impersonate.Groups = w.user(role), []string{"system:authenticated"}
		return kube.NewClient(config)
	}
	admin, err := as("admin")
	if err != nil {
		return err
	}
	edit, err := as("edit")
	if err != nil {
		return err
	}
	meta := metav1.ObjectMeta{Namespace: w.namespace, Name: "probe"}
	host := &v1alpha1.Host{ObjectMeta: meta, Spec: v1alpha1.HostSpec{Repository: v1alpha1.Repository{URL: "rest:https://backup.example.com/probe"}}}
	if err := admin.Create(ctx, host, client.DryRunAll); err != nil {
		return err
	}
	ref := v1alpha1.LocalReference{Name: "probe"}
	content := func() *v1alpha1.HostQuery {
		return &v1alpha1.HostQuery{ObjectMeta: meta, Spec: v1alpha1.HostQuerySpec{HostRef: ref, Kind: v1alpha1.QueryContent, PublicKey: make([]byte, 32), StreamSecretHash: strings.Repeat("0", 64)}}
	}
	if err := admin.Create(ctx, content(), client.DryRunAll); err != nil {
		return err
	}
	restore := &v1alpha1.HostJob{ObjectMeta: meta, Spec: v1alpha1.HostJobSpec{HostRef: ref, Kind: v1alpha1.HostJobRestore, Restore: &v1alpha1.RestoreJob{Snapshot: "deadbeef"}}}
	for what, object := range map[string]client.Object{"hostqueries/content": content(), "hostjobs/restore": restore} {
		if err := edit.Create(ctx, object, client.DryRunAll); err == nil || !strings.Contains(err.Error(), what) {
			return fmt.Errorf("%s by somebody who may not: %w", what, err)
		}
	}
	return nil
}

func (w *world) rbac() client.Client {
	c, err := client.New(w.RESTConfig(), client.Options{Scheme: clientgoscheme.Scheme})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) user(role string) string { return role + "@" + w.namespace }

func (w *world) bind(clusterRole, person string) {
	w.t.Helper()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Namespace: w.namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: clusterRole},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: w.user(person)}},
	}
	if err := w.rbac().Create(w.t.Context(), binding); err != nil {
		w.t.Fatal(err)
	}
}

// host creates a Host, with a status.
func (w *world) host(name string, change ...func(*v1alpha1.Host)) *v1alpha1.Host {
	w.t.Helper()
	h := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: v1alpha1.HostSpec{Repository: v1alpha1.Repository{URL: "rest:https://backup.example.com/" + name}}}
	h.Status.Conditions = []metav1.Condition{
		is(v1alpha1.ConditionReady, "True", "Published", "published"), is(v1alpha1.ConditionEnrolled, "True", "IdentityPinned", "pinned"),
		is(v1alpha1.ConditionConnected, "True", "SessionEstablished", "connected"), is(v1alpha1.ConditionBackupsCurrent, "True", "UpToDate", "no backup is overdue"),
	}
	for _, f := range change {
		f(h)
	}
	status := h.Status.DeepCopy()
	if err := w.admin.Create(w.t.Context(), h); err != nil {
		w.t.Fatal(err)
	}
	h.Status = *status
	if err := w.admin.Status().Update(w.t.Context(), h); err != nil {
		w.t.Fatal(err)
	}
	return h
}

func is(kind, status, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionStatus(status), Reason: reason, Message: message, LastTransitionTime: metav1.Now()}
}

// groups gives a host a set with source groups.
func (w *world) groups(host string, groups ...string) {
	w.t.Helper()
	set := &v1alpha1.ScheduleSet{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: host}}
	set.Spec.Host.Name, set.Spec.Host.UID = host, "uid"
	set.Spec.Host.Identity = v1alpha1.HostIdentity{SigningKey: strings.Repeat("A", 43) + "=", SealingKey: strings.Repeat("A", 43) + "="}
	set.Spec.Revision, set.Spec.Bundle, set.Spec.Serial = "r1", "{}", 1
	set.Spec.Signatures = []v1alpha1.Signature{{KeyID: "test", Value: "test"}}
	for _, g := range groups {
		set.Spec.Groups = append(set.Spec.Groups, v1alpha1.ScheduleSetGroup{Name: g, Generation: 1})
	}
	if err := w.admin.Create(w.t.Context(), set); err != nil {
		w.t.Fatal(err)
	}
}

// machine answers for hosts that are given its identity.
func (w *world) machine(answer collector.Answer) *collector.Collector {
	return collector.Start(w.t, w.admin, answer)
}

// said is what a command wrote, and its exit code.
type said struct {
	out, err string
	code     int
}

// run runs a command as a person who holds a role.
func (w *world) run(role string, args ...string) said {
	w.t.Helper()
	return w.runWith(w.t.Context(), nil, role, args...)
}

func (w *world) runWith(ctx context.Context, change func(*cli.App), role string, args ...string) said {
	w.t.Helper()
	var out, errOut bytes.Buffer
	ctx, interrupts := terminal.NewInterrupts(ctx)
	app := cli.New(genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut}, interrupts)
	if change != nil {
		change(app)
	}
	flags := []string{"--kubeconfig=" + w.AdminKubeconfig, "--cache-dir=" + filepath.Join(w.Dir, "kubectl-cache"), "--namespace=" + w.namespace}
	if role != "" {
		flags = append(flags, "--as="+w.user(role), "--as-group=system:authenticated")
	}
	first := 0
	if args[0] == "__complete" { // it takes what follows for the command line
		first = 1
	}
	code := cli.Execute(ctx, app, slices.Insert(slices.Clone(args), first, flags...))
	return said{out.String(), errOut.String(), code}
}

// expect checks an exit code, and parts of what was written.
func (s said) expect(t *testing.T, code int, parts ...string) {
	t.Helper()
	if s.code != code {
		t.Errorf("exit code is %d, expected %d", s.code, code)
	}
	for _, part := range parts {
		if !strings.Contains(s.out+s.err, part) {
			t.Errorf("nothing says %q", part)
		}
	}
	if t.Failed() {
		t.Logf("output:\n%s\nerrors:\n%s", s.out, s.err)
	}
}
