package gitops

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/controllers"
	"github.com/restic-manager/restic-manager/controllers/signing"
	"github.com/restic-manager/restic-manager/test/env"
)

const (
	operatorNamespace = "restic-manager-system"
	patience          = 30 * time.Second
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

func root(t *testing.T) string {
	t.Helper()
	dir, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var install sync.Once

// installed is the shared control plane with the operator's roles and admission policies.
func installed(t *testing.T) *env.ControlPlane {
	t.Helper()
	cp := env.Shared(t)
	install.Do(func() {
		for _, path := range [][]string{{"-f", "config/default/namespace.yaml"}, {"-k", "config/rbac"}, {"-k", "config/admission"}} {
			if _, err := cp.Kubectl(t.Context(), "apply", "--server-side", path[0], filepath.Join(root(t), path[1])); err != nil {
				t.Fatal(err)
			}
		}
	})
	return cp
}

func adminClient(t *testing.T, cp *env.ControlPlane) client.Client {
	t.Helper()
	c, err := client.New(cp.RESTConfig(), client.Options{Scheme: controllers.NewScheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// operator is a running manager with all reconcilers, under the account and the permissions of an installation. One at a time works on a control plane.
type operator struct {
	t     *testing.T
	cp    *env.ControlPlane
	admin client.Client
	clock *clocktesting.FakeClock
	stop  func()
}

func startOperator(t *testing.T) *operator {
	t.Helper()
	cp := installed(t)
	account, _, err := cp.ServiceAccountConfig(t.Context(), operatorNamespace, "restic-manager-controller")
	if err != nil {
		t.Fatal(err)
	}
	return startOperatorAs(t, cp, account)
}

// startOperatorAs limits it to some namespaces, if any are given.
func startOperatorAs(t *testing.T, cp *env.ControlPlane, account *rest.Config, watched ...string) *operator {
	t.Helper()
	account.QPS = -1 // nothing here is about being slow
	o := &operator{t: t, cp: cp, admin: adminClient(t, cp), clock: clocktesting.NewFakeClock(time.Now())}
	live, err := client.New(account, client.Options{Scheme: controllers.NewScheme()})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := signing.LoadOrCreate(t.Context(), live, operatorNamespace, nil)
	if err != nil {
		t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(account, ctrl.Options{
		Scheme: controllers.NewScheme(), Cache: controllers.CacheOptions(operatorNamespace, watched),
		Metrics: metricsserver.Options{BindAddress: "0"}, Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := controllers.Setup(mgr, controllers.Options{Namespace: operatorNamespace, GatewayURL: "https://gateway.example.com", Keys: keys, Clock: o.clock, WatchNamespaces: watched}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	o.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the manager ended: %v", err)
		}
		o.stop = func() {}
	}
	t.Cleanup(func() { o.stop() })
	return o
}

// space is one test's namespace, and what people, machines and gateways do in it.
type space struct {
	t         *testing.T
	cp        *env.ControlPlane
	admin     client.Client
	clock     *clocktesting.FakeClock
	namespace string
}

func (o *operator) space(t *testing.T) *space {
	t.Helper()
	return &space{t: t, cp: o.cp, admin: o.admin, clock: o.clock, namespace: o.cp.NewNamespace(t, "gitops")}
}

func (s *space) create(objects ...client.Object) {
	s.t.Helper()
	for _, o := range objects {
		o.SetNamespace(s.namespace)
		if err := s.admin.Create(s.t.Context(), o); err != nil {
			s.t.Fatalf("creating %s: %v", o.GetName(), err)
		}
	}
}

// change writes a spec or metadata, as a person does.
func change[T client.Object](s *space, name string, object T, edit func(T)) {
	s.t.Helper()
	base := fetch(s, name, object)
	edit(object)
	if err := s.admin.Patch(s.t.Context(), object, client.MergeFrom(base)); err != nil {
		s.t.Fatal(err)
	}
}

// report writes a status, as the gateway does. It waits until the controllers have made the object.
func report[T client.Object](s *space, name string, object T, edit func(T)) {
	s.t.Helper()
	var base T
	env.Eventually(s.t, patience, "there is a "+name+" to report on", func(ctx context.Context) error {
		err := s.admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, object)
		base, _ = object.DeepCopyObject().(T)
		return err
	})
	edit(object)
	if err := s.admin.Status().Patch(s.t.Context(), object, client.MergeFrom(base), client.FieldOwner(v1alpha1.ManagerGateway)); err != nil {
		s.t.Fatal(err)
	}
}

// fetch reads an object and returns a copy of it.
func fetch[T client.Object](s *space, name string, object T) T {
	s.t.Helper()
	if err := s.admin.Get(s.t.Context(), client.ObjectKey{Namespace: s.namespace, Name: name}, object); err != nil {
		s.t.Fatal(err)
	}
	base, ok := object.DeepCopyObject().(T)
	if !ok {
		s.t.Fatal("a copy of another type")
	}
	return base
}

// look makes the controllers look again at a Host and its jobs, as their own timers would, which do not follow the fake clock.
func (s *space) look(host string) {
	s.t.Helper()
	change(s, host, &v1alpha1.Host{}, func(h *v1alpha1.Host) {
		h.Labels["look"] = strconv.FormatInt(s.clock.Now().UnixNano(), 10)
	})
}

// object reads what a tool would see.
func (s *space) object(ctx context.Context, kind, name string) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	return u, s.admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, u)
}

func kindOf(t *testing.T, object client.Object) string {
	t.Helper()
	gvk, err := apiutil.GVKForObject(object, controllers.NewScheme())
	if err != nil {
		t.Fatal(err)
	}
	return gvk.Kind
}

// conditionsOf returns each condition as "Status Reason", and nothing of one that speaks of an earlier generation.
func conditionsOf(u *unstructured.Unstructured) told {
	conditions := told{}
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, item := range list {
		c, _ := item.(map[string]any)
		kind, _ := c["type"].(string)
		if c["observedGeneration"] == u.GetGeneration() {
			conditions[kind] = fmt.Sprint(c["status"], " ", c["reason"])
		}
	}
	return conditions
}

// until waits until the conditions of an object are these, and returns it. What must hold all the while is checked each time that it looks.
func (s *space) until(what string, object client.Object, want told, always ...func(*unstructured.Unstructured) error) *unstructured.Unstructured {
	s.t.Helper()
	var u *unstructured.Unstructured
	env.Eventually(s.t, patience, what, func(ctx context.Context) (err error) {
		if u, err = s.object(ctx, kindOf(s.t, object), object.GetName()); err != nil {
			return err
		}
		for _, check := range always {
			if err := check(u); err != nil {
				return env.Permanent(err)
			}
		}
		conditions := conditionsOf(u)
		for _, kind := range slices.Sorted(maps.Keys(want)) {
			if conditions[kind] != want[kind] {
				return fmt.Errorf("condition %s is %q, want %q", kind, conditions[kind], want[kind])
			}
		}
		return nil
	})
	return u
}

// What people write.

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Labels: map[string]string{"role": "web"}}
}

// newIdentity is that of a machine whose keys were made elsewhere.
func newIdentity(t *testing.T) wire.Identity {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	private, err := seal.NewSealingKey()
	if err != nil {
		t.Fatal(err)
	}
	sealing, err := seal.SealingPublicKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return wire.Identity{SigningKey: public, SealingKey: sealing}
}

func hostIdentity(i wire.Identity) *v1alpha1.HostIdentity {
	return &v1alpha1.HostIdentity{SigningKey: base64.StdEncoding.EncodeToString(i.SigningKey), SealingKey: base64.StdEncoding.EncodeToString(i.SealingKey)}
}

// newHost waits for a machine to enrol. Its password is made by the operator.
func newHost(name string, edits ...func(*v1alpha1.Host)) *v1alpha1.Host {
	host := &v1alpha1.Host{ObjectMeta: named(name)}
	host.Spec.Repository.URL = "rest:https://backup.example.com/" + name
	for _, edit := range edits {
		edit(host)
	}
	return host
}

// enrolled gives a Host its identity from the beginning.
func enrolled(t *testing.T) func(*v1alpha1.Host) {
	return func(h *v1alpha1.Host) { h.Spec.Identity = hostIdentity(newIdentity(t)) }
}

// withSecret names a Secret with the repository's password.
func withSecret(name string) func(*v1alpha1.Host) {
	return func(h *v1alpha1.Host) {
		h.Spec.Repository.CredentialsSecretRef = &v1alpha1.LocalReference{Name: name}
	}
}

func newSecret(name string, edits ...func(*corev1.Secret)) *corev1.Secret {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
		Data:       map[string][]byte{"RESTIC_PASSWORD": []byte("not-a-real-password")},
	}
	for _, edit := range edits {
		edit(secret)
	}
	return secret
}

func newGroup(name string, edits ...func(*v1alpha1.SourceGroupSpec)) *v1alpha1.SourceGroup {
	group := &v1alpha1.SourceGroup{ObjectMeta: named(name)}
	group.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}
	group.Spec.Includes = []string{"/etc"}
	for _, edit := range edits {
		edit(&group.Spec)
	}
	return group
}

