package monitoring

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/restic-manager/restic-manager/agentgateway"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers"
	"github.com/restic-manager/restic-manager/controllers/metrics"
	"github.com/restic-manager/restic-manager/test/env"
)

const patience = time.Minute

// world is a fleet in a real API server, the collector and a gateway on it, and a Prometheus that scrapes both.
type world struct {
	t         *testing.T
	namespace string
	admin     client.Client
	*env.Prometheus
	endCollector, endGateway func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	cp := env.Shared(t)
	w := &world{t: t, namespace: cp.NewNamespace(t, "fleet")}
	if _, err := cp.Kubectl(t.Context(), "apply", "--server-side", "-f", path(t, "config", "default", "namespace.yaml")); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.admin, err = client.New(cp.RESTConfig(), client.Options{Scheme: controllers.NewScheme()}); err != nil {
		t.Fatal(err)
	}
	for i := range fleet {
		w.create(&fleet[i])
	}
	w.createSummaries()
	collector := w.startCollector()
	gateway := w.startGateway()
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules.yaml")
	writeRules(t, rules, impatient(groups(t)))
	w.Prometheus, err = env.StartPrometheus(t.Context(), env.PrometheusOptions{
		Dir: filepath.Join(dir, "prometheus"), RuleFiles: []string{rules}, HonorLabels: true, Log: t.Logf,
		Targets: []env.ScrapeTarget{
			{Job: "restic-manager-controller-metrics", Address: collector},
			{Job: "restic-manager-gateway-metrics", Address: gateway},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Kill() })
	return w
}

func (w *world) create(m *machine) {
	w.t.Helper()
	h := &v1alpha1.Host{}
	h.Namespace, h.Name = w.namespace, m.name
	h.Spec.Repository = v1alpha1.Repository{URL: "rest:https://backup.example.com/" + m.name, CredentialsSecretRef: &v1alpha1.LocalReference{Name: "repo"}}
	healthy(h)
	if m.change != nil {
		m.change(h)
	}
	status := h.Status
	if err := w.admin.Create(w.t.Context(), h); err != nil {
		w.t.Fatalf("Host %s: %v", m.name, err)
	}
	h.Status = status
	if err := w.admin.Status().Update(w.t.Context(), h); err != nil {
		w.t.Fatalf("status of Host %s: %v", m.name, err)
	}
}

// createSummaries makes a SourceGroup that a Schedule fires, and one that nobody does.
func (w *world) createSummaries() {
	w.t.Helper()
	fired, forgotten, nightly := &v1alpha1.SourceGroup{}, &v1alpha1.SourceGroup{}, &v1alpha1.Schedule{}
	for _, g := range []*v1alpha1.SourceGroup{fired, forgotten} {
		g.Spec.HostRef, g.Spec.Includes = &v1alpha1.LocalReference{Name: "fine"}, []string{"/etc"}
	}
	fired.Name, forgotten.Name, nightly.Name = "etc", "forgotten", "nightly"
	nightly.Spec.Cron, nightly.Spec.SourceGroups = "30 2 * * *", []string{"etc"}
	summary := v1alpha1.FleetSummary{HostsMatched: 3, HostsApplied: 3, HostsSucceeded: 1, HostsFailing: 1, HostsNeverRan: 1}
	for _, object := range []client.Object{fired, forgotten, nightly} {
		object.SetNamespace(w.namespace)
		if err := w.admin.Create(w.t.Context(), object); err != nil {
			w.t.Fatal(err)
		}
	}
	fired.Status.FleetSummary, forgotten.Status.FleetSummary, nightly.Status.FleetSummary = summary, summary, summary
	for _, object := range []client.Object{fired, forgotten, nightly} {
		if err := w.admin.Status().Update(w.t.Context(), object); err != nil {
			w.t.Fatal(err)
		}
	}
}

// startCollector runs a manager with the collector alone: reconcilers would put the fleet in order.
func (w *world) startCollector() (address string) {
	w.t.Helper()
	writes := metrics.NewWrites()
	config := env.Shared(w.t).RESTConfig()
	config.Wrap(writes.Wrap)
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: controllers.NewScheme(), Metrics: metricsserver.Options{BindAddress: "0"}, Logger: logr.Discard(),
		Cache: cache.Options{DefaultNamespaces: map[string]cache.Config{w.namespace: {}}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(writes, metrics.New(metrics.Options{Reader: mgr.GetClient(), Elected: mgr.Elected(), Clock: clock.RealClock{},
		Logger: slog.New(slog.DiscardHandler)}))
	end := w.start("the collector", mgr.Start)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	server := &http.Server{Handler: promhttp.HandlerFor(prometheus.Gatherers{registry, ctrlmetrics.Registry}, promhttp.HandlerOpts{}), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	w.endCollector = func() { end(); _ = server.Close() }
	w.t.Cleanup(w.endCollector)
	return listener.Addr().String()
}

// startGateway runs a real gateway, to which nobody connects.
func (w *world) startGateway() (address string) {
	w.t.Helper()
	ca, err := env.EnsureCA(w.t.TempDir(), "test CA")
	if err != nil {
		w.t.Fatal(err)
	}
	leaf, err := ca.Issue("gateway", env.LeafRequest{})
	if err != nil {
		w.t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(leaf.CertFile, leaf.KeyFile)
	if err != nil {
		w.t.Fatal(err)
	}
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			w.t.Fatal(err)
		}
	}
	gateway, err := agentgateway.New(agentgateway.Options{
		Config: env.Shared(w.t).RESTConfig(), Namespace: "restic-manager-system", Instance: "monitoring", Listener: listeners[0], Metrics: listeners[1],
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil },
		Logger:      slog.New(slog.DiscardHandler), DrainSpread: time.Nanosecond,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.endGateway = w.start("the gateway", gateway.Run)
	env.Eventually(w.t, patience, "the gateway is ready", func(context.Context) error {
		if !gateway.Ready() {
			return errors.New("not yet")
		}
		return nil
	})
	return listeners[1].Addr().String()
}

// start runs something until the test ends, or the returned function is called.
func (w *world) start(what string, run func(context.Context) error) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	ended := false
	end = func() {
		cancel()
		if !ended {
			ended = true
			if err := <-done; err != nil {
				w.t.Errorf("%s ended: %v", what, err)
			}
		}
	}
	w.t.Cleanup(end)
	return end
}

// fires waits until exactly these alerts fire, each as "name host".
func (w *world) fires(what string, want []string) {
	w.t.Helper()
	slices.Sort(want)
	env.Eventually(w.t, patience, what, func(ctx context.Context) error {
		alerts, err := w.Alerts(ctx)
		if err != nil {
			return err
		}
		var got []string
		for _, a := range alerts {
			if a.State == "firing" {
				got = append(got, strings.TrimSpace(strings.TrimPrefix(a.Labels["alertname"], "ResticManager")+" "+a.Labels["host"]))
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("alerts (-want +got):\n%s", diff)
		}
		return nil
	})
}

// elsewhere are the alerts that this fleet cannot have: it has no agents, and no more hosts than have series.
var elsewhere = []string{"AgentsLost", "MetricsHostsOmitted"}

// What testdata/*.prom says by hand, the programs themselves say here.
func TestAlertsFireOnTheSeriesOfRealObjects(t *testing.T) {
	w := newWorld(t)
	want := []string{"BackupNeverRan"}
	seen := slices.Concat(elsewhere, want, []string{"NoLeader", "GatewayAbsent"}) // the last two below
	for _, machine := range fleet {
		for _, alert := range machine.alerts {
			want, seen = append(want, alert+" "+machine.name), append(seen, alert)
		}
	}
	for _, alert := range alerts(t) {
		if !slices.Contains(seen, strings.TrimPrefix(alert.Alert, "ResticManager")) {
			t.Errorf("no machine has the trouble of %s", alert.Alert)
		}
	}
	w.fires("each trouble has its alert, and nothing else has one", want)

	host := &v1alpha1.Host{}
	if err := w.admin.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "late"}, host); err != nil {
		t.Fatal(err)
	}
	host.Status.Overdue = nil
	if err := w.admin.Status().Update(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	w.fires("a backup that recovered has none", slices.DeleteFunc(want, func(a string) bool { return a == "BackupOverdue late" }))

	w.endCollector()
	w.endGateway()
	w.fires("whoever exports nothing is missed", []string{"GatewayAbsent", "NoLeader"})
}
