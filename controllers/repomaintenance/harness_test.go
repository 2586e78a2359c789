package repomaintenance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	testingclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
	"github.com/restic-manager/restic-manager/test/env"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

const (
	patience = 30 * time.Second
	account  = "system:serviceaccount:restic-manager-system:restic-manager-controller"
)

var installed sync.Once

// fixture is a namespace with a manager that runs both controllers, with the rights of an installation.
type fixture struct {
	t         *testing.T
	cp        *env.ControlPlane
	client    client.Client // the admin's; it reads the API server itself
	namespace string
	clock     *testingclock.FakePassiveClock
	began     env.AuditMark
	stop      func()
	poked     int
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	cp := env.Shared(t)
	installed.Do(func() {
		root, err := env.Root()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cp.Kubectl(t.Context(), "apply", "--server-side", "-k", filepath.Join(root, "config", "default")); err != nil {
			t.Fatal(err)
		}
	})
	// Objects are created by the API server's clock: those of a new hour would not be due at the hour that the fixture is waiting for.
	if left := time.Until(time.Now().Truncate(time.Hour).Add(time.Hour)); left < time.Minute {
		time.Sleep(left)
	}
	mark, err := cp.AuditMark()
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, cp: cp, namespace: cp.NewNamespace(t, "upkeep"), clock: testingclock.NewFakePassiveClock(time.Now()), began: mark, stop: func() {}}
	if f.client, err = client.New(cp.RESTConfig(), client.Options{Scheme: kinds(t)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.stop() })
	f.start()
	return f
}

func kinds(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return scheme
}

