package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/restic-manager/restic-manager/controllers/webhook"
)

const maxWebhookNames = 10

// webhookOptions are the flags of the admission webhook.
type webhookOptions struct {
	address       string
	certDir       string
	names         []string
	configuration string
}

func (o *webhookOptions) addFlags(command *cobra.Command) {
	f := command.Flags()
	f.StringVar(&o.address, "webhook-bind-address", ":9443", "where the admission webhook is served over HTTPS; 0 for nowhere")
	f.StringVar(&o.certDir, "webhook-cert-dir", "",
		"folder with tls.crt and tls.key for the webhook, read again when they change; the configuration's caBundle is then yours (default: a certificate is made and renewed)")
	f.StringSliceVar(&o.names, "webhook-names", nil,
		"DNS names or IP addresses in the certificate that is made for the webhook, comma-separated (default: "+webhook.DefaultName("<namespace>")+")")
	f.StringVar(&o.configuration, "webhook-configuration", webhook.ConfigurationName, "ValidatingWebhookConfiguration that gets the authority of the certificate that is made")
}

func (o *webhookOptions) off() bool { return o.address == "" || o.address == "0" }

// check tells what is wrong with the flags, each by its name.
func (o *webhookOptions) check() error {
	if o.off() {
		return nil
	}
	_, port, err := net.SplitHostPort(o.address)
	if err != nil {
		return fmt.Errorf("--webhook-bind-address %q must be host:port, :port, or 0 for no webhook", o.address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("--webhook-bind-address %q: the port must be a number from 1 to 65535", o.address)
	}
	if len(o.names) > maxWebhookNames {
		return fmt.Errorf("--webhook-names holds %d names, at most %d are allowed", len(o.names), maxWebhookNames)
	}
	for _, name := range o.names {
		if net.ParseIP(name) == nil && len(validation.IsDNS1123Subdomain(name)) > 0 {
			return fmt.Errorf("--webhook-names: %q is neither a DNS name nor an IP address", name)
		}
	}
	if o.certDir == "" {
		return nil
	}
	if _, err := tls.LoadX509KeyPair(filepath.Join(o.certDir, "tls.crt"), filepath.Join(o.certDir, "tls.key")); err != nil {
		return fmt.Errorf("--webhook-cert-dir: %w", err)
	}
	return nil
}

func (o *webhookOptions) setup(mgr ctrl.Manager, namespace string, watched []string) error {
	if o.off() {
		return nil
	}
	return webhook.Setup(mgr, webhook.Options{
		Namespace: namespace, BindAddress: o.address, CertDir: o.certDir, Names: o.names, Configuration: o.configuration, WatchNamespaces: watched,
	})
}
