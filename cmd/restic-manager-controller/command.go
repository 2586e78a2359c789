package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/restic-manager/restic-manager/controllers"
	"github.com/restic-manager/restic-manager/controllers/metrics"
	"github.com/restic-manager/restic-manager/controllers/overdue"
	"github.com/restic-manager/restic-manager/controllers/signing"
	"github.com/restic-manager/restic-manager/internal/version"
)

// leaderLease is the Lease by which one of several processes leads, in the operator's namespace.
const leaderLease = "restic-manager-controller"

type options struct {
	namespace       string
	watchNamespaces []string
	gatewayURL      string
	gatewayCAFile   string
	installScript   string
	tokenTTL        time.Duration
	overdueMinGrace time.Duration
	tombstoneTTL    time.Duration
	leaderElect     bool
	metricsAddress  string
	metricsHosts    int
	probeAddress    string
	logLevel        string
	logFormat       string
	webhook         webhookOptions
	gatewayTLS      gatewayTLSOptions
	keyOverlap      time.Duration
}

func newCommand() *cobra.Command {
	o := options{}
	command := &cobra.Command{
		Use:           "restic-manager-controller",
		Short:         "Reconcile the Hosts, SourceGroups, Schedules and HostJobs of restic-manager.",
		Version:       version.Version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	f := command.Flags()
	f.StringVar(&o.namespace, "namespace", cmp.Or(os.Getenv("POD_NAMESPACE"), "restic-manager-system"),
		"namespace of the operator: its signing key and its Leases are there (environment: POD_NAMESPACE)")
	f.StringSliceVar(&o.watchNamespaces, "watch-namespaces", nil, "namespaces whose objects are reconciled, comma-separated (default: all)")
	f.StringVar(&o.gatewayURL, "gateway-url", "", "where machines find the gateway, https://host[:port]; it goes into enrolment tokens (required)")
	f.StringVar(&o.gatewayCAFile, "gateway-ca-file", "",
		"PEM file with the certificate authorities of the gateway; machines then trust the gateway's certificate by these alone (default: by their own trust store)")
	f.StringVar(&o.installScript, "install-script", "",
		"the install.sh that the gateway serves; its checksum goes into enrolment Secrets, in a line that installs the agent too (default: no such line)")
	f.DurationVar(&o.tokenTTL, "token-ttl", controllers.DefaultTokenTTL, "how long an enrolment token is good for")
	f.DurationVar(&o.overdueMinGrace, "overdue-min-grace", overdue.MinGrace,
		"how late a backup must be at least before it counts as overdue; beyond that it is a quarter of the interval of its Schedule, 6h at most")
	f.DurationVar(&o.tombstoneTTL, "tombstone-ttl", controllers.DefaultTombstoneTTL,
		"how long a machine may stay away after its Host was removed and still be told; then its ScheduleSet is deleted")
	f.BoolVar(&o.leaderElect, "leader-elect", true, "let only one of several controllers work at a time")
	f.StringVar(&o.metricsAddress, "metrics-bind-address", ":8080", "where metrics are served over HTTP; 0 for nowhere")
	f.IntVar(&o.metricsHosts, "metrics-host-limit", metrics.DefaultHostLimit, "Hosts that have metrics of their own at most; those that come last by namespace and name are left out")
	f.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "where /healthz and /readyz are served over HTTP; 0 for nowhere")

	o.webhook.addFlags(command)
	o.gatewayTLS.addFlags(command)
	f.DurationVar(&o.keyOverlap, "signing-key-overlap", signing.DefaultOverlap, "how long a signing key that was replaced signs on at least, for machines that sleep")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "json", "json or text")

	standard := flag.NewFlagSet("", flag.ContinueOnError)
	config.RegisterFlags(standard) // --kubeconfig
	f.AddGoFlagSet(standard)
	return command
}

func (o *options) run(ctx context.Context) error {
	logger, err := newLogger(os.Stderr, o.logLevel, o.logFormat)
	if err != nil {
		return err
	}
	ctrl.SetLogger(logger)
	klog.SetLogger(logger) // client-go's own
	log := logger.WithName("setup")
	if err := o.check(); err != nil {
		return err
	}
	pins, err := pinsOf(o.gatewayCAFile)
	if err != nil {
		return fmt.Errorf("--gateway-ca-file: %w", err)
	}
	installSum, err := installSumOf(o.installScript)
	if err != nil {
		return fmt.Errorf("--install-script: %w", err)
	}
	restConfig, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the API server (set --kubeconfig outside a cluster): %w", err)
	}
	restConfig.UserAgent = "restic-manager-controller/" + version.Version
	writes := metrics.NewWrites()
	restConfig.Wrap(writes.Wrap)

	scheme := controllers.NewScheme()
	mgr, err := ctrl.NewManager(restConfig, manager.Options{
		Scheme:                        scheme,
		Cache:                         controllers.CacheOptions(o.namespace, o.watchNamespaces),
		Metrics:                       metricsserver.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress:        o.probeAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              leaderLease,
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true, // run returns right after the manager does, and the process ends
		GracefulShutdownTimeout:       ptr.To(10 * time.Second),
	})
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	progress := &signing.Progress{}
	about := metrics.New(metrics.Options{Reader: mgr.GetClient(), KeyRotation: progress.Waiting, Elected: mgr.Elected(), HostLimit: o.metricsHosts, Clock: clock.RealClock{},
		Logger: slog.New(logr.ToSlogHandler(logger.WithName("metrics")))})
	for _, collector := range []prometheus.Collector{about, writes} {
		if err := ctrlmetrics.Registry.Register(collector); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	// The manager's own client reads from a cache that has neither started yet nor holds this Secret.
	live, err := client.New(restConfig, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	if err := o.gatewayTLS.checkSecret(ctx, live, o.namespace); err != nil {
		return err
	}
	keys, err := signing.LoadOrCreate(ctx, live, o.namespace, o.watchNamespaces)
	if err != nil {
		return err
	}
	if err := controllers.Setup(mgr, controllers.Options{
		Namespace: o.namespace, GatewayURL: o.gatewayURL, TLSPins: pins, TokenTTL: o.tokenTTL, TombstoneTTL: o.tombstoneTTL, OverdueMinGrace: o.overdueMinGrace, Keys: keys,
		WatchNamespaces: o.watchNamespaces, SigningKeyOverlap: o.keyOverlap, KeyProgress: progress,
		GatewayTLSSecret: o.gatewayTLS.secret, GatewayTLSNames: o.gatewayTLS.namesFor(o.gatewayURL, o.namespace),
		InstallSHA256: installSum,
	}); err != nil {
		return err
	}
	if err := o.webhook.setup(mgr, o.namespace, o.watchNamespaces); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := addReadiness(mgr); err != nil {
		return err
	}
	log.Info("starting", "version", version.Version, "namespace", o.namespace, "gatewayURL", o.gatewayURL, "pins", len(pins), "signingKey", keys.PublicKeys()[0].KeyID)
	return mgr.Start(ctx)
}
