package host

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting/selectingtest"
	"github.com/restic-manager/restic-manager/controllers/overdue"
	"github.com/restic-manager/restic-manager/test/env"
)

const operatorNamespace = "restic-manager-system"

var installed sync.Once

// accountConfig acts as the controllers' own account, with the permissions that config/rbac gives it.
func accountConfig(t *testing.T) *rest.Config {
	t.Helper()
	cp := env.Shared(t)
	installed.Do(func() {
		root, err := env.Root()
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range [][]string{{"-f", filepath.Join(root, "config/default/namespace.yaml")}, {"-k", filepath.Join(root, "config/rbac")}, {"-k", filepath.Join(root, "config/admission")}} {
			if _, err := cp.Kubectl(t.Context(), append([]string{"apply", "--server-side"}, path...)...); err != nil {
				t.Fatal(err)
			}
		}
	})
	config, _, err := cp.ServiceAccountConfig(t.Context(), operatorNamespace, "restic-manager-controller")
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return config
}

func testScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	return scheme
}

type testSigner struct{ *seal.Signer }

func (testSigner) DigestKey() []byte { return []byte("digest key") }

// harness runs single reconciliations against the real API server, as the controllers' account.
type harness struct {
	*Reconciler
	t         *testing.T
	admin     client.Client
	namespace string
	clock     *clocktesting.FakeClock
	recorder  *events.FakeRecorder

	writes int
	// crashAt makes the write of this number fail: before it is done, or after it when lost is set.
	crashAt int
	lost    bool
}

var errCrash = errors.New("the controllers were killed here")

func newHarness(t *testing.T) *harness {
	t.Helper()
	config := accountConfig(t)
	cp := env.Shared(t)
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := seal.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, namespace: cp.NewNamespace(t, "host"), clock: clocktesting.NewFakeClock(time.Now().Truncate(time.Second)), recorder: events.NewFakeRecorder(100)}
	if h.admin, err = client.New(cp.RESTConfig(), client.Options{Scheme: testScheme()}); err != nil {
		t.Fatal(err)
	}
	live, err := client.NewWithWatch(config, client.Options{Scheme: testScheme()})
	if err != nil {
		t.Fatal(err)
	}
	h.Reconciler = &Reconciler{
		Client: h.client(live), Live: live, Namespaces: live, Clock: h.clock, Recorder: h.recorder, Signer: testSigner{signer},
		Gateways: NewGateways(nil, live, operatorNamespace, h.clock), GatewayURL: "https://gateway.example.com", TLSPins: func() []string { return []string{"sha256:x"} }, TokenTTL: time.Hour,
		OverdueMinGrace: overdue.MinGrace,
		TombstoneTTL:    30 * 24 * time.Hour,
	}
	return h
}

