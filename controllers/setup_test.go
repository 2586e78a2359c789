package controllers_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
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
	account           = "system:serviceaccount:" + operatorNamespace + ":restic-manager-controller"
	patience          = time.Minute
)

// operator is a running manager with all reconcilers, under the account and the permissions of an installation.
type operator struct {
	t         *testing.T
	cp        *env.ControlPlane
	admin     client.Client
	clock     *clocktesting.FakeClock
	namespace string
	watched   []string // none: all namespaces
	// gatewayTLSSecret has a certificate made for the gateway; empty for none.
	gatewayTLSSecret string
	stop             func()
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	cp := env.Shared(t)
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range [][]string{{"-f", filepath.Join(root, "config/default/namespace.yaml")}, {"-k", filepath.Join(root, "config/rbac")}, {"-k", filepath.Join(root, "config/admission")}} {
		if _, err := cp.Kubectl(t.Context(), append([]string{"apply", "--server-side"}, path...)...); err != nil {
			t.Fatal(err)
		}
	}
	o := &operator{t: t, cp: cp, clock: clocktesting.NewFakeClock(time.Now()), namespace: cp.NewNamespace(t, "operator")}
	if o.admin, err = client.New(cp.RESTConfig(), client.Options{Scheme: controllers.NewScheme()}); err != nil {
		t.Fatal(err)
	}
	o.start()
	t.Cleanup(func() { o.stop() })
	return o
}

