package agentgateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/restic-manager/restic-manager/agentgateway/stream/relay"
	"github.com/restic-manager/restic-manager/api/tlspin"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// replica returns another replica as its Lease describes it. It is read when it is needed: few answers are relayed, and Leases change every ten seconds.
func (g *Gateway) replica(ctx context.Context, instance string) (relay.Replica, error) {
	var lease coordinationv1.Lease
	key := client.ObjectKey{Namespace: g.o.Namespace, Name: v1alpha1.GatewayLeasePrefix + instance}
	if err := g.cluster.GetAPIReader().Get(ctx, key, &lease); err != nil {
		return relay.Replica{}, fmt.Errorf("reading the Lease of the replica: %w", err)
	}
	r := relay.Replica{Instance: instance, Address: lease.Annotations[v1alpha1.AnnotationRelayAddress], Pin: lease.Annotations[v1alpha1.AnnotationRelayPin]}
	if r.Address == "" || r.Pin == "" {
		return relay.Replica{}, errors.New("its Lease has no relay address: give that replica --relay-address")
	}
	return r, nil
}

// relayAnnotations are what other replicas find in this one's Lease. The certificate is asked for each time, so that one which was loaded again is told with the next
// renewal.
func (g *Gateway) relayAnnotations() map[string]string {
	if g.o.RelayAddress == "" {
		return nil
	}
	certificate, err := g.o.Certificate(&tls.ClientHelloInfo{})
	if err != nil {
		g.o.Logger.Warn("other replicas cannot relay to this one", "error", err)
		return nil
	}
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		g.o.Logger.Warn("other replicas cannot relay to this one", "error", err)
		return nil
	}
	return map[string]string{v1alpha1.AnnotationRelayAddress: g.o.RelayAddress, v1alpha1.AnnotationRelayPin: tlspin.Pin(leaf)}
}

// reachable is a listener's own address, if others can use it: one that listens on every address does not know which.
func reachable(listener net.Listener) string {
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok || address.IP.IsUnspecified() {
		return ""
	}
	return address.String()
}
