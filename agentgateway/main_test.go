package agentgateway

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agentgateway/internal/testagent"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

// patience is also how long an agent may be silent: those of most tests send no heartbeats.
const patience = time.Minute

// offlineAfter is how long an agent may be silent where that is what a test is about.
const offlineAfter = 2 * time.Second

func soonOffline(o *Options) { o.OfflineAfter = offlineAfter }

// world is one namespace with one Host, and what the gateways of a test share.
type world struct {
	t         *testing.T
	cp        *env.ControlPlane
	client    client.Client
	namespace string
	host      wire.HostRef
	config    *rest.Config
	ca        *env.CA
	leaf      *env.Leaf
	machine   *testagent.Machine
	// served is the certificate of every replica.
	served atomic.Pointer[tls.Certificate]
}

func newWorld(t *testing.T) *world {
	t.Helper()
	cp := env.Shared(t)
	kinds := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(kinds); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(cp.RESTConfig(), client.Options{Scheme: kinds})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, cp: cp, client: c, namespace: cp.NewNamespace(t, "gateway")}
	w.host = wire.HostRef{Namespace: w.namespace, Name: "web-1"}
	if w.ca, err = env.EnsureCA(t.TempDir(), "test CA"); err != nil {
		t.Fatal(err)
	}
	if w.leaf, err = w.ca.Issue("gateway", env.LeafRequest{}); err != nil {
		t.Fatal(err)
	}
	w.config = w.serviceAccount()
	w.machine = testagent.NewMachine(t, "", w.ca.Pool(), w.host)
	return w
}

// system is the operator's namespace.
const system = "restic-manager-system"

// serviceAccount is the gateway's own, with the rights and the admission policies of an installation.
func (w *world) serviceAccount() *rest.Config {
	w.t.Helper()
	root, err := env.Root()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, from := range [][]string{{"-f", "config/default/namespace.yaml"}, {"-k", "config/rbac"}, {"-k", "config/admission"}} {
		if _, err := w.cp.Kubectl(w.t.Context(), "apply", "--server-side", from[0], filepath.Join(root, from[1])); err != nil {
			w.t.Fatal(err)
		}
	}
	config, _, err := w.cp.ServiceAccountConfig(w.t.Context(), system, "restic-manager-gateway")
	if err != nil {
		w.t.Fatal(err)
	}
	config.QPS = -1
	return config
}

// replica is a running gateway.
type replica struct {
	*Gateway
	url     string
	metrics string
	health  string
	stop    func()
}

// start runs a gateway until the test ends.
func (w *world) start(instance string, changes ...func(*Options)) *replica {
	w.t.Helper()
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			w.t.Fatal(err)
		}
		return l
	}
	listener, metrics, health := listen(), listen(), listen()
	o := Options{Config: w.config, Namespace: system, Instance: instance, Listener: listener, Metrics: metrics, Health: health,
		OfflineAfter: patience, Heartbeat: time.Second, DrainSpread: time.Nanosecond,
		Logger: slog.New(slog.NewTextHandler(testWriter{w.t}, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	pair, err := tls.LoadX509KeyPair(w.leaf.CertFile, w.leaf.KeyFile)
	if err != nil {
		w.t.Fatal(err)
	}
	w.served.CompareAndSwap(nil, &pair)
	o.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return w.served.Load(), nil }
	for _, change := range changes {
		change(&o)
	}
	g, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				w.t.Errorf("gateway %s ended with %v", instance, err)
			}
		case <-time.After(patience):
			w.t.Errorf("gateway %s does not stop", instance)
		}
	})
	w.t.Cleanup(stop)
	w.eventually("gateway "+instance+" is ready", func(context.Context) error {
		if !g.Ready() {
			return errors.New("not yet")
		}
		return nil
	})
	return &replica{Gateway: g, url: "https://" + listener.Addr().String(), metrics: "http://" + metrics.Addr().String() + "/metrics",
		health: "http://" + health.Addr().String(), stop: stop}
}

// testWriter logs through the test, and is silent once it has ended.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Logf("%s", p)
	}
	return len(p), nil
}

func (w *world) at(r *replica) *testagent.Machine {
	m := *w.machine
	m.URL = r.url
	return &m
}

func (w *world) create(object client.Object) {
	w.t.Helper()
	if err := w.client.Create(w.t.Context(), object); err != nil {
		w.t.Fatalf("creating %T: %v", object, err)
	}
}

