package hostjob

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	testingclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/test/env"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

// fixture is a namespace with Host web-1, which is enrolled, and SourceGroup etc.
type fixture struct {
	t         *testing.T
	cp        *env.ControlPlane
	client    client.WithWatch
	namespace string
	clock     *testingclock.FakePassiveClock
	signer    testSigner
	recorder  *events.FakeRecorder
	host      *v1alpha1.Host
	// private opens what is sealed to the host.
	private []byte
}

// testSigner is what the controllers have from their Secret.
type testSigner struct{ *seal.Signer }

func (testSigner) DigestKey() []byte { return []byte("digest key") }

func newFixture(t *testing.T) *fixture {
	t.Helper()
	cp := env.Shared(t)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
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
	f := &fixture{t: t, cp: cp, client: c, namespace: cp.NewNamespace(t, "hostjob"), clock: testingclock.NewFakePassiveClock(time.Now()),
		signer: testSigner{signer}, recorder: events.NewFakeRecorder(10)}
	f.host = testHost()
	f.host.Spec.Repository.CredentialsSecretRef = &v1alpha1.LocalReference{Name: "web-1-repo"}
	f.private, f.host.Spec.Identity.SealingKey = newSealingKey(t)
	group := testGroup()
	for _, o := range []client.Object{f.host, group} {
		o.SetNamespace(f.namespace)
		o.SetUID("")
		o.SetGeneration(0)
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func newSealingKey(t *testing.T) (private []byte, public string) {
	t.Helper()
	private, err := seal.NewSealingKey()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := seal.SealingPublicKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return private, base64.StdEncoding.EncodeToString(raw)
}

func (f *fixture) reconciler() *Reconciler {
	return &Reconciler{Client: indexed(f.client), Live: f.client, Namespaces: f.client, Clock: f.clock, Signer: f.signer, Recorder: f.recorder}
}

// indexed answers by the indexes of a cache what a live client cannot.
func indexed(c client.WithWatch) client.WithWatch {
	indexes := map[string]client.IndexerFunc{indexJobs: jobKeys}
	for _, index := range selecting.Indexes() {
		indexes[index.Field] = index.Keys
	}
	return interceptor.NewClient(c, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			options := (&client.ListOptions{}).ApplyOptions(opts)
			if options.FieldSelector == nil {
				return c.List(ctx, list, opts...)
			}
			wanted := options.FieldSelector.Requirements()[0]
			options.FieldSelector = nil
			if err := c.List(ctx, list, options); err != nil {
				return err
			}
			var kept []runtime.Object
			if err := meta.EachListItem(list, func(item runtime.Object) error {
				if object, ok := item.(client.Object); ok && slices.Contains(indexes[wanted.Field](object), wanted.Value) {
					kept = append(kept, item)
				}
				return nil
			}); err != nil {
				return err
			}
			return meta.SetList(list, kept)
		},
	})
}

func (f *fixture) create(change func(*v1alpha1.HostJob)) *v1alpha1.HostJob {
	f.t.Helper()
	j := job(v1alpha1.HostJobBackup)
	j.ObjectMeta = metav1.ObjectMeta{GenerateName: "now-", Namespace: f.namespace}
	if change != nil {
		change(j)
	}
	if err := f.client.Create(f.t.Context(), j); err != nil {
		f.t.Fatal(err)
	}
	return j
}

func (f *fixture) reconcile(j *v1alpha1.HostJob) ctrl.Result {
	f.t.Helper()
	result, err := f.reconciler().Reconcile(f.t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(j)})
	if err != nil {
		f.t.Fatal(err)
	}
	f.read(j)
	return result
}

func (f *fixture) read(j *v1alpha1.HostJob) {
	f.t.Helper()
	if err := f.client.Get(f.t.Context(), client.ObjectKeyFromObject(j), j); err != nil {
		f.t.Fatal(err)
	}
}

// controllersConfig acts with exactly the rights that an installation gives to the controllers.
func (f *fixture) controllersConfig() *rest.Config {
	f.t.Helper()
	root, err := env.Root()
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.cp.Kubectl(f.t.Context(), "apply", "--server-side", "-k", filepath.Join(root, "config", "default")); err != nil {
		f.t.Fatal(err)
	}
	controllers, _, err := f.cp.ServiceAccountConfig(f.t.Context(), "restic-manager-system", "restic-manager-controller")
	if err != nil {
		f.t.Fatal(err)
	}
	return controllers
}

// asGateway writes what the gateway writes.
func (f *fixture) asGateway(j *v1alpha1.HostJob, change func(*v1alpha1.HostJobStatus)) {
	f.t.Helper()
	base := j.DeepCopy()
	change(&j.Status)
	if err := f.client.Status().Patch(f.t.Context(), j, client.MergeFrom(base), client.FieldOwner(v1alpha1.ManagerGateway)); err != nil {
		f.t.Fatal(err)
	}
}

// conditions are "Type=Status Reason", for comparison.
func conditions(j *v1alpha1.HostJob) map[string]string {
	told := map[string]string{}
	for _, c := range j.Status.Conditions {
		told[c.Type] = string(c.Status) + " " + c.Reason
	}
	return told
}

func expectConditions(t *testing.T, j *v1alpha1.HostJob, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, conditions(j)); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
	if j.Status.ObservedGeneration != j.Generation {
		t.Errorf("observedGeneration %d, expected %d", j.Status.ObservedGeneration, j.Generation)
	}
}

func signatures(t *testing.T, document *v1alpha1.SignedDocument) []wire.Signature {
	t.Helper()
	out, err := convert.WireSignatures(document.Signatures)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
