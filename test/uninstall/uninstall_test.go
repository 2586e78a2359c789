package uninstall

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

// promptly is how long a deletion may take: the garbage collector and the namespace controller need some seconds.
const promptly = 60 * time.Second

type world struct {
	*testing.T
	*stack.Stack
	client.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	bin, err := stack.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir, err := env.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	s, err := stack.Start(t.Context(), stack.Options{Dir: dir, BinDir: bin, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	s.Log = func(string, ...any) {}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	c, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	return &world{T: t, Stack: s, Client: c}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// kubectl deletes with it, and waits as a person would.
func (w *world) kubectl(args ...string) {
	w.Helper()
	out, err := w.CP.Kubectl(w.Context(), append(args, "--timeout="+promptly.String())...)
	if err != nil {
		w.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// identity is that of a machine which is in Git.
func (w *world) identity() *v1alpha1.HostIdentity {
	w.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	w.must(err)
	return &v1alpha1.HostIdentity{SigningKey: base64.StdEncoding.EncodeToString(public), SealingKey: base64.StdEncoding.EncodeToString(w.sealingKey())}
}

func (w *world) sealingKey() []byte {
	w.Helper()
	private, err := seal.NewSealingKey()
	w.must(err)
	public, err := seal.SealingPublicKey(private)
	w.must(err)
	return public
}

// ours lists one object of each kind, by the name under which fill makes it.
func ours(namespace string) []client.Object {
	at := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }
	return []client.Object{
		&v1alpha1.HostJob{ObjectMeta: at("now")},
		&v1alpha1.HostQuery{ObjectMeta: at("log")},
		&v1alpha1.SourceGroup{ObjectMeta: at("etc")},
		&v1alpha1.Schedule{ObjectMeta: at("nightly")},
		&v1alpha1.RepoMaintenance{ObjectMeta: at("upkeep")},
		&v1alpha1.ScheduleSet{ObjectMeta: at("given")},
		&v1alpha1.Host{ObjectMeta: at("given")},
		&v1alpha1.Host{ObjectMeta: at("enrols")},
	}
}

// fill makes a namespace with all that people and the operator make in one, and waits until the operator has done its part.
func (w *world) fill(namespace string) {
	w.Helper()
	host := func(name string) *v1alpha1.Host {
		h := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"role": "web"}}}
		h.Spec.Repository.URL = "rest:https://backup.example.com/" + name
		return h
	}
	given := host("given")
	given.Spec.Identity = w.identity()
	selector := v1alpha1.Selector{HostSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}}
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		given, host("enrols"),
		&v1alpha1.SourceGroup{ObjectMeta: meta("etc"), Spec: v1alpha1.SourceGroupSpec{Selector: selector, Includes: []string{"/etc"}}},
		&v1alpha1.Schedule{ObjectMeta: meta("nightly"), Spec: v1alpha1.ScheduleSpec{Cron: "30 2 * * *", SourceGroups: []string{"etc"}}},
		&v1alpha1.RepoMaintenance{ObjectMeta: meta("upkeep"), Spec: v1alpha1.RepoMaintenanceSpec{Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "given"}},
			Check: &v1alpha1.CheckCadence{Cadence: v1alpha1.Cadence{Cron: "0 4 * * *"}}}},
		&v1alpha1.HostJob{ObjectMeta: meta("now"), Spec: v1alpha1.HostJobSpec{HostRef: v1alpha1.LocalReference{Name: "given"}, Kind: v1alpha1.HostJobBackup,
			Backup: &v1alpha1.BackupJob{SourceGroup: "etc"}}},
		&v1alpha1.HostQuery{ObjectMeta: meta("log"), Spec: v1alpha1.HostQuerySpec{HostRef: v1alpha1.LocalReference{Name: "given"}, Kind: v1alpha1.QueryLog,
			Parameters: []byte("sealed"), PublicKey: w.sealingKey(), StreamSecretHash: strings.Repeat("0", 64), TTLSeconds: 600}},
	} {
		w.must(w.Create(w.Context(), o))
	}
	made := []client.Object{
		&v1alpha1.ScheduleSet{ObjectMeta: meta("given")},
		&v1alpha1.RepoMaintenance{ObjectMeta: meta(v1alpha1.DefaultMaintenanceName("enrols"))},
		&corev1.Secret{ObjectMeta: meta(v1alpha1.MintedSecretName("given"))},
		&corev1.Secret{ObjectMeta: meta(v1alpha1.EnrollmentSecretName("enrols"))},
	}
	env.Eventually(w.T, promptly, "the operator's part in "+namespace, func(ctx context.Context) error {
		for _, o := range made {
			if err := w.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
				return err
			}
		}
		job := &v1alpha1.HostJob{}
		if err := w.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "now"}, job); err != nil {
			return err
		}
		if job.Status.Command == nil || len(job.OwnerReferences) == 0 {
			return errors.New("the HostJob has no command or no owner yet")
		}
		query := &v1alpha1.HostQuery{}
		if err := w.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "log"}, query); err != nil {
			return err
		}
		if query.Status.Command == nil {
			return errors.New("the HostQuery has no command yet")
		}
		return nil
	})
	// A machine that has the set and is away: as long as the controllers live, its tombstone would wait for it.
	set := &v1alpha1.ScheduleSet{}
	w.must(w.Get(w.Context(), client.ObjectKey{Namespace: namespace, Name: "given"}, set))
	base := set.DeepCopy()
	set.Status.Connection = &v1alpha1.Connection{Gateway: "gone", Session: 1, Process: "p", ConnectedTime: metav1.Now()}
	w.must(w.Status().Patch(w.Context(), set, client.MergeFrom(base)))
}

