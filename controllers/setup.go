package controllers

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/host"
	"github.com/restic-manager/restic-manager/controllers/hostjob"
	"github.com/restic-manager/restic-manager/controllers/hostquery"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/controllers/overdue"
	"github.com/restic-manager/restic-manager/controllers/repomaintenance"
	"github.com/restic-manager/restic-manager/controllers/schedule"
	"github.com/restic-manager/restic-manager/controllers/signing"
	"github.com/restic-manager/restic-manager/controllers/sourcegroup"
)

const (
	// DefaultTokenTTL is how long an enrolment token is good for.
	DefaultTokenTTL = time.Hour
	// DefaultTombstoneTTL is how long a removed Host's machine may stay away and still be told.
	DefaultTombstoneTTL = 30 * 24 * time.Hour
)

// Options of Setup.
type Options struct {
	// Namespace of the operator, where the gateways' Leases are.
	Namespace string
	// GatewayURL is where machines find the gateway, and people their answers: https://host[:port].
	GatewayURL string
	// TLSPins pin the gateway's certificate chain ("sha256:<base64>" of a SubjectPublicKeyInfo). Empty: machines use their own trust store.
	TLSPins []string
	// InstallSHA256 is the checksum, in hex, of the installer that the gateway serves. Empty: enrolment Secrets hold no line that installs.
	InstallSHA256 string
	// TokenTTL, default DefaultTokenTTL.
	TokenTTL time.Duration
	// OverdueMinGrace is how late a backup must be at least before it is overdue. Default overdue.MinGrace.
	OverdueMinGrace time.Duration
	// TombstoneTTL, default DefaultTombstoneTTL.
	TombstoneTTL time.Duration
	// WatchNamespaces as in CacheOptions.
	WatchNamespaces []string
	// Keys sign what agents obey, as they were read at the start; the leader follows the Secret from there.
	Keys *signing.Keys
	// SigningKeyOverlap is how long a key that was replaced signs on. Default signing.DefaultOverlap.
	SigningKeyOverlap time.Duration
	// KeyProgress is told how far a rotation of the keys is; may be nil.
	KeyProgress *signing.Progress
	// GatewayTLSSecret names the Secret in which the gateway's certificate is kept, for GatewayTLSNames, and whose authorities are pinned beside TLSPins. Empty: it
	// is somebody else's affair.
	GatewayTLSSecret string
	GatewayTLSNames  []string
	// Clock, default the real one.
	Clock clock.WithTicker
}

// NewScheme returns a scheme with every kind that the controllers use.
func NewScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// CacheOptions are those of the manager's cache: of Secrets only those that are marked as credentials, of Leases only those of
// gateways in the operator's namespace. watched limits everything else to some namespaces; none means all.
func CacheOptions(namespace string, watched []string) cache.Options {
	options := cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Label: labels.SelectorFromSet(labels.Set{v1alpha1.LabelCredentials: "true"})},
			&coordinationv1.Lease{}: {
				Namespaces: map[string]cache.Config{namespace: {}},
				Label:      labels.SelectorFromSet(labels.Set{v1alpha1.GatewayLeaseLabel: v1alpha1.GatewayLeaseComponent}),
			},
		},
	}
	for _, w := range watched {
		if options.DefaultNamespaces == nil {
			options.DefaultNamespaces = map[string]cache.Config{}
		}
		options.DefaultNamespaces[w] = cache.Config{}
	}
	return options
}

// Setup adds every reconciler to a manager whose cache was made with CacheOptions.
func Setup(mgr ctrl.Manager, o Options) error {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.TokenTTL == 0 {
		o.TokenTTL = DefaultTokenTTL
	}
	if o.OverdueMinGrace == 0 {
		o.OverdueMinGrace = overdue.MinGrace
	}
	if err := selecting.AddIndexes(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
	if o.TombstoneTTL == 0 {
		o.TombstoneTTL = DefaultTombstoneTTL
	}
	trust, err := addTrust(mgr, o)
	if err != nil {
		return err
	}
	limited := len(o.WatchNamespaces) > 0
	var namespaces client.Reader = mgr.GetClient()
	if limited {
		namespaces = mgr.GetAPIReader()
	}
	reconcilers := []struct {
		kind       string
		reconciler interface{ SetupWithManager(ctrl.Manager) error }
	}{
		{"Host", &host.Reconciler{
			Client:     mgr.GetClient(),
			Live:       mgr.GetAPIReader(),
			Namespaces: namespaces,
			Clock:      o.Clock,
			Recorder:   mgr.GetEventRecorder(v1alpha1.ManagerControllers),
			Signer:     trust.ring,
			Gateways:   host.NewGateways(mgr.GetCache(), mgr.GetAPIReader(), o.Namespace, o.Clock),
			GatewayURL: o.GatewayURL,
			TLSPins:    trust.pins,
			News:       trust.pinNews(),
			TokenTTL:   o.TokenTTL,

			InstallSHA256: o.InstallSHA256,

			OverdueMinGrace: o.OverdueMinGrace,
			TombstoneTTL:    o.TombstoneTTL,
			Limited:         limited,
		}},
		{"SourceGroup", &sourcegroup.Reconciler{Client: mgr.GetClient(), Clock: o.Clock}},
		{"Schedule", &schedule.Reconciler{Client: mgr.GetClient(), Clock: o.Clock}},
		{"RepoMaintenance", &repomaintenance.Reconciler{
			Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Namespaces: namespaces, Clock: o.Clock, Collect: repomaintenance.DefaultCollect,
		}},
		{"HostJob", &hostjob.Reconciler{
			Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Namespaces: namespaces, Clock: o.Clock, Signer: trust.ring, News: trust.keyNews(),
			Recorder: mgr.GetEventRecorder(v1alpha1.ManagerControllers),
		}},
		{"HostQuery", &hostquery.Reconciler{
			Client: mgr.GetClient(), Namespaces: namespaces, Clock: o.Clock, Signer: trust.ring, News: trust.pinNews(),
			Gateway: func() v1alpha1.GatewayEndpoint {
				return v1alpha1.GatewayEndpoint{URL: o.GatewayURL, TLSPins: trust.pins()}
			},
		}},
	}
	for _, r := range reconcilers {
		if err := r.reconciler.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("setting up the reconciler of %s: %w", r.kind, err)
		}
	}
	return nil
}