// client behaves as the manager's: a Secret without the label is not there. It counts writes.
func (h *harness) client(live client.WithWatch) client.Client {
	write := func(do func() error) error {
		h.writes++
		if h.writes == h.crashAt && !h.lost {
			return errCrash
		}
		if err := do(); err != nil {
			return err
		}
		if h.writes == h.crashAt {
			return errCrash
		}
		return nil
	}
	return interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
			if err := c.Get(ctx, key, object, opts...); err != nil {
				return err
			}
			if secret, ok := object.(*corev1.Secret); ok && secret.Labels[v1alpha1.LabelCredentials] != "true" {
				return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, key.Name)
			}
			return nil
		},
		// An API server does not know the cache's indexes.
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			var options client.ListOptions
			options.ApplyOptions(opts)
			if options.FieldSelector == nil {
				return c.List(ctx, list, opts...)
			}
			if err := c.List(ctx, list, client.InNamespace(options.Namespace)); err != nil {
				return err
			}
			selectingtest.Filter(h.t, list, options.FieldSelector, selecting.Index{Object: &v1alpha1.Host{}, Field: indexSecret, Keys: bySecret})
			return nil
		},
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, opts ...client.CreateOption) error {
			return write(func() error { return c.Create(ctx, object, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, object client.Object, opts ...client.UpdateOption) error {
			return write(func() error { return c.Update(ctx, object, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return write(func() error { return c.Patch(ctx, object, patch, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, object client.Object, opts ...client.DeleteOption) error {
			return write(func() error { return c.Delete(ctx, object, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, object client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return write(func() error { return c.SubResource(sub).Patch(ctx, object, patch, opts...) })
		},
	})
}

func (h *harness) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: h.namespace, Name: name}
}

// run reconciles until nothing asks for an immediate second look, and fails the test on an error.
func (h *harness) run(name string) ctrl.Result {
	h.t.Helper()
	for range 5 {
		result, err := h.Reconcile(h.t.Context(), ctrl.Request{NamespacedName: h.key(name)})
		if err != nil {
			h.t.Fatalf("reconciling %s: %v", name, err)
		}
		if result.RequeueAfter != conflictDelay {
			return result
		}
	}
	h.t.Fatalf("reconciling %s does not come to rest", name)
	return ctrl.Result{}
}

func (h *harness) create(objects ...client.Object) {
	h.t.Helper()
	for _, o := range objects {
		o.SetNamespace(h.namespace)
		if err := h.admin.Create(h.t.Context(), o); err != nil {
			h.t.Fatalf("creating %s: %v", o.GetName(), err)
		}
	}
}

// get reads an object; false when there is none.
func (h *harness) get(name string, object client.Object) bool {
	h.t.Helper()
	err := h.admin.Get(h.t.Context(), h.key(name), object)
	if err != nil && !apierrors.IsNotFound(err) {
		h.t.Fatal(err)
	}
	return err == nil
}

func (h *harness) host(name string) *v1alpha1.Host {
	h.t.Helper()
	host := &v1alpha1.Host{}
	if !h.get(name, host) {
		h.t.Fatalf("there is no Host %s", name)
	}
	return host
}

// set returns the ScheduleSet, nil for none.
func (h *harness) set(name string) *v1alpha1.ScheduleSet {
	h.t.Helper()
	set := &v1alpha1.ScheduleSet{}
	if !h.get(name, set) {
		return nil
	}
	return set
}

// change writes an object as the admin.
func change[T client.Object](h *harness, object T, edit func(T)) T {
	h.t.Helper()
	base, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		h.t.Fatal("not an object")
	}
	edit(object)
	if err := h.admin.Patch(h.t.Context(), object, client.MergeFrom(base)); err != nil {
		h.t.Fatal(err)
	}
	return object
}

// changeStatus writes a status as the gateway would.
func changeStatus[T client.Object](h *harness, object T, edit func(T)) T {
	h.t.Helper()
	base, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		h.t.Fatal("not an object")
	}
	edit(object)
	if err := h.admin.Status().Patch(h.t.Context(), object, client.MergeFrom(base), client.FieldOwner(v1alpha1.ManagerGateway)); err != nil {
		h.t.Fatal(err)
	}
	return object
}

// token reads the enrolment Secret; nil when there is none.
func (h *harness) token(name string) *wire.Token {
	h.t.Helper()
	secret := &corev1.Secret{}
	if !h.get(v1alpha1.EnrollmentSecretName(name), secret) {
		return nil
	}
	token, err := wire.ParseToken(string(secret.Data["token"]))
	if err != nil {
		h.t.Fatal(err)
	}
	if want := fmt.Sprintf("printf %%s '%s' | sudo restic-manager-agent enroll --token -\n", secret.Data["token"]); string(secret.Data["command"]) != want {
		h.t.Error("the command in the Secret is not the ready line")
	}
	return token
}

// agent is a machine's keys.
type agent struct {
	identity wire.Identity
	private  []byte
}

func newAgent(t *testing.T) agent {
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
	return agent{identity: wire.Identity{SigningKey: public, SealingKey: sealing}, private: private}
}

// ask records an enrolment request, as the gateway does.
func (h *harness) ask(name string, token *wire.Token, a agent, proof []byte) {
	h.t.Helper()
	changeStatus(h, h.host(name), func(host *v1alpha1.Host) {
		host.Status.EnrollmentRequest = &v1alpha1.EnrollmentRequest{
			TokenIDHash: wire.TokenIDHash(token.ID), SigningKey: convert.HostIdentity(&a.identity).SigningKey, SealingKey: convert.HostIdentity(&a.identity).SealingKey,
			Proof: base64.StdEncoding.EncodeToString(proof), Hostname: "web-1.local", ReceivedAt: metav1.NewTime(h.clock.Now()),
		}
	})
}

func proofOf(token *wire.Token, a agent) []byte {
	return wire.EnrolProof(token.Secret, token.HostUID, token.ID, a.identity)
}

// enrol takes a Host from nothing to enrolled.
func (h *harness) enrolHost(name string, a agent) {
	h.t.Helper()
	h.run(name)
	token := h.token(name)
	if token == nil {
		h.t.Fatal("no token was minted")
	}
	h.ask(name, token, a, proofOf(token, a))
	h.run(name)
	if identity := h.host(name).Spec.Identity; identity == nil || *identity != *convert.HostIdentity(&a.identity) {
		h.t.Fatalf("pinned identity is %v", identity)
	}
}

// verdictOf verifies and parses the verdict in status.
func (h *harness) verdictOf(name string) *wire.EnrolVerdict {
	h.t.Helper()
	e := h.host(name).Status.Enrollment
	if e == nil || e.Verdict == nil {
		h.t.Fatal("there is no verdict")
	}
	if err := seal.Verify(e.Verdict.Document, decodeSignatures(h.t, e.Verdict.Signatures), h.Signer.PublicKeys()); err != nil {
		h.t.Fatalf("the verdict is not signed: %v", err)
	}
	verdict, err := wire.ParseEnrolVerdict(e.Verdict.Document)
	if err != nil {
		h.t.Fatal(err)
	}
	return verdict
}

func decodeSignatures(t *testing.T, signatures []v1alpha1.Signature) []wire.Signature {
	t.Helper()
	out, err := convert.WireSignatures(signatures)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// wantCondition checks a condition as "Status Reason", and that its message holds some words.
func (h *harness) wantCondition(name, kind, want string, says ...string) {
	h.t.Helper()
	host := h.host(name)
	c := meta.FindStatusCondition(host.Status.Conditions, kind)
	got := "absent"
	if c != nil {
		got = string(c.Status) + " " + c.Reason
	}
	if got != want {
		h.t.Errorf("condition %s is %q, want %q: %+v", kind, got, want, c)
		return
	}
	for _, part := range says {
		if !strings.Contains(c.Message, part) {
			h.t.Errorf("condition %s does not say %q: %s", kind, part, c.Message)
		}
	}
	if c != nil && c.ObservedGeneration != host.Generation {
		h.t.Errorf("condition %s speaks of generation %d, the Host is at %d", kind, c.ObservedGeneration, host.Generation)
	}
}

// wantEvent finds an Event with these words among those since the last call.
func (h *harness) wantEvent(parts ...string) {
	h.t.Helper()
	var seen []string
	for {
		select {
		case e := <-h.recorder.Events:
			seen = append(seen, e)
			continue
		default:
		}
		break
	}
	for _, e := range seen {
		found := true
		for _, p := range parts {
			found = found && strings.Contains(e, p)
		}
		if found {
			return
		}
	}
	h.t.Errorf("no Event says %q: %q", parts, seen)
}

const repositoryPassword = "correct horse battery staple"

func newHost(name string) *v1alpha1.Host {
	host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"role": "web"}}}
	host.Spec.Repository = v1alpha1.Repository{URL: "rest:https://backup.example.com/" + name, CredentialsSecretRef: &v1alpha1.LocalReference{Name: "repo"}}
	return host
}

func newSecret() *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "repo", Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
		Data:       map[string][]byte{"RESTIC_PASSWORD": []byte(repositoryPassword), "RESTIC_REST_USERNAME": []byte("web-1")},
	}
}

func newGroup(name string) *v1alpha1.SourceGroup {
	group := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Name: name}}
	group.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}
	group.Spec.Includes = []string{"/etc"}
	return group
}

func newSchedule(name string, groups ...string) *v1alpha1.Schedule {
	schedule := &v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Name: name}}
	schedule.Spec.Cron, schedule.Spec.SourceGroups = "30 2 * * *", groups
	return schedule
}