func (o *operator) start() {
	o.t.Helper()
	account, _, err := o.cp.ServiceAccountConfig(o.t.Context(), operatorNamespace, "restic-manager-controller")
	if err != nil {
		o.t.Fatal(err)
	}
	live, err := client.New(account, client.Options{Scheme: controllers.NewScheme()})
	if err != nil {
		o.t.Fatal(err)
	}
	keys, err := signing.LoadOrCreate(o.t.Context(), live, operatorNamespace, o.watched)
	if err != nil {
		o.t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(account, ctrl.Options{
		Scheme: controllers.NewScheme(), Cache: controllers.CacheOptions(operatorNamespace, o.watched),
		Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: ptr.To(true)},
	})
	if err != nil {
		o.t.Fatal(err)
	}
	if err := controllers.Setup(mgr, controllers.Options{Namespace: operatorNamespace, GatewayURL: "https://gateway.example.com", Keys: keys, Clock: o.clock, WatchNamespaces: o.watched,
		GatewayTLSSecret: o.gatewayTLSSecret, GatewayTLSNames: []string{"gateway.example.com"}}); err != nil {
		o.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	o.stop = func() {
		cancel()
		if err := <-done; err != nil {
			o.t.Errorf("the manager ended: %v", err)
		}
		o.stop = func() {}
	}
}

func (o *operator) create(objects ...client.Object) {
	o.t.Helper()
	for _, object := range objects {
		if object.GetNamespace() == "" {
			object.SetNamespace(o.namespace)
		}
		if err := o.admin.Create(o.t.Context(), object); err != nil {
			o.t.Fatalf("creating %s: %v", object.GetName(), err)
		}
	}
}

func change[T client.Object](o *operator, name string, object T, edit func(T)) {
	o.t.Helper()
	base := fetched(o, name, object)
	edit(object)
	if err := o.admin.Patch(o.t.Context(), object, client.MergeFrom(base)); err != nil {
		o.t.Fatal(err)
	}
}

func changeStatus[T client.Object](o *operator, name string, object T, edit func(T)) {
	o.t.Helper()
	base := fetched(o, name, object)
	edit(object)
	if err := o.admin.Status().Patch(o.t.Context(), object, client.MergeFrom(base)); err != nil {
		o.t.Fatal(err)
	}
}

func fetched[T client.Object](o *operator, name string, object T) T {
	o.t.Helper()
	if err := o.admin.Get(o.t.Context(), types.NamespacedName{Namespace: o.namespace, Name: name}, object); err != nil {
		o.t.Fatal(err)
	}
	base, ok := object.DeepCopyObject().(T)
	if !ok {
		o.t.Fatal("a copy of another type")
	}
	return base
}

// wantSet waits until a Host's set lists these groups and schedules.
func (o *operator) wantSet(what, name string, groups, schedules []string) *v1alpha1.ScheduleSet {
	o.t.Helper()
	set := &v1alpha1.ScheduleSet{}
	env.Eventually(o.t, patience, what, func(ctx context.Context) error {
		set = &v1alpha1.ScheduleSet{}
		if err := o.admin.Get(ctx, types.NamespacedName{Namespace: o.namespace, Name: name}, set); err != nil {
			return err
		}
		gotGroups, gotSchedules := []string{}, []string{}
		for _, g := range set.Spec.Groups {
			gotGroups = append(gotGroups, g.Name)
		}
		for _, s := range set.Spec.Schedules {
			gotSchedules = append(gotSchedules, s.Name)
		}
		if fmt.Sprint(gotGroups, gotSchedules) != fmt.Sprint(groups, schedules) {
			return fmt.Errorf("groups %v and schedules %v, want %v and %v", gotGroups, gotSchedules, groups, schedules)
		}
		return nil
	})
	return set
}

func (o *operator) wantCondition(what, name, kind, want string) {
	o.t.Helper()
	env.Eventually(o.t, patience, what, func(ctx context.Context) error {
		host := &v1alpha1.Host{}
		if err := o.admin.Get(ctx, types.NamespacedName{Namespace: o.namespace, Name: name}, host); err != nil {
			return err
		}
		c := meta.FindStatusCondition(host.Status.Conditions, kind)
		if c == nil || string(c.Status)+" "+c.Reason != want {
			return fmt.Errorf("condition %s is %+v, want %s", kind, c, want)
		}
		return nil
	})
}

func TestAQueryIsSignedByTheKeyOfTheInstallation(t *testing.T) {
	o := newOperator(t)
	key, err := seal.NewSealingKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := seal.SealingPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	query := &v1alpha1.HostQuery{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Spec: v1alpha1.HostQuerySpec{HostRef: v1alpha1.LocalReference{Name: "web-1"},
		Kind: v1alpha1.QueryLog, PublicKey: public, StreamSecretHash: wire.StreamSecretHash(make([]byte, wire.StreamSecretSize))}}
	o.create(query, credentialsSecret(), enrolledHost(t, "web-1")) // the query comes first, and is looked at again
	env.Eventually(t, patience, "the query is signed", func(ctx context.Context) error {
		if err := o.admin.Get(ctx, client.ObjectKeyFromObject(query), query); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(query.Status.Conditions, v1alpha1.ConditionReady) {
			return fmt.Errorf("status %+v", query.Status)
		}
		return nil
	})
	if s := query.Status; s.Command == nil || s.Gateway == nil || s.Gateway.URL != "https://gateway.example.com" {
		t.Errorf("status %+v", s)
	}
	if err := o.admin.Delete(t.Context(), fetched(o, "web-1", &v1alpha1.Host{})); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, patience, "what was signed is withdrawn with the Host", func(ctx context.Context) error {
		if err := o.admin.Get(ctx, client.ObjectKeyFromObject(query), query); err != nil {
			return err
		}
		if query.Status.Command != nil {
			return fmt.Errorf("status %+v", query.Status)
		}
		return nil
	})
}

// enrolledHost has its identity in Git.
func enrolledHost(t *testing.T, name string) *v1alpha1.Host {
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
	host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"role": "web"}}}
	host.Spec.Repository = v1alpha1.Repository{URL: "rest:https://backup.example.com/" + name, CredentialsSecretRef: &v1alpha1.LocalReference{Name: "repo"}}
	host.Spec.Identity = &v1alpha1.HostIdentity{SigningKey: base64.StdEncoding.EncodeToString(public), SealingKey: base64.StdEncoding.EncodeToString(sealing)}
	return host
}

func credentialsSecret() *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "repo", Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
		Data:       map[string][]byte{"RESTIC_PASSWORD": []byte("p")},
	}
}

func group(name, role string) *v1alpha1.SourceGroup {
	g := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Name: name}}
	g.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"role": role}}
	g.Spec.Includes = []string{"/etc"}
	return g
}

