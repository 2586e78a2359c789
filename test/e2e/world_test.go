package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
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

// world is one test's namespace with its hosts.
type world struct {
	*testing.T
	*stack.Stack
	client.Client
	ns string
}

func newWorld(t *testing.T, name string) *world {
	s, c := theStack(t)
	return &world{T: t, Stack: s, Client: c, ns: s.CP.NewNamespace(t, name)}
}

// must fails the test on an error.
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

func (w *world) create(objects ...client.Object) {
	w.Helper()
	for _, o := range objects {
		o.SetNamespace(w.ns)
		w.must(w.Create(w.Context(), o))
	}
}

// change edits an object as it is now. A merge patch conflicts with nobody: the controllers and the gateway write
// to the same objects, and what a killed one had sent may be stored after its end.
func (w *world) change(object client.Object, edit func()) error {
	base, err := w.edited(object, edit)
	if err != nil {
		return err
	}
	return w.Patch(w.Context(), object, client.MergeFrom(base))
}

// changeStatus is change for what the controllers or the gateway would have written.
func (w *world) changeStatus(object client.Object, edit func()) {
	w.Helper()
	base, err := w.edited(object, edit)
	w.must(err)
	w.must(w.Status().Patch(w.Context(), object, client.MergeFrom(base)))
}

// edited reads an object, changes it here, and gives it as it was.
func (w *world) edited(object client.Object, edit func()) (base client.Object, err error) {
	if err := w.Get(w.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		return nil, err
	}
	base = object.DeepCopyObject().(client.Object)
	edit()
	return base, nil
}

// hostOption changes a Host before it is created.
type hostOption func(*v1alpha1.Host, *corev1.Secret)

// host creates a Host with a repository of its own at the rest-server, and its Secret.
func (w *world) host(name string, options ...hostOption) *v1alpha1.Host {
	w.Helper()
	host, secret, err := scenario.NewHost(w.Stack, w.ns, name)
	w.must(err)
	for _, o := range options {
		o(host, secret)
	}
	w.create(secret, host)
	return host
}

// agent enrols a machine for a host and starts its agent; both end with the test.
func (w *world) agent(host string, flags ...string) *stack.Agent {
	w.Helper()
	return w.startMachine(stack.Machine{Namespace: w.ns, Host: host, Flags: flags})
}

func (w *world) startMachine(m stack.Machine) *stack.Agent {
	w.Helper()
	a, err := w.Enroll(w.Context(), m)
	w.must(err)
	w.start(a)
	return a
}

func (w *world) start(a *stack.Agent) {
	w.Helper()
	w.must(a.Start(w.Context()))
	w.Cleanup(func() {
		if err := a.Stop(); err != nil {
			w.Error(err)
		}
	})
}

// files makes a folder with a few files on a machine.
func (w *world) files(host string, names ...string) string {
	w.Helper()
	dir := filepath.Join(w.Dir, "machines", w.ns, host, "data")
	w.must(os.MkdirAll(dir, 0o755))
	for _, name := range names {
		w.must(os.WriteFile(filepath.Join(dir, name), []byte("content of "+name), 0o644))
	}
	return dir
}

func (w *world) group(name, host string, includes ...string) *v1alpha1.SourceGroup {
	w.Helper()
	g := &v1alpha1.SourceGroup{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.SourceGroupSpec{Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: host}}, Includes: includes},
	}
	w.create(g)
	return g
}

func (w *world) schedule(name, cron string, groups ...string) *v1alpha1.Schedule {
	w.Helper()
	s := &v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ScheduleSpec{Cron: cron, SourceGroups: groups}}
	w.create(s)
	return s
}

// backup creates a HostJob of kind Backup.
func (w *world) backup(name, host, group string) *v1alpha1.HostJob {
	w.Helper()
	j := &v1alpha1.HostJob{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.HostJobSpec{
			HostRef: v1alpha1.LocalReference{Name: host}, Kind: v1alpha1.HostJobBackup, Backup: &v1alpha1.BackupJob{SourceGroup: group},
		},
	}
	w.create(j)
	return j
}

// get reads an object of the test's namespace anew.
func get[T client.Object](ctx context.Context, w *world, name string, into T) (T, error) {
	return into, w.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: name}, into)
}

// phase waits until a HostJob is in one of the phases, and fails at once when it ends in another.
func (w *world) phase(name string, want ...v1alpha1.HostJobPhase) *v1alpha1.HostJob {
	w.Helper()
	var job *v1alpha1.HostJob
	w.eventually(fmt.Sprintf("HostJob %s in phase %v", name, want), func(ctx context.Context) (err error) {
		if job, err = get(ctx, w, name, &v1alpha1.HostJob{}); err != nil {
			return err
		}
		for _, p := range want {
			if job.Status.Phase == p {
				return nil
			}
		}
		err = fmt.Errorf("phase is %q, result %+v, conditions %+v", job.Status.Phase, job.Status.Result, job.Status.Conditions)
		if job.Status.Phase.Finished() {
			return env.Permanent(err)
		}
		return err
	})
	return job
}

