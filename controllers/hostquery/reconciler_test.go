package hostquery

import (
	"context"
	"crypto/ed25519"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	testingclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
	"github.com/restic-manager/restic-manager/test/env"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

// fixture is a namespace with Host web-1, which is enrolled.
type fixture struct {
	t         *testing.T
	client    client.WithWatch
	namespace string
	clock     *testingclock.FakePassiveClock
	signer    *seal.Signer
	host      *v1alpha1.Host
}

var gateway = v1alpha1.GatewayEndpoint{URL: "https://gateway.example.com", TLSPins: []string{"sha256:AAAA"}}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	cp := env.Shared(t)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, metav1.AddMetaToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.NewWithWatch(cp.RESTConfig(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := seal.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, client: c, namespace: cp.NewNamespace(t, "hostquery"), clock: testingclock.NewFakePassiveClock(time.Now()), signer: signer, host: testHost()}
	f.host.Namespace = f.namespace
	f.create(f.host)
	return f
}

func (f *fixture) create(object client.Object) {
	f.t.Helper()
	if err := f.client.Create(f.t.Context(), object); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) query() *v1alpha1.HostQuery {
	f.t.Helper()
	query := testQuery()
	query.ObjectMeta = metav1.ObjectMeta{GenerateName: "q-", Namespace: f.namespace}
	f.create(query)
	return query
}

func (f *fixture) tryReconcile(c client.Client, query *v1alpha1.HostQuery) (ctrl.Result, error) {
	r := &Reconciler{Client: c, Namespaces: f.client, Clock: f.clock, Signer: f.signer, Gateway: func() v1alpha1.GatewayEndpoint { return gateway }}
	return r.Reconcile(f.t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(query)})
}

func (f *fixture) reconcile(query *v1alpha1.HostQuery) ctrl.Result {
	f.t.Helper()
	result, err := f.tryReconcile(f.client, query)
	if err != nil {
		f.t.Fatal(err)
	}
	return result
}

func (f *fixture) read(query *v1alpha1.HostQuery) error {
	return f.client.Get(f.t.Context(), client.ObjectKeyFromObject(query), query)
}

func (f *fixture) mustRead(query *v1alpha1.HostQuery) {
	f.t.Helper()
	if err := f.read(query); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) verify(query *v1alpha1.HostQuery) *wire.HostQuery {
	f.t.Helper()
	command := query.Status.Command
	if command == nil {
		f.t.Fatalf("it is not signed: %+v", query.Status)
	}
	signatures, err := convert.WireSignatures(command.Signatures)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := seal.Verify(command.Document, signatures, f.signer.PublicKeys()); err != nil {
		f.t.Fatal(err)
	}
	parsed, err := wire.ParseHostQuery(command.Document)
	if err != nil {
		f.t.Fatal(err)
	}
	return parsed
}

func TestAQueryIsSignedOnceAndDeletedWhenItsTimeIsOver(t *testing.T) {
	f := newFixture(t)
	query := f.query()
	if query.Status.ObservedGeneration != -1 {
		t.Errorf("before anybody looked, observedGeneration is %d", query.Status.ObservedGeneration)
	}
	expires := query.CreationTimestamp.Add(10 * time.Minute)
	result := f.reconcile(query)
	f.mustRead(query)
	if got := f.verify(query); got.UID != string(query.UID) || !got.NotAfter.Equal(expires) || got.IdentityHash != testIdentity.Hash() {
		t.Errorf("the command is %+v", got)
	}
	s := query.Status
	if s.ExpirationTime == nil || !s.ExpirationTime.Time.Equal(expires) || s.ObservedGeneration != query.Generation ||
		!meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionReady) || len(s.Conditions) != 1 {
		t.Errorf("the status is %+v", s)
	}
	if diff := cmp.Diff(&gateway, s.Gateway); diff != "" {
		t.Errorf("gateway (-want +got):\n%s", diff)
	}
	if again := f.clock.Now().Add(result.RequeueAfter); !again.Equal(expires) {
		t.Errorf("looks again at %s, want %s", again, expires)
	}
	version := query.ResourceVersion
	f.reconcile(query)
	if f.mustRead(query); query.ResourceVersion != version {
		t.Error("it was written again, though nothing had changed")
	}
	f.clock.SetTime(expires)
	f.reconcile(query)
	if err := f.read(query); !apierrors.IsNotFound(err) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestASignedQueryFollowsItsHost(t *testing.T) {
	f := newFixture(t)
	query := f.query()
	f.reconcile(query)
	f.mustRead(query)
	before := f.verify(query).IdentityHash
	other := testIdentity
	other.SigningKey = append([]byte{9}, other.SigningKey[1:]...)
	f.host.Spec.Identity = convert.HostIdentity(&other)
	if err := f.client.Update(t.Context(), f.host); err != nil {
		t.Fatal(err)
	}
	f.reconcile(query)
	if f.mustRead(query); f.verify(query).IdentityHash == before {
		t.Error("it is for the earlier keys")
	}
	if err := f.client.Delete(t.Context(), f.host); err != nil {
		t.Fatal(err)
	}
	f.reconcile(query)
	if f.mustRead(query); query.Status.Command != nil || query.Status.Gateway != nil || meta.IsStatusConditionTrue(query.Status.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("after its Host was deleted: %+v", query.Status)
	}
}

func TestOnlyTheQueryThatWasSeenIsDeleted(t *testing.T) {
	f := newFixture(t)
	query := f.query()
	f.clock.SetTime(query.CreationTimestamp.Add(time.Hour))
	// The cache is behind: another one of that name was created since.
	stale := interceptor.NewClient(f.client, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
			err := c.Get(ctx, key, object, opts...)
			if q, ok := object.(*v1alpha1.HostQuery); ok {
				q.UID = "of-an-earlier-one"
			}
			return err
		},
	})
	if _, err := f.tryReconcile(stale, query); !apierrors.IsConflict(err) {
		t.Errorf("got %v, want a conflict", err)
	}
	f.mustRead(query)
	if err := f.client.Delete(t.Context(), query); err != nil {
		t.Fatal(err)
	}
	f.reconcile(query) // gone before it was looked at
}

func TestWhichChangesOfAHostAreLookedAt(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*v1alpha1.Host)
		want   bool
	}{
		{"its spec", func(h *v1alpha1.Host) { h.Generation++ }, true},
		{"it is being deleted", func(h *v1alpha1.Host) { h.DeletionTimestamp = new(metav1.Now()) }, true},
		{"it is another one", func(h *v1alpha1.Host) { h.UID = "other" }, true},
		{"it is connected", func(h *v1alpha1.Host) {
			meta.SetStatusCondition(&h.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionConnected, Status: "True", Reason: "SessionEstablished"})
		}, true},
		{"another condition", func(h *v1alpha1.Host) {
			meta.SetStatusCondition(&h.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionBackupsCurrent, Status: "True", Reason: "UpToDate"})
		}, false},
		{"a label", func(h *v1alpha1.Host) { h.Labels = map[string]string{"a": "b"} }, false},
	} {
		after := testHost()
		test.change(after)
		if got := hostChanged.Update(event.UpdateEvent{ObjectOld: testHost(), ObjectNew: after}); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