func schedule(name string, groups ...string) *v1alpha1.Schedule {
	s := &v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.Spec.Cron, s.Spec.SourceGroups = "30 2 * * *", groups
	return s
}

func list(names ...string) []string { return names }

func TestASetFollowsWhatItIsMadeOf(t *testing.T) {
	o := newOperator(t)
	o.create(credentialsSecret(), enrolledHost(t, "web-1"), enrolledHost(t, "web-2"), group("etc", "web"), schedule("nightly", "etc"))
	first := o.wantSet("the Host's set is published", "web-1", list("etc"), list("nightly"))
	other := o.wantSet("and the other Host's", "web-2", list("etc"), list("nightly"))

	change(o, "web-1", &v1alpha1.Host{}, func(h *v1alpha1.Host) { h.Labels["role"] = "db" })
	o.wantSet("a relabelled Host leaves the group", "web-1", nil, nil)
	o.create(group("dump", "db"))
	o.wantSet("a new group takes it", "web-1", list("dump"), nil)
	change(o, "nightly", &v1alpha1.Schedule{}, func(s *v1alpha1.Schedule) { s.Spec.SourceGroups = list("etc", "dump") })
	o.wantSet("a Schedule that names the group reaches it", "web-1", list("dump"), list("nightly"))
	change(o, "dump", &v1alpha1.SourceGroup{}, func(g *v1alpha1.SourceGroup) { g.Spec.HostSelector.MatchLabels["role"] = "nas" })
	o.wantSet("a group that selects others lets it go", "web-1", nil, nil)
	if err := o.admin.Delete(t.Context(), &v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "nightly"}}); err != nil {
		t.Fatal(err)
	}
	o.wantSet("a deleted Schedule is gone from the set", "web-2", list("etc"), nil)

	before := o.wantSet("the set stands", "web-2", list("etc"), nil)
	change(o, "repo", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["RESTIC_PASSWORD"] = []byte("q") })
	env.Eventually(t, patience, "a changed password is sealed anew", func(ctx context.Context) error {
		now := &v1alpha1.ScheduleSet{}
		if err := o.admin.Get(ctx, client.ObjectKeyFromObject(before), now); err != nil {
			return err
		}
		if now.Spec.Revision == before.Spec.Revision {
			return fmt.Errorf("still revision %s", now.Spec.Revision)
		}
		return nil
	})
	change(o, "repo", &corev1.Secret{}, func(s *corev1.Secret) { s.Labels = nil })
	o.wantCondition("a Secret that lost its label is told", "web-2", v1alpha1.ConditionReady, "False CredentialsNotLabeled")
	change(o, "repo", &corev1.Secret{}, func(s *corev1.Secret) { s.Labels = map[string]string{v1alpha1.LabelCredentials: "true"} })
	o.wantCondition("and read again with it", "web-2", v1alpha1.ConditionReady, "True Published")

	if err := o.admin.Delete(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if again := o.wantSet("a deleted set comes back", "web-2", list("etc"), nil); again.UID == other.UID {
		t.Error("it was not deleted")
	}
	if first.Spec.Host.Name != "web-1" {
		t.Errorf("the first set is for %s", first.Spec.Host.Name)
	}
}