// condition waits until a condition of an object has a status, and a reason and message that contain what is given.
func (w *world) condition(object client.Object, conditions func() []metav1.Condition, typ string, status metav1.ConditionStatus, contains ...string) {
	w.Helper()
	w.eventually(fmt.Sprintf("%T %s: %s=%s %q", object, object.GetName(), typ, status, contains), func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		c := meta.FindStatusCondition(conditions(), typ)
		if c == nil || c.Status != status {
			return fmt.Errorf("conditions are %+v", conditions())
		}
		for _, want := range contains {
			if !strings.Contains(c.Reason+": "+c.Message, want) {
				return fmt.Errorf("%s: %s, without %q", c.Reason, c.Message, want)
			}
		}
		return nil
	})
}

func (w *world) hostCondition(name, typ string, status metav1.ConditionStatus, contains ...string) *v1alpha1.Host {
	w.Helper()
	host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}}
	w.condition(host, func() []metav1.Condition { return host.Status.Conditions }, typ, status, contains...)
	return host
}

// settled waits until a host is connected, runs its newest set and has opened its repository.
func (w *world) settled(name string) *v1alpha1.Host {
	w.Helper()
	w.hostCondition(name, v1alpha1.ConditionConnected, metav1.ConditionTrue)
	w.hostCondition(name, v1alpha1.ConditionScheduleSetApplied, metav1.ConditionTrue)
	return w.hostCondition(name, v1alpha1.ConditionRepositoryReady, metav1.ConditionTrue)
}

// result waits for a result of a group that satisfies ok.
func (w *world) result(host, group, what string, ok func(v1alpha1.SourceGroupResult) bool) v1alpha1.SourceGroupResult {
	w.Helper()
	var found v1alpha1.SourceGroupResult
	w.eventually(fmt.Sprintf("result of %s on %s: %s", group, host, what), func(ctx context.Context) error {
		h, err := get(ctx, w, host, &v1alpha1.Host{})
		if err != nil {
			return err
		}
		for _, g := range h.Status.SourceGroups {
			if g.Name == group && ok(g) {
				found = g
				return nil
			}
		}
		return fmt.Errorf("results are %+v", h.Status.SourceGroups)
	})
	return found
}

// events lists the Events of the namespace with a reason.
func (w *world) events(ctx context.Context, reason string) ([]eventsv1.Event, error) {
	var all eventsv1.EventList
	if err := w.List(ctx, &all, client.InNamespace(w.ns)); err != nil {
		return nil, err
	}
	var found []eventsv1.Event
	for _, e := range all.Items {
		if e.Reason == reason {
			found = append(found, e)
		}
	}
	return found, nil
}

// event waits for an Event with a reason and a note that contains what is given.
func (w *world) event(reason string, contains ...string) {
	w.Helper()
	w.eventually(fmt.Sprintf("Event %s %q", reason, contains), func(ctx context.Context) error {
		found, err := w.events(ctx, reason)
		if err != nil {
			return err
		}
		for _, e := range found {
			missing := false
			for _, want := range contains {
				missing = missing || !strings.Contains(e.Note, want)
			}
			if !missing {
				return nil
			}
		}
		return fmt.Errorf("found %+v", found)
	})
}

// scheduleSet reads a host's set.
func (w *world) scheduleSet(ctx context.Context, host string) *v1alpha1.ScheduleSet {
	w.Helper()
	set, err := get(ctx, w, host, &v1alpha1.ScheduleSet{})
	w.must(err)
	return set
}

func keyOf(namespace, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: namespace, Name: name}
}

func itoa(n int) string { return strconv.Itoa(n) }

// corev1Secret keeps host options short.
type corev1Secret = corev1.Secret

// replaceOnce replaces old, which must be there.
func replaceOnce(t *testing.T, s, old, new string) string {
	t.Helper()
	if !strings.Contains(s, old) {
		t.Fatalf("%q does not contain %q", s, old)
	}
	return strings.Replace(s, old, new, 1)
}

func (w *world) mustHost(name string) *v1alpha1.Host {
	w.Helper()
	host, err := get(w.Context(), w, name, &v1alpha1.Host{})
	w.must(err)
	return host
}

// repositoryPassword is what opens a host's repository.
func (w *world) repositoryPassword(host string) string {
	w.Helper()
	secret, err := get(w.Context(), w, host+"-repo", &corev1.Secret{})
	w.must(err)
	return string(secret.Data["RESTIC_PASSWORD"])
}

// stopController kills the controllers until startController or the end of the test.
func (w *world) stopController() {
	w.Helper()
	w.must(w.Controller.Kill())
	w.Cleanup(w.startController)
}

func (w *world) startController() {
	w.Helper()
	if w.Controller.PID() == 0 {
		w.must(w.Controller.Start(context.Background()))
	}
}