// start runs a fresh manager: everything that an earlier one held in memory is gone.
func (f *fixture) start() {
	f.t.Helper()
	account, _, err := f.cp.ServiceAccountConfig(f.t.Context(), "restic-manager-system", "restic-manager-controller")
	if err != nil {
		f.t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(account, ctrl.Options{
		Scheme: kinds(f.t), Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: new(true)},
		Cache: cache.Options{DefaultNamespaces: map[string]cache.Config{f.namespace: {}}},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	if err := selecting.AddIndexes(f.t.Context(), mgr.GetFieldIndexer()); err != nil {
		f.t.Fatal(err)
	}
	if err := (&Reconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Namespaces: mgr.GetClient(), Clock: f.clock, Collect: 10 * time.Millisecond}).SetupWithManager(mgr); err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	f.stop = func() {
		f.stop = func() {}
		cancel()
		if err := <-ended; err != nil {
			f.t.Errorf("the manager ended: %v", err)
		}
	}
}

// pass lets time pass, and has the controller look again, as its timer would.
func (f *fixture) pass(d time.Duration) {
	f.t.Helper()
	f.clock.SetTime(f.clock.Now().Add(d))
	f.poke()
}

// meanwhile has something happen, and time pass then, while no controller looks.
func (f *fixture) meanwhile(passes time.Duration, happens func()) {
	f.t.Helper()
	f.stop()
	happens()
	f.clock.SetTime(f.clock.Now().Add(passes))
	f.start()
}

// toTheHour goes to the next full hour.
func (f *fixture) toTheHour() {
	f.t.Helper()
	f.pass(f.toGo())
}

// toGo is how long it is to the next full hour.
func (f *fixture) toGo() time.Duration {
	now := f.clock.Now()
	return now.Truncate(time.Hour).Add(time.Hour).Sub(now)
}

func (f *fixture) poke() {
	f.t.Helper()
	hosts := &v1alpha1.HostList{}
	if err := f.client.List(f.t.Context(), hosts, client.InNamespace(f.namespace)); err != nil {
		f.t.Fatal(err)
	}
	f.poked++
	for i := range hosts.Items {
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{"poked":"%d"}}}`, f.poked)
		if err := f.client.Patch(f.t.Context(), &hosts.Items[i], client.RawPatch("application/merge-patch+json", patch)); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fixture) create(objects ...client.Object) {
	f.t.Helper()
	for _, o := range objects {
		o.SetNamespace(f.namespace)
		if err := f.client.Create(f.t.Context(), o); err != nil {
			f.t.Fatal(err)
		}
	}
}

// host creates a Host with a first backup, whose machine is connected.
func (f *fixture) host(name string, edits ...func(*v1alpha1.Host)) *v1alpha1.Host {
	f.t.Helper()
	h := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"role": "web"}}}
	h.Spec.Repository.URL = "rest:https://backup.example.com/" + name
	for _, edit := range edits {
		edit(h)
	}
	f.create(h)
	f.status(name, func(s *v1alpha1.HostStatus) { s.LastSuccessTime = new(metav1.Now()) })
	f.connect(name, true)
	return h
}

func withAdmin(h *v1alpha1.Host) {
	h.Spec.Repository.AdminCredentialsSecretRef = &v1alpha1.LocalReference{Name: "admin"}
}

func withURL(url string) func(*v1alpha1.Host) {
	return func(h *v1alpha1.Host) { h.Spec.Repository.URL = url }
}

func (f *fixture) status(name string, edit func(*v1alpha1.HostStatus)) {
	f.t.Helper()
	h := &v1alpha1.Host{}
	f.read(name, h)
	base := h.DeepCopy()
	edit(&h.Status)
	if err := f.client.Status().Patch(f.t.Context(), h, client.MergeFrom(base)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) connect(name string, yes bool) {
	f.t.Helper()
	c := metav1.Condition{Type: v1alpha1.ConditionConnected, Status: "True", Reason: v1alpha1.ReasonSessionEstablished, LastTransitionTime: metav1.NewTime(f.clock.Now())}
	if !yes {
		c.Status, c.Reason = "False", v1alpha1.ReasonDisconnected
	}
	f.status(name, func(s *v1alpha1.HostStatus) { meta.SetStatusCondition(&s.Conditions, c) })
}

// group has a retention and is for all hosts of role web.
func (f *fixture) group(name string) {
	f.t.Helper()
	g := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Name: name}}
	g.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}
	g.Spec.Includes = []string{"/etc"}
	g.Spec.Retention = &v1alpha1.Retention{KeepDaily: 7}
	f.create(g)
}

const hourly = "0 * * * *"

// maintenance is for all hosts of role web, with everything at each full hour.
func everything(name string, edits ...func(*v1alpha1.RepoMaintenanceSpec)) *v1alpha1.RepoMaintenance {
	m := &v1alpha1.RepoMaintenance{ObjectMeta: metav1.ObjectMeta{Name: name}}
	cadence := v1alpha1.Cadence{Cron: hourly}
	m.Spec = v1alpha1.RepoMaintenanceSpec{
		Selector: v1alpha1.Selector{HostSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}},
		Forget:   &cadence, Prune: &v1alpha1.PruneCadence{Cadence: cadence}, Check: &v1alpha1.CheckCadence{Cadence: cadence, ReadDataRotation: 3},
		Verify: &v1alpha1.VerifyCadence{Cadence: cadence, Sample: 5},
	}
	for _, edit := range edits {
		edit(&m.Spec)
	}
	return m
}

func onlyForget(spec *v1alpha1.RepoMaintenanceSpec) {
	spec.Prune, spec.Check, spec.Verify = nil, nil, nil
}

// edit writes what a change makes of an object.
func edit(f *fixture, object client.Object, change func()) {
	f.t.Helper()
	base, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		f.t.Fatal("not an object")
	}
	change()
	if err := f.client.Patch(f.t.Context(), object, client.MergeFrom(base)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) read(name string, object client.Object) {
	f.t.Helper()
	if err := f.client.Get(f.t.Context(), client.ObjectKey{Namespace: f.namespace, Name: name}, object); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) eventually(what string, cond func(ctx context.Context) error) {
	f.t.Helper()
	env.Eventually(f.t, patience, what, cond)
}

// jobs are those that have not been deleted, in the order in which they were made.
func (f *fixture) jobs(ctx context.Context) ([]v1alpha1.HostJob, error) {
	list := &v1alpha1.HostJobList{}
	if err := f.client.List(ctx, list, client.InNamespace(f.namespace)); err != nil {
		return nil, err
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.HostJob) int { return strings.Compare(a.Name, b.Name) })
	return list.Items, nil
}

// open waits until exactly one job has not ended: of this operation, on this host. Whoever made it has been told so by
// then: a stop that cut the answer off would have the create in the audit log as a failed one.
func (f *fixture) open(o maintenance.Operation, target string) *v1alpha1.HostJob {
	f.t.Helper()
	var found *v1alpha1.HostJob
	f.eventually(fmt.Sprintf("%s is the one job on the repository of %s", o, target), func(ctx context.Context) error {
		jobs, err := f.jobs(ctx)
		if err != nil {
			return err
		}
		open := slices.DeleteFunc(jobs, func(j v1alpha1.HostJob) bool { return j.Status.Phase.Finished() })
		if len(open) != 1 || open[0].Spec.Kind != o.Kind() || open[0].TargetName() != target {
			return fmt.Errorf("there are %s", described(open))
		}
		if !slices.Contains(f.creates(""), open[0].Name) {
			return fmt.Errorf("%s is there, and its create is not answered yet", open[0].Name)
		}
		found = &open[0]
		return nil
	})
	return found
}

func described(jobs []v1alpha1.HostJob) string {
	told := []string{strconv.Itoa(len(jobs)) + " jobs"}
	for _, j := range jobs {
		told = append(told, fmt.Sprintf("%s (%s)", j.Name, j.Status.Phase))
	}
	return strings.Join(told, ", ")
}

// finish ends a job as the gateway does.
func (f *fixture) finish(j *v1alpha1.HostJob, phase v1alpha1.HostJobPhase, result *v1alpha1.JobResultStatus) {
	f.t.Helper()
	base := j.DeepCopy()
	j.Status.Phase, j.Status.CompletionTime, j.Status.Result = phase, new(metav1.NewTime(f.clock.Now())), result
	if err := f.client.Status().Patch(f.t.Context(), j, client.MergeFrom(base), client.FieldOwner(v1alpha1.ManagerGateway)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) succeed(j *v1alpha1.HostJob) {
	f.t.Helper()
	f.finish(j, v1alpha1.JobSucceeded, &v1alpha1.JobResultStatus{Message: "done"})
}

// record waits until the record of an operation is as wanted.
func (f *fixture) record(host string, o maintenance.Operation, what string, ok func(*v1alpha1.OperationStatus) bool) *v1alpha1.OperationStatus {
	f.t.Helper()
	var record *v1alpha1.OperationStatus
	f.eventually(fmt.Sprintf("%s of %s: %s", o, host, what), func(ctx context.Context) error {
		h := &v1alpha1.Host{}
		if err := f.client.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: host}, h); err != nil {
			return err
		}
		if record = maintenance.Recorded(h, o); record == nil || !ok(record) {
			return fmt.Errorf("the record is %+v", record)
		}
		return nil
	})
	return record
}

// planned waits until an operation is planned by an hourly cadence.
func (f *fixture) planned(host string, o maintenance.Operation) {
	f.t.Helper()
	f.plannedFor(host, o, f.clock.Now().Truncate(time.Hour).Add(time.Hour))
}

// plannedFor waits for one plan: the default object may come first, and plans otherwise.
func (f *fixture) plannedFor(host string, o maintenance.Operation, next time.Time) {
	f.t.Helper()
	f.record(host, o, "it is planned for "+next.UTC().Format(time.RFC3339), func(s *v1alpha1.OperationStatus) bool {
		return s.NextScheduleTime != nil && s.NextScheduleTime.Time.Equal(next)
	})
}

func (f *fixture) gone(name string) {
	f.t.Helper()
	f.eventually("HostJob "+name+" is deleted", func(ctx context.Context) error {
		err := f.client.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: name}, &v1alpha1.HostJob{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there: %v", err)
	})
}

// created are the names of the HostJobs that the controllers created in this test, also those that are deleted.
func (f *fixture) created() []string {
	f.t.Helper()
	return f.creates(account)
}

// creates are the names of the HostJobs that a user created, or anybody.
func (f *fixture) creates(user string) []string {
	f.t.Helper()
	entries, _, err := f.cp.AuditSince(f.began)
	if err != nil {
		f.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsWrite() && e.Verb == "create" && e.Resource == "hostjobs" && e.Namespace == f.namespace && (user == "" || e.User == user) {
			names = append(names, e.Name)
		}
	}
	return names
}

func (f *fixture) wantCreated(n int) {
	f.t.Helper()
	if names := f.created(); len(names) != n {
		f.t.Errorf("%d jobs were created, expected %d: %v", len(names), n, names)
	}
}

func slotTime(t time.Time) *metav1.Time { return new(metav1.NewTime(t.Truncate(time.Hour))) }