// withoutFinalizers looks at every object of every kind that lies in a namespace.
func (w *world) withoutFinalizers(namespace string) {
	w.Helper()
	found, err := discovery.NewDiscoveryClientForConfigOrDie(w.CP.RESTConfig()).ServerPreferredNamespacedResources()
	w.must(err)
	reader := metadata.NewForConfigOrDie(w.CP.RESTConfig())
	kinds := 0
	for _, list := range found {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		w.must(err)
		for _, resource := range list.APIResources {
			if !slices.Contains(resource.Verbs, "list") {
				continue
			}
			objects, err := reader.Resource(group.WithResource(resource.Name)).Namespace(namespace).List(w.Context(), metav1.ListOptions{})
			w.must(err)
			for _, o := range objects.Items {
				if len(o.Finalizers) > 0 {
					w.Errorf("%s %s has finalizers %v", resource.Kind, o.Name, o.Finalizers)
				}
			}
			if group == v1alpha1.GroupVersion && len(objects.Items) > 0 {
				kinds++
			}
		}
	}
	if kinds != 7 {
		w.Errorf("objects of %d kinds of ours were seen, want all 7: the search proves little", kinds)
	}
}

func (w *world) gone(what string, object client.Object) {
	w.Helper()
	env.Eventually(w.T, promptly, what+" to be gone", func(ctx context.Context) error {
		err := w.Get(ctx, client.ObjectKeyFromObject(object), object)
		if err == nil {
			return fmt.Errorf("it is there, with finalizers %v", object.GetFinalizers())
		}
		if !apierrors.IsNotFound(err) {
			return err
		}
		return nil
	})
}

func TestNothingSticksWhenTheOperatorIsGone(t *testing.T) {
	w := newWorld(t)
	namespaces := []string{"piece-by-piece", "owners-first", "whole", "left"}
	for _, namespace := range namespaces {
		w.fill(namespace)
	}
	w.must(w.Controller.Stop())
	for _, replica := range w.Replicas {
		w.must(replica.Stop())
	}
	for _, namespace := range namespaces {
		w.withoutFinalizers(namespace)
	}
	root, err := env.Root()
	w.must(err)

	t.Log("each object is gone as soon as its deletion is answered")
	for _, o := range ours("piece-by-piece") {
		w.must(w.Delete(t.Context(), o))
		if err := w.Get(t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			t.Errorf("%T %s after its deletion: %v, finalizers %v", o, o.GetName(), err, o.GetFinalizers())
		}
	}
	t.Log("a Host takes along what it owns, and leaves the password that was made for it")
	for _, name := range []string{"given", "enrols"} {
		w.must(w.Delete(t.Context(), &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "owners-first", Name: name}}, client.PropagationPolicy(metav1.DeletePropagationForeground)))
	}
	in := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "owners-first", Name: name} }
	w.gone("the Host", &v1alpha1.Host{ObjectMeta: in("given")})
	w.gone("its HostJob", &v1alpha1.HostJob{ObjectMeta: in("now")})
	w.gone("the default RepoMaintenance", &v1alpha1.RepoMaintenance{ObjectMeta: in(v1alpha1.DefaultMaintenanceName("enrols"))})
	w.gone("the enrolment Secret", &corev1.Secret{ObjectMeta: in(v1alpha1.EnrollmentSecretName("enrols"))})
	w.must(w.Get(t.Context(), client.ObjectKey{Namespace: "owners-first", Name: v1alpha1.MintedSecretName("given")}, &corev1.Secret{}))

	t.Log("namespaces go with all that is in them")
	w.kubectl("delete", "namespace", "whole", "owners-first", "piece-by-piece")
	t.Log("and so do the kinds themselves, with what is left of them")
	w.kubectl("delete", "-k", filepath.Join(root, "config", "crd"))
	w.kubectl("delete", "-k", filepath.Join(root, "config", "admission"))
	w.kubectl("delete", "-k", filepath.Join(root, "config", "rbac"))
	w.kubectl("delete", "namespace", "left", stack.Namespace)
}