func newSchedule(name string, edits ...func(*v1alpha1.ScheduleSpec)) *v1alpha1.Schedule {
	schedule := &v1alpha1.Schedule{ObjectMeta: named(name)}
	schedule.Spec.Cron, schedule.Spec.SourceGroups = "30 2 * * *", []string{"etc"}
	for _, edit := range edits {
		edit(&schedule.Spec)
	}
	return schedule
}

func newMaintenance(name string, edits ...func(*v1alpha1.RepoMaintenanceSpec)) *v1alpha1.RepoMaintenance {
	m := &v1alpha1.RepoMaintenance{ObjectMeta: named(name)}
	m.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}
	m.Spec.Check = &v1alpha1.CheckCadence{Cadence: v1alpha1.Cadence{Cron: "0 7 * * *"}}
	for _, edit := range edits {
		edit(&m.Spec)
	}
	return m
}

// forHost names one Host instead of selecting several.
func forHost(name string) func(*v1alpha1.RepoMaintenanceSpec) {
	return func(spec *v1alpha1.RepoMaintenanceSpec) {
		spec.Selector = v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: name}}
	}
}

func newJob(name string, edits ...func(*v1alpha1.HostJobSpec)) *v1alpha1.HostJob {
	job := &v1alpha1.HostJob{ObjectMeta: named(name)}
	job.Spec.HostRef, job.Spec.Kind = v1alpha1.LocalReference{Name: "web-1"}, v1alpha1.HostJobUnlock
	for _, edit := range edits {
		edit(&job.Spec)
	}
	return job
}