func (w *world) eventually(what string, cond func(context.Context) error) {
	w.t.Helper()
	if err := env.Poll(w.t.Context(), patience, what, cond); err != nil {
		w.t.Fatal(err)
	}
}

// publish makes the Host and its set, or the set's next revision.
func (w *world) publish(revision string, change func(*v1alpha1.ScheduleSet)) {
	w.t.Helper()
	var host v1alpha1.Host
	host.Namespace, host.Name = w.host.Namespace, w.host.Name
	key := client.ObjectKeyFromObject(&host)
	if err := w.client.Get(w.t.Context(), key, &host); err != nil {
		host.Spec.Repository = v1alpha1.Repository{URL: "rest:https://backup.example.com/web-1", CredentialsSecretRef: &v1alpha1.LocalReference{Name: "repo"}}
		w.create(&host)
	}
	var set v1alpha1.ScheduleSet
	err := w.client.Get(w.t.Context(), key, &set)
	signing, sealing := w.machine.Base64Keys()
	set.Namespace, set.Name = w.host.Namespace, w.host.Name
	set.Spec.Host = v1alpha1.ScheduleSetHost{Name: host.Name, UID: string(host.UID), Identity: v1alpha1.HostIdentity{SigningKey: signing, SealingKey: sealing}}
	set.Spec.Revision, set.Spec.Bundle = revision, `{"revision":"`+revision+`"}`
	set.Spec.Serial++
	set.Spec.Signatures = []v1alpha1.Signature{{KeyID: "k1", Value: base64.StdEncoding.EncodeToString(make([]byte, 64))}}
	set.Spec.Credentials = []v1alpha1.SealedCredential{{Name: "repository", Sealed: base64.StdEncoding.EncodeToString([]byte("sealed"))}}
	set.Spec.Groups = []v1alpha1.ScheduleSetGroup{{Name: "etc", Generation: 1}}
	set.Spec.Schedules = []v1alpha1.ScheduleSetSchedule{{Name: "nightly", Generation: 1, SourceGroups: []string{"etc"}}}
	if change != nil {
		change(&set)
	}
	if err != nil {
		w.create(&set)
	} else if err := w.client.Update(w.t.Context(), &set); err != nil {
		w.t.Fatal(err)
	}
}

// ready waits until a gateway knows the published set.
func (w *world) ready(r *replica, revision string) {
	w.t.Helper()
	w.eventually("the gateway sees revision "+revision, func(ctx context.Context) error {
		set, err := r.published(ctx, w.host)
		if err == nil && set.Spec.Revision != revision {
			err = fmt.Errorf("it sees %s", set.Spec.Revision)
		}
		return err
	})
}

func (w *world) set() *v1alpha1.ScheduleSet {
	w.t.Helper()
	var set v1alpha1.ScheduleSet
	if err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.host.Namespace, Name: w.host.Name}, &set); err != nil {
		w.t.Fatal(err)
	}
	return &set
}

func (w *world) getHost() *v1alpha1.Host {
	w.t.Helper()
	var h v1alpha1.Host
	if err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.host.Namespace, Name: w.host.Name}, &h); err != nil {
		w.t.Fatal(err)
	}
	return &h
}

func (w *world) job(name string) *v1alpha1.HostJob {
	w.t.Helper()
	job := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Spec: v1alpha1.HostJobSpec{
		HostRef: v1alpha1.LocalReference{Name: w.host.Name}, Kind: v1alpha1.HostJobBackup, Backup: &v1alpha1.BackupJob{SourceGroup: "etc"}}}
	w.create(job)
	job.Status.Phase = v1alpha1.JobPending
	job.Status.Command = document("run " + name)
	w.updateStatus(job)
	return job
}

func document(text string) *v1alpha1.SignedDocument {
	return &v1alpha1.SignedDocument{Document: text, Signatures: []v1alpha1.Signature{{KeyID: "k1", Value: base64.StdEncoding.EncodeToString(make([]byte, 64))}}}
}

func (w *world) updateStatus(object client.Object) {
	w.t.Helper()
	if err := w.client.Status().Update(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) getJob(name string) *v1alpha1.HostJob {
	w.t.Helper()
	var job v1alpha1.HostJob
	if err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, &job); err != nil {
		w.t.Fatal(err)
	}
	return &job
}
