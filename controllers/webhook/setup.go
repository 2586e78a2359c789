package webhook

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strconv"

	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/webhook/certs"
)

// PathPrefix begins the path of each kind; its plural follows, as in /validate/schedules.
const PathPrefix = "/validate/"

// Names of the objects in config/webhook.
const (
	ConfigurationName = "restic-manager"
	ServiceName       = "restic-manager-webhook"
)

// Live reads answer questions of whoever reaches the port: they may not use up what the API server gives the reconcilers.
const (
	liveQPS   = 20
	liveBurst = 40
)

// Options of Setup.
type Options struct {
	// Namespace of the operator.
	Namespace string
	// BindAddress is where to listen, host:port; an empty host means everywhere.
	BindAddress string
	// CertDir holds tls.crt and tls.key, which are read again when they change. Empty: the certificate is made and renewed here.
	CertDir string
	// Names by which API servers reach this replica, DNS names or IP addresses, where the certificate is made here. Default: DefaultName.
	Names []string
	// Configuration is the ValidatingWebhookConfiguration that gets the authority of a certificate that is made here. Default: ConfigurationName.
	Configuration string
	// WatchNamespaces are those whose objects are judged; none means all.
	WatchNamespaces []string
	// Clock, default the real one.
	Clock clock.WithTicker
}

// DefaultName is by what API servers call the Service in config/webhook.
func DefaultName(namespace string) string { return ServiceName + "." + namespace + ".svc" }

// Setup adds the webhook to a manager, with its server and, without CertDir, what looks after its certificate. It fails for files that are no certificate; a
// missing permission or configuration is told in the log later, and the manager works without.
func Setup(mgr ctrl.Manager, o Options) error {
	options, err := serverOptions(o)
	if err != nil {
		return err
	}
	config := rest.CopyConfig(mgr.GetConfig())
	config.QPS, config.Burst = liveQPS, liveBurst
	live, err := client.NewWithWatch(config, client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	if o.CertDir == "" {
		if err := keepCertificate(mgr, live, o, &options); err != nil {
			return err
		}
	}
	server := webhook.NewServer(options)
	for plural, hook := range handlers(mgr, live, o.WatchNamespaces) {
		server.Register(PathPrefix+plural, hook)
	}
	if err := watch(mgr); err != nil {
		return err
	}
	return mgr.Add(server)
}

func serverOptions(o Options) (webhook.Options, error) {
	host, port, err := net.SplitHostPort(o.BindAddress)
	if err != nil {
		return webhook.Options{}, fmt.Errorf("webhook: the address to listen on: %w", err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return webhook.Options{}, fmt.Errorf("webhook: the address to listen on is %q, its port must be a number from 1 to 65535", o.BindAddress)
	}
	return webhook.Options{Host: host, Port: int(number), CertDir: o.CertDir}, nil
}

func keepCertificate(mgr ctrl.Manager, live client.WithWatch, o Options, options *webhook.Options) error {
	if len(o.Names) == 0 {
		o.Names = []string{DefaultName(o.Namespace)}
	}
	if o.Configuration == "" {
		o.Configuration = ConfigurationName
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	keeper := &certs.Keeper{
		Client: live, Namespace: o.Namespace, Configuration: o.Configuration, Names: o.Names, Clock: o.Clock, Log: mgr.GetLogger().WithName("webhook"),
	}
	options.TLSOpts = []func(*tls.Config){func(c *tls.Config) { c.GetCertificate = keeper.GetCertificate }}
	if err := mgr.AddReadyzCheck("webhook", keeper.Ready); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	return mgr.Add(keeper)
}

func handlers(mgr ctrl.Manager, live client.Reader, namespaces []string) map[string]*admission.Webhook {
	see := sight{cached: mgr.GetClient(), live: live}
	watched := func(namespace string) bool { return len(namespaces) == 0 || slices.Contains(namespaces, namespace) }
	scheme := mgr.GetScheme()
	return map[string]*admission.Webhook{
		"hosts":            newHandler(scheme, "Host", see, watched, hosts),
		"sourcegroups":     newHandler(scheme, "SourceGroup", see, watched, sourceGroups),
		"schedules":        newHandler(scheme, "Schedule", see, watched, schedules),
		"repomaintenances": newHandler(scheme, "RepoMaintenance", see, watched, repoMaintenances),
		"hostjobs":         newHandler(scheme, "HostJob", see, watched, hostJobs),
	}
}

// watch fills the cache also where no reconciler runs: on replicas that do not lead.
func watch(mgr ctrl.Manager) error {
	for _, object := range []client.Object{&v1alpha1.Host{}, &v1alpha1.SourceGroup{}, &v1alpha1.Schedule{}} {
		if _, err := mgr.GetCache().GetInformer(context.Background(), object, cache.BlockUntilSynced(false)); err != nil {
			return fmt.Errorf("webhook: watching %T: %w", object, err)
		}
	}
	return nil
}