// What machines and gateways do.

// connect makes a machine take its set, and stay.
func (s *space) connect(host string) {
	s.t.Helper()
	report(s, host, &v1alpha1.ScheduleSet{}, func(set *v1alpha1.ScheduleSet) {
		set.Status.Connection = &v1alpha1.Connection{Gateway: "gateway", Session: 1, Process: "p", ConnectedTime: metav1.NewTime(s.clock.Now())}
		set.Status.AppliedRevision = set.Spec.Revision
	})
}

// disconnect ends the session.
func (s *space) disconnect(host string) {
	s.t.Helper()
	report(s, host, &v1alpha1.ScheduleSet{}, func(set *v1alpha1.ScheduleSet) {
		set.Status.Connection.DisconnectedTime = new(metav1.NewTime(s.clock.Now()))
	})
}

// repository tells what became of opening the repository.
func (s *space) repository(host, state, reason string) {
	s.t.Helper()
	report(s, host, &v1alpha1.Host{}, func(h *v1alpha1.Host) {
		h.Status.Repository = &v1alpha1.RepositoryStatus{State: state, Reason: reason, URL: h.Spec.Repository.URL, Time: metav1.NewTime(s.clock.Now())}
	})
}

// phase brings a job that has its command into another phase.
func (s *space) phase(job string, phase v1alpha1.HostJobPhase) {
	s.t.Helper()
	s.until("the job has its command", newJob(job), map[string]string{v1alpha1.ConditionReady: "True WaitingForHost"})
	now := metav1.NewTime(s.clock.Now())
	report(s, job, &v1alpha1.HostJob{}, func(j *v1alpha1.HostJob) {
		j.Status.Phase, j.Status.DispatchTime, j.Status.Session = phase, &now, 1
		if phase != v1alpha1.JobDispatched {
			j.Status.StartTime = &now
		}
		if phase.Finished() {
			j.Status.CompletionTime = &now
			j.Status.Result = &v1alpha1.JobResultStatus{Message: "as reported"}
		}
	})
}

// enrol does what a machine does with the token in its Secret, and returns the keys that were pinned.
func (s *space) enrol(host string) *v1alpha1.HostIdentity {
	s.t.Helper()
	var token *wire.Token
	h := &v1alpha1.Host{}
	env.Eventually(s.t, patience, "a token is minted", func(ctx context.Context) error {
		secret := &corev1.Secret{}
		if err := s.admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: v1alpha1.EnrollmentSecretName(host)}, secret); err != nil {
			return err
		}
		if err := s.admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: host}, h); err != nil {
			return err
		}
		var err error
		if token, err = wire.ParseToken(string(secret.Data["token"])); err != nil {
			return err
		}
		if h.Status.Enrollment == nil || h.Status.Enrollment.TokenIDHash != wire.TokenIDHash(token.ID) {
			return fmt.Errorf("its hash is not published: %+v", h.Status.Enrollment)
		}
		return nil
	})
	identity := newIdentity(s.t)
	keys := hostIdentity(identity)
	report(s, host, h, func(h *v1alpha1.Host) {
		h.Status.EnrollmentRequest = &v1alpha1.EnrollmentRequest{
			TokenIDHash: wire.TokenIDHash(token.ID), SigningKey: keys.SigningKey, SealingKey: keys.SealingKey, Hostname: host, ReceivedAt: metav1.NewTime(s.clock.Now()),
			Proof: base64.StdEncoding.EncodeToString(wire.EnrolProof(token.Secret, token.HostUID, token.ID, identity)),
		}
	})
	s.until("its keys are pinned", newHost(host), map[string]string{v1alpha1.ConditionEnrolled: "True IdentityPinned"})
	fetch(s, host, h)
	if h.Spec.Identity == nil || *h.Spec.Identity != *keys {
		s.t.Fatalf("the pinned identity is %+v", h.Spec.Identity)
	}
	return keys
}