func TestAHostThatIsDeletedLeavesATombstoneAlsoWhileTheControllersAreAway(t *testing.T) {
	o := newOperator(t)
	o.create(credentialsSecret(), enrolledHost(t, "web-1"), enrolledHost(t, "web-2"))
	remove := func(name string) {
		t.Helper()
		o.wantSet("the set is published", name, nil, nil)
		changeStatus(o, name, &v1alpha1.ScheduleSet{}, func(s *v1alpha1.ScheduleSet) {
			s.Status.Connection = &v1alpha1.Connection{Gateway: "g", Session: 1, Process: "p", ConnectedTime: metav1.Now()}
		})
		if err := o.admin.Delete(t.Context(), &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	told := func(what, name string) {
		t.Helper()
		set := &v1alpha1.ScheduleSet{}
		key := types.NamespacedName{Namespace: o.namespace, Name: name}
		env.Eventually(t, patience, what, func(ctx context.Context) error {
			if err := o.admin.Get(ctx, key, set); err != nil {
				return env.Permanent(err)
			}
			if !set.Spec.Tombstone {
				return fmt.Errorf("it is %+v", set.Spec)
			}
			return nil
		})
		changeStatus(o, name, set, func(s *v1alpha1.ScheduleSet) { s.Status.AppliedRevision = s.Spec.Revision })
		env.Eventually(t, patience, "the tombstone that the machine has is deleted", func(ctx context.Context) error {
			if err := o.admin.Get(ctx, key, set); !apierrors.IsNotFound(err) {
				return fmt.Errorf("still there: %w", err)
			}
			return nil
		})
	}
	remove("web-1")
	told("the set of a deleted Host becomes a tombstone", "web-1")
	o.stop()
	remove("web-2")
	o.watched = []string{o.namespace} // the same when the controllers are held to some namespaces
	o.start()
	told("the set of a Host that was deleted meanwhile becomes one", "web-2")
}

// A reconciliation that finds nothing to do must write nothing; a restart reconciles everything.
func TestARestartWritesNothing(t *testing.T) {
	o := newOperator(t)
	o.create(credentialsSecret(), enrolledHost(t, "web-1"), group("etc", "web"), schedule("nightly", "etc"))
	o.wantSet("the set is published", "web-1", list("etc"), list("nightly"))
	o.wantCondition("the Host is ready", "web-1", v1alpha1.ConditionReady, "True Published")
	// A write that the stop below cuts off, or that comes after the mark, would count as one of the new process.
	written, since := 0, time.Now()
	env.Eventually(t, patience, "all status is written, and nothing more for three seconds", func(ctx context.Context) error {
		host := &v1alpha1.Host{}
		if err := o.admin.Get(ctx, types.NamespacedName{Namespace: o.namespace, Name: "web-1"}, host); err != nil {
			return err
		}
		writes, err := o.writes(0)
		if err != nil {
			return err
		}
		if len(writes) != written {
			written, since = len(writes), time.Now()
		}
		if len(host.Status.Schedules) != 1 || time.Since(since) < 3*time.Second {
			return fmt.Errorf("%d writes so far, schedules %v", written, host.Status.Schedules)
		}
		return nil
	})
	o.stop()
	mark, err := o.cp.AuditMark()
	if err != nil {
		t.Fatal(err)
	}
	o.start()
	// The new process works through its queue: a change that comes behind shows that it has begun.
	o.create(enrolledHost(t, "web-2"))
	o.wantCondition("the restarted operator works", "web-2", v1alpha1.ConditionReady, "True Published")
	writes, err := o.writes(mark)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range writes {
		if w.Name == "web-1" {
			t.Errorf("an unchanged Host cost a write after a restart: %s", w)
		}
	}
}

// writes are those of the operator's account in the test's namespace.
func (o *operator) writes(since env.AuditMark) ([]env.AuditEntry, error) {
	entries, _, err := o.cp.AuditSince(since)
	var writes []env.AuditEntry
	for _, e := range entries {
		if e.IsWrite() && e.User == account && e.Namespace == o.namespace {
			writes = append(writes, e)
		}
	}
	return writes, err
}

func gatewayLease(t *testing.T, id string) *coordinationv1.Lease {
	t.Helper()
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: v1alpha1.GatewayLeasePrefix + id,
			Labels: map[string]string{v1alpha1.GatewayLeaseLabel: v1alpha1.GatewayLeaseComponent}},
		Spec: coordinationv1.LeaseSpec{LeaseDurationSeconds: ptr.To[int32](15), RenewTime: &metav1.MicroTime{Time: time.Now()}},
	}
}

