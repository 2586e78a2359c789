package controllers

import (
	"cmp"
	"fmt"
	"slices"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/gatewaycert"
	"github.com/restic-manager/restic-manager/controllers/internal/tidings"
	"github.com/restic-manager/restic-manager/controllers/signing"
)

// trust is what machines are told to trust: the keys that sign, and the pins of the gateway's certificate.
type trust struct {
	ring        *signing.Ring
	static      []string
	certificate *gatewaycert.Keeper // nil: the certificate is somebody else's affair
}

// addTrust adds those who look after keys and certificate.
func addTrust(mgr ctrl.Manager, o Options) (*trust, error) {
	live, err := client.NewWithWatch(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return nil, fmt.Errorf("setting up what looks after the signing keys: %w", err)
	}
	t := &trust{ring: signing.NewRing(o.Keys), static: o.TLSPins}
	if o.KeyProgress == nil {
		o.KeyProgress = &signing.Progress{}
	}
	if err := mgr.Add(&signing.Rotator{
		Client: live, Fleet: mgr.GetClient(), Namespace: o.Namespace, Ring: t.ring, Overlap: cmp.Or(o.SigningKeyOverlap, signing.DefaultOverlap), Progress: o.KeyProgress,
		Recorder: mgr.GetEventRecorder(v1alpha1.ManagerControllers), Clock: o.Clock, Log: mgr.GetLogger().WithName("signing"),
	}); err != nil || o.GatewayTLSSecret == "" {
		return t, err
	}
	t.certificate = &gatewaycert.Keeper{
		Client: live, Namespace: o.Namespace, Name: o.GatewayTLSSecret, Names: o.GatewayTLSNames, Clock: o.Clock, Log: mgr.GetLogger().WithName("gatewaycert"), News: &tidings.News{},
	}
	return t, mgr.Add(t.certificate)
}

// pins of the gateway, sorted.
func (t *trust) pins() []string {
	pins := slices.Clone(t.static)
	if t.certificate != nil {
		pins = append(pins, t.certificate.Pins()...)
	}
	slices.Sort(pins)
	return slices.Compact(pins)
}

func (t *trust) keyNews() []*tidings.News { return []*tidings.News{&t.ring.News} }

// pinNews are those of who publishes pins, too.
func (t *trust) pinNews() []*tidings.News {
	all := t.keyNews()
	if t.certificate != nil {
		all = append(all, t.certificate.News)
	}
	return all
}
