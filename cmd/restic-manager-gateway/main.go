// Command restic-manager-gateway holds the connections of agents: one replica of the gateway.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/restic-manager/restic-manager/agentgateway"
	"github.com/restic-manager/restic-manager/agentgateway/install"
	"github.com/restic-manager/restic-manager/internal/memlimit"
	"github.com/restic-manager/restic-manager/internal/version"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

func main() {
	// What a gateway has in memory is there for as long as its agents are: half of it again is enough for what comes and goes.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	memlimit.Heed()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "restic-manager-gateway:", err)
		os.Exit(1)
	}
}

// flags are those of the command line.
type flags struct {
	listen, metrics, health   string
	relay                     string
	certFile, keyFile, caFile string
	namespace, instance       string
	helpURL, installDir       string
	heartbeat, drainSpread    time.Duration
	maxConnections            int
	connectRate               float64
	connectBurst              int
	logLevel, logFormat       string
}

func command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:           "restic-manager-gateway",
		Short:         "Hold the connections of restic-manager agents",
		Long:          "Holds the WebSockets of agents, offers each its newest signed schedule set and commands, and writes what agents report into status and Events.",
		Version:       version.Version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), &f) },
	}
	p := cmd.Flags()
	p.StringVar(&f.listen, "listen-address", ":8443", "address for agents, TLS")
	p.StringVar(&f.relay, "relay-address", "", "host:port where the other replicas reach this one, for answers that people collect from any of them (default: the environment's POD_IP with the port of --listen-address, or that address itself)")
	p.StringVar(&f.certFile, "tls-cert-file", "", "PEM certificate with its chain; served whole and loaded again when it changes (required)")
	p.StringVar(&f.keyFile, "tls-private-key-file", "", "PEM private key of the certificate (required)")
	p.StringVar(&f.caFile, "tls-ca-file", "", "PEM CA to serve after the chain, so that agents can pin it, where tls-cert-file does not end with it")
	p.StringVar(&f.metrics, "metrics-bind-address", ":8080", `address of /metrics, plain HTTP; "0" turns it off`)
	p.StringVar(&f.health, "health-probe-bind-address", ":8081", `address of /healthz and /readyz, plain HTTP; "0" turns them off`)
	p.StringVar(&f.namespace, "namespace", envOr("POD_NAMESPACE", "restic-manager-system"), "the operator's namespace, for this replica's Lease")
	p.StringVar(&f.instance, "instance-id", "", "name of this process, in its Lease and in connections; must be unique (default: random)")
	p.DurationVar(&f.heartbeat, "heartbeat-interval", 30*time.Second, "how often agents are asked to show that they live")
	p.DurationVar(&f.drainSpread, "drain-spread", 10*time.Second, "over how long agents reconnect elsewhere at a graceful stop; below 1s they are cut at once")
	p.StringVar(&f.helpURL, "help-url", "https://github.com/restic-manager/restic-manager/blob/main/docs/quickstart.md", "where people are sent whose agent is too old")
	p.StringVar(&f.installDir, "install-dir", "", "folder with install.sh and what it fetches, served below /install/ (default: not served)")
	p.IntVar(&f.maxConnections, "max-connections", 20000, "connections that this replica holds at most")
	p.Float64Var(&f.connectRate, "connect-rate", 1000, "connection attempts per second that are looked at; the others are told to come back later")
	p.IntVar(&f.connectBurst, "connect-burst", 2000, "connection attempts at once")
	p.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	p.StringVar(&f.logFormat, "log-format", "json", "json or text")
	p.AddGoFlag(flag.CommandLine.Lookup("kubeconfig")) // of controller-runtime
	for _, name := range []string{"tls-cert-file", "tls-private-key-file"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // no such flag: a mistake above
		}
	}
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.AddCommand(checkCommand())
	return cmd
}

func envOr(variable, value string) string {
	if v := os.Getenv(variable); v != "" {
		return v
	}
	return value
}

func run(ctx context.Context, f *flags) error {
	logger, err := newLogger(f)
	if err != nil {
		return err
	}
	slog.SetDefault(logger)
	logf.SetLogger(logr.FromSlogHandler(logger.Handler()))
	klog.SetSlogLogger(logger)

	cluster, err := config.GetConfig()
	if err != nil {
		return fmt.Errorf("no way to the API server: %w; run inside a cluster, or give --kubeconfig", err)
	}
	certificate := &agentgateway.Certificate{CertFile: f.certFile, KeyFile: f.keyFile, CAFile: f.caFile, Clock: clock.RealClock{}, Logger: logger}
	if err := certificate.Wait(ctx); err != nil {
		return err
	}
	options := agentgateway.Options{
		Config: rest.AddUserAgent(cluster, "restic-manager-gateway/"+version.Version), Namespace: f.namespace, Instance: f.instance,
		PodName: os.Getenv("POD_NAME"), PodUID: os.Getenv("POD_UID"), Certificate: certificate.Get,
		HelpURL: f.helpURL, Heartbeat: f.heartbeat, DrainSpread: max(f.drainSpread, time.Nanosecond), // 0 would be the default
		MaxConnections: f.maxConnections, ConnectRate: f.connectRate, ConnectBurst: f.connectBurst, Logger: logger,
	}
	for _, l := range []struct {
		flag, address string
		listener      *net.Listener
	}{
		{"listen-address", f.listen, &options.Listener},
		{"metrics-bind-address", f.metrics, &options.Metrics},
		{"health-probe-bind-address", f.health, &options.Health},
	} {
		if l.address == "0" && l.flag != "listen-address" {
			continue
		}
		if *l.listener, err = net.Listen("tcp", l.address); err != nil {
			return fmt.Errorf("--%s: %w", l.flag, err)
		}
	}
	if f.installDir != "" {
		if options.Install, err = install.Open(f.installDir); err != nil {
			return fmt.Errorf("--install-dir: %w", err)
		}
		defer options.Install.Close()
		logger.Info("the installer is served", "folder", f.installDir, "files", options.Install.Len())
	}
	options.RelayAddress = relayAddress(f.relay, os.Getenv("POD_IP"), options.Listener)
	gateway, err := agentgateway.New(options)
	if err != nil {
		return err
	}
	logger.Info("gateway begins", "version", version.Version, "instance", gateway.Instance())
	return gateway.Run(ctx)
}

// relayAddress is what other replicas dial; empty leaves it to the listener's own address.
func relayAddress(flag, podIP string, listener net.Listener) string {
	if flag != "" || podIP == "" {
		return flag
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return ""
	}
	return net.JoinHostPort(podIP, port)
}

func newLogger(f *flags) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.ToUpper(f.logLevel))); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", f.logLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	switch f.logFormat {
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, options)), nil
	}
	return nil, fmt.Errorf("--log-format %q: want json or text", f.logFormat)
}
