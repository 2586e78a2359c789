package webhook

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(env.Main(m))
}

const (
	patience          = 30 * time.Second
	operatorNamespace = "restic-manager-system"
)

var installed sync.Once

// install applies what a webhook needs: the account, its permissions and the policy that bounds them.
func install(t *testing.T) *env.ControlPlane {
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
	return cp
}

func kinds(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

// fixture is a namespace of an API server that asks a webhook, which runs here with the rights of an installation.
type fixture struct {
	t         *testing.T
	cp        *env.ControlPlane
	client    client.Client // the admin's; it reads the API server itself
	namespace string
	address   string
	stop      func()
}

func newFixture(t *testing.T, edits ...func(*Options)) *fixture {
	t.Helper()
	cp := install(t)
	f := &fixture{t: t, cp: cp, namespace: cp.NewNamespace(t, "webhook"), address: freeAddress(t)}
	f.client = newClient(t, cp.RESTConfig())
	f.deploy(t)
	f.start(edits...)
	t.Cleanup(func() { f.stop() })
	f.awaitAnswer(t)
	return f
}

func (f *fixture) deploy(t *testing.T) {
	t.Helper()
	if err := stack.DeployWebhook(t.Context(), f.cp, f.address); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) awaitAnswer(t *testing.T) {
	t.Helper()
	if err := stack.AwaitWebhook(t.Context(), f.cp); err != nil {
		t.Fatal(err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := env.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(config, client.Options{Scheme: kinds(t)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start runs a replica that does not lead anything: no reconciler fills its cache.
func (f *fixture) start(edits ...func(*Options)) {
	f.t.Helper()
	account, _, err := f.cp.ServiceAccountConfig(f.t.Context(), operatorNamespace, "restic-manager-controller")
	if err != nil {
		f.t.Fatal(err)
	}
	o := Options{Namespace: operatorNamespace, BindAddress: f.address, Names: []string{"127.0.0.1"}}
	for _, edit := range edits {
		edit(&o)
	}
	options := ctrl.Options{Scheme: kinds(f.t), Metrics: metricsserver.Options{BindAddress: "0"}}
	for _, namespace := range o.WatchNamespaces {
		if options.Cache.DefaultNamespaces == nil {
			options.Cache.DefaultNamespaces = map[string]cache.Config{}
		}
		options.Cache.DefaultNamespaces[namespace] = cache.Config{}
	}
	mgr, err := ctrl.NewManager(account, options)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := Setup(mgr, o); err != nil {
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

// kubectl runs kubectl in the fixture's namespace and returns all that a person reads: first what went wrong, or else stdout and warnings.
func (f *fixture) kubectl(manifest string, args ...string) string {
	f.t.Helper()
	// How it ended is in what is said.
	said, _ := f.cp.KubectlSays(f.t.Context(), manifest, append([]string{"-n", f.namespace}, args...)...)
	return strings.TrimSpace(strings.ReplaceAll(said, f.namespace, "shop"))
}

// apply applies the YAML of a kind's spec under a name.
func (f *fixture) apply(kind, name, spec string) string {
	f.t.Helper()
	manifest := "apiVersion: backup.restic-manager.io/v1alpha1\nkind: " + kind + "\nmetadata: {name: " + name + "}\nspec: " + spec
	return f.kubectl(manifest, "apply", "-f", "-")
}

// unchecked has objects written as before there was a webhook.
func (f *fixture) unchecked(write func()) {
	f.t.Helper()
	if err := stack.Unchecked(f.t.Context(), f.cp, f.address, func() error { write(); return nil }); err != nil {
		f.t.Fatal(err)
	}
}