func TestAGatewayThatDiesTakesItsHostsAfter90Seconds(t *testing.T) {
	o := newOperator(t)
	id := o.namespace // unique
	lease := gatewayLease(t, id)
	o.create(lease, credentialsSecret(), enrolledHost(t, "web-1"), enrolledHost(t, "web-2"))
	t.Cleanup(func() { _ = o.admin.Delete(context.Background(), lease) })
	for name, gateway := range map[string]string{"web-1": id, "web-2": "another"} {
		o.wantSet("the set is published", name, nil, nil)
		changeStatus(o, name, &v1alpha1.ScheduleSet{}, func(s *v1alpha1.ScheduleSet) {
			s.Status.Connection = &v1alpha1.Connection{Gateway: gateway, Session: 1, Process: "p", ConnectedTime: metav1.Now()}
			s.Status.AppliedRevision = s.Spec.Revision
		})
		o.wantCondition("the session counts", name, v1alpha1.ConditionConnected, "True SessionEstablished")
	}
	lease.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
	if err := o.admin.Update(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	// The agent of web-2 comes to this gateway and goes for good; that of web-1 stays until its gateway dies.
	changeStatus(o, "web-2", &v1alpha1.ScheduleSet{}, func(s *v1alpha1.ScheduleSet) {
		s.Status.Connection.Gateway, s.Status.Connection.DisconnectedTime = id, &metav1.Time{Time: time.Now()}
	})
	o.wantCondition("an ended session is told", "web-2", v1alpha1.ConditionConnected, "False Disconnected")

	mark, err := o.cp.AuditMark()
	if err != nil {
		t.Fatal(err)
	}
	// The renewal above may be noticed only after some of these steps; together they are less than the 90 seconds.
	steps := 45
	env.Eventually(t, patience, "the silent Lease is looked at before its gateway is called lost", func(context.Context) error {
		if steps--; steps >= 0 {
			o.clock.Step(time.Second)
		}
		entries, _, err := o.cp.AuditSince(mark)
		for _, e := range entries {
			if e.User == account && e.Verb == "get" && e.Name == lease.Name {
				return nil
			}
		}
		return fmt.Errorf("no GET of %s: %v", lease.Name, err)
	})
	o.wantCondition("for 90 seconds nothing is said", "web-1", v1alpha1.ConditionConnected, "True SessionEstablished")
	env.Eventually(t, patience, "after 90 seconds the gateway is lost", func(ctx context.Context) error {
		// The replica is called lost some moments after the look, so the 90 seconds may begin after a step.
		o.clock.Step(90 * time.Second)
		// What the reconciler's own timer does, which is not of the fake clock.
		change(o, "web-1", &v1alpha1.Host{}, func(h *v1alpha1.Host) { h.Labels["look"] = strconv.FormatInt(o.clock.Now().Unix(), 10) })
		host := &v1alpha1.Host{}
		if err := o.admin.Get(ctx, types.NamespacedName{Namespace: o.namespace, Name: "web-1"}, host); err != nil {
			return err
		}
		c := meta.FindStatusCondition(host.Status.Conditions, v1alpha1.ConditionConnected)
		if c == nil || c.Reason != v1alpha1.ReasonGatewayLost {
			return fmt.Errorf("condition %+v", c)
		}
		return nil
	})

	t.Log("a restart does not make it connected for a while")
	o.stop()
	o.start()
	change(o, "web-1", &v1alpha1.Host{}, func(h *v1alpha1.Host) { h.Labels["look"] = "after-the-restart" })
	o.create(enrolledHost(t, "web-3"))
	o.wantCondition("the restarted operator works", "web-3", v1alpha1.ConditionReady, "True Published")
	o.wantCondition("still lost", "web-1", v1alpha1.ConditionConnected, "False GatewayLost")

	changeStatus(o, "web-1", &v1alpha1.ScheduleSet{}, func(s *v1alpha1.ScheduleSet) {
		s.Status.Connection.Gateway, s.Status.Connection.Session = id+"-2", 2
	})
	second := gatewayLease(t, id+"-2")
	o.create(second)
	t.Cleanup(func() { _ = o.admin.Delete(context.Background(), second) })
	env.Eventually(t, patience, "a session on a living gateway counts", func(ctx context.Context) error {
		second.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
		if err := o.admin.Update(ctx, second); err != nil {
			return err
		}
		host := &v1alpha1.Host{}
		if err := o.admin.Get(ctx, types.NamespacedName{Namespace: o.namespace, Name: "web-1"}, host); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(host.Status.Conditions, v1alpha1.ConditionConnected) {
			return fmt.Errorf("conditions %+v", host.Status.Conditions)
		}
		return nil
	})
}
