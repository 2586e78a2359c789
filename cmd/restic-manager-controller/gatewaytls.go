package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/controllers/gatewaycert"
)

const (
	maxGatewayNames = 10
	// gatewayService is the name of the gateway's Service in config/manager.
	gatewayService = "restic-manager-gateway"
)

// gatewayTLSOptions are the flags of the certificate that is made for the gateway.
type gatewayTLSOptions struct {
	secret string
	names  []string
}

func (o *gatewayTLSOptions) addFlags(command *cobra.Command) {
	f := command.Flags()
	f.StringVar(&o.secret, "gateway-tls-secret", "",
		"Secret of the operator's namespace, for instance restic-manager-gateway-tls, in which a certificate for the gateway is made and renewed; machines pin its authority (default: the certificate is yours to make)")
	f.StringSliceVar(&o.names, "gateway-tls-names", nil,
		"DNS names or IP addresses in that certificate, comma-separated (default: the host of --gateway-url, and "+gatewayService+".<namespace>.svc)")
}

// check tells what is wrong with the flags, each by its name. pins are how many --gateway-ca-file gives.
func (o *gatewayTLSOptions) check() error {
	if o.secret == "" {
		if len(o.names) > 0 {
			return fmt.Errorf("--gateway-tls-names is of no use without %s", gatewaycert.Flag)
		}
		return nil
	}
	if problems := validation.IsDNS1123Subdomain(o.secret); len(problems) > 0 {
		return fmt.Errorf("%s %q cannot be the name of a Secret: use lower case letters, digits, hyphens and dots", gatewaycert.Flag, o.secret)
	}
	if len(o.names) > maxGatewayNames {
		return fmt.Errorf("--gateway-tls-names holds %d names, at most %d are allowed", len(o.names), maxGatewayNames)
	}
	for _, name := range o.names {
		if net.ParseIP(name) == nil && len(validation.IsDNS1123Subdomain(name)) > 0 {
			return fmt.Errorf("--gateway-tls-names: %q is neither a DNS name nor an IP address", name)
		}
	}
	return nil
}

// namesFor are those of the flag, or the default. gatewayURL was checked.
func (o *gatewayTLSOptions) namesFor(gatewayURL, namespace string) []string {
	if len(o.names) > 0 {
		return o.names
	}
	names := []string{gatewayService + "." + namespace + ".svc"}
	if u, err := url.Parse(gatewayURL); err == nil && !slices.Contains(names, u.Hostname()) {
		names = append(names, u.Hostname())
	}
	return names
}

// checkSecret finds out before the start whether a Secret is in the way.
func (o *gatewayTLSOptions) checkSecret(ctx context.Context, live client.Reader, namespace string) error {
	if o.secret == "" {
		return nil
	}
	return gatewaycert.Check(ctx, live, namespace, o.secret)
}
