package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/signing"
	"github.com/restic-manager/restic-manager/internal/memlimit"
	"github.com/restic-manager/restic-manager/test/env"
)

// Namespace is where the operator runs.
const Namespace = "restic-manager-system"

// Options of a stack.
type Options struct {
	// Dir holds everything; required.
	Dir string
	// BinDir has the built programs; default: bin in the repository.
	BinDir string
	// ControlPlane is used when set, and left running; default: one of its own.
	ControlPlane *env.ControlPlane
	// Gateways is the number of gateway replicas, default 1.
	Gateways int
	// Balanced puts a Balancer before the replicas; implied by more than one.
	Balanced bool
	// ControllerArgs and GatewayArgs are added to the programs' flags.
	ControllerArgs []string
	GatewayArgs    []string
	// Detach lets everything outlive this process.
	Detach bool
	// Log gets progress, default: none.
	Log func(format string, args ...any)
}

// Stack is a running restic-manager.
type Stack struct {
	Options
	CP *env.ControlPlane
	CA *env.CA
	// Rest and AppendOnly serve the same repositories, each with users of its own: whoever is let in by Rest may delete, by AppendOnly not.
	Rest       *env.RestServer
	AppendOnly *env.RestServer
	Controller *env.Process
	// Webhook is where the controllers answer the API server.
	Webhook  string
	Replicas []*Gateway
	Balancer *Balancer
	// URL is where agents find the gateway.
	URL string
	// ControllerMetrics is where the controllers serve metrics, host:port.
	ControllerMetrics string

	root   string
	ownsCP bool
}

// Gateway is one replica.
type Gateway struct {
	*env.Process
	Instance string
	Address  string
	// Metrics is where it serves metrics, host:port.
	Metrics string
}

// Start starts everything and waits until it is ready. After an error nothing is left running.
func Start(ctx context.Context, options Options) (*Stack, error) {
	s := &Stack{Options: options}
	if s.Log == nil {
		s.Log = func(string, ...any) {}
	}
	if s.Gateways == 0 {
		s.Gateways = 1
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context) error {
	var err error
	if s.root, err = env.Root(); err != nil {
		return err
	}
	if s.BinDir == "" {
		s.BinDir = filepath.Join(s.root, "bin")
	}
	if s.CA, err = env.EnsureCA(filepath.Join(s.Dir, "pki"), "restic-manager playground"); err != nil {
		return err
	}
	if s.CP = s.ControlPlane; s.CP == nil {
		s.ownsCP = true
		s.CP, err = env.Start(ctx, env.Options{
			Dir: filepath.Join(s.Dir, "control-plane"), CRDs: []string{filepath.Join(s.root, "config/crd/bases")}, Detach: s.Detach, Log: s.Log,
		})
		if err != nil {
			return err
		}
	}
	if err := s.writeShim(); err != nil {
		return err
	}
	if err := s.startRestServers(ctx); err != nil {
		return err
	}
	if err := s.deploy(ctx); err != nil {
		return err
	}
	if err := s.startGateways(ctx); err != nil {
		return err
	}
	return s.startController(ctx)
}

// startRestServers starts the two ways to one folder of repositories.
func (s *Stack) startRestServers(ctx context.Context) (err error) {
	options := env.RestServerOptions{Dir: filepath.Join(s.Dir, "rest-server"), CA: s.CA, Detach: s.Detach, Log: s.Log}
	if s.Rest, err = env.StartRestServer(ctx, options); err != nil {
		return err
	}
	options.Name, options.Data, options.AppendOnly = env.RestServerBinary+"-append-only", s.Rest.Data, true
	s.AppendOnly, err = env.StartRestServer(ctx, options)
	return err
}

// deploy applies what the programs need in the cluster.
func (s *Stack) deploy(ctx context.Context) error {
	s.Log("applying CRDs, RBAC, admission policies and flow control")
	if _, err := s.CP.KubectlInput(ctx, s.CP.AdminKubeconfig, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+Namespace+"}\n", "apply", "-f", "-"); err != nil {
		return err
	}
	for _, dir := range []string{"config/crd", "config/rbac", "config/admission", "config/flowcontrol"} {
		if _, err := s.CP.Kubectl(ctx, "apply", "--server-side", "-k", filepath.Join(s.root, dir)); err != nil {
			return fmt.Errorf("apply %s: %w", dir, err)
		}
	}
	return nil
}

func (s *Stack) startGateways(ctx context.Context) error {
	leaf, err := s.CA.Issue("gateway", env.LeafRequest{})
	if err != nil {
		return err
	}
	// Agents pin the CA, so the chain that is served must hold it.
	chain := filepath.Join(s.Dir, "pki", "gateway-chain.crt")
	if err := concatenate(chain, leaf.CertFile, s.CA.CertFile); err != nil {
		return err
	}
	_, kubeconfig, err := s.CP.ServiceAccountConfig(ctx, Namespace, "restic-manager-gateway")
	if err != nil {
		return err
	}
	for i := range s.Gateways {
		port, err := env.FreePort()
		if err != nil {
			return err
		}
		probe, err := env.FreePort()
		if err != nil {
			return err
		}
		metrics, err := freeAddress()
		if err != nil {
			return err
		}
		instance := "replica-" + strconv.Itoa(i)
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		args := append([]string{
			"--kubeconfig=" + kubeconfig, "--namespace=" + Namespace, "--instance-id=" + instance,
			"--listen-address=" + address, "--tls-cert-file=" + chain, "--tls-private-key-file=" + leaf.KeyFile,
			"--metrics-bind-address=" + metrics, "--health-probe-bind-address=127.0.0.1:" + strconv.Itoa(probe),
		}, s.GatewayArgs...)
		process, err := env.StartProcess(ctx, s.program("restic-manager-gateway", instance, args, probe))
		if err != nil {
			return err
		}
		s.Replicas = append(s.Replicas, &Gateway{Process: process, Instance: instance, Address: address, Metrics: metrics})
	}
	s.URL = "https://" + s.Replicas[0].Address
	if s.Gateways > 1 || s.Balanced {
		if s.Balancer, err = NewBalancer(s.Replicas[0].Address); err != nil {
			return err
		}
		s.URL = "https://" + s.Balancer.Address()
	}
	return nil
}

func (s *Stack) startController(ctx context.Context) error {
	_, kubeconfig, err := s.CP.ServiceAccountConfig(ctx, Namespace, "restic-manager-controller")
	if err != nil {
		return err
	}
	probe, err := env.FreePort()
	if err != nil {
		return err
	}
	if s.ControllerMetrics, err = freeAddress(); err != nil {
		return err
	}
	if s.Webhook, err = freeAddress(); err != nil {
		return err
	}
	if err := DeployWebhook(ctx, s.CP, s.Webhook); err != nil {
		return err
	}
	args := append([]string{
		"--kubeconfig=" + kubeconfig, "--namespace=" + Namespace, "--gateway-url=" + s.URL, "--gateway-ca-file=" + s.CA.CertFile,
		"--metrics-bind-address=" + s.ControllerMetrics, "--health-probe-bind-address=127.0.0.1:" + strconv.Itoa(probe),
		"--webhook-bind-address=" + s.Webhook, "--webhook-names=127.0.0.1",
	}, s.ControllerArgs...)
	if s.Controller, err = env.StartProcess(ctx, s.program("restic-manager-controller", "controller", args, probe)); err != nil {
		return err
	}
	return AwaitWebhook(ctx, s.CP)
}

func freeAddress() (string, error) {
	port, err := env.FreePort()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}

func (s *Stack) program(binary, name string, args []string, probePort int) env.Command {
	return env.Command{
		Name: name, Path: filepath.Join(s.BinDir, binary), Args: args, Dir: s.Dir,
		Env:     []string{"PATH=/usr/bin:/bin", memlimit.Env + "=" + strconv.Itoa(512<<20)}, // as in config/manager
		LogFile: s.LogFile(name), PIDFile: filepath.Join(s.Dir, "run", name+".pid"),
		Ready: httpReady(fmt.Sprintf("http://127.0.0.1:%d/readyz", probePort)), Detach: s.Detach, Log: s.Log,
	}
}

// Spread lets the Balancer send new connections to all replicas in turn.
func (s *Stack) Spread() {
	var addresses []string
	for _, g := range s.Replicas {
		addresses = append(addresses, g.Address)
	}
	s.Balancer.Spread(addresses...)
}

// Drain stops a replica as a rollout does: new connections go to the others first, then its agents are asked to move.
func (s *Stack) Drain(g *Gateway) error {
	if s.Balancer != nil {
		s.Balancer.Without(g.Address)
	}
	return g.Stop()
}

// SigningKeys are the controllers' public keys, which a machine gets by its enrolment.
func (s *Stack) SigningKeys(ctx context.Context) ([]wire.SigningKey, error) {
	c, err := s.Client()
	if err != nil {
		return nil, err
	}
	var secret corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: signing.SecretName}, &secret); err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	keys, err := signing.Load(&secret)
	if err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	return keys.PublicKeys(), nil
}

// LogFile is where a program of this stack writes.
func (s *Stack) LogFile(name string) string { return filepath.Join(s.Dir, "logs", name+".log") }

// Client returns a client with the admin's rights that knows the API of restic-manager.
func (s *Stack) Client() (client.Client, error) { return NewClient(s.CP.RESTConfig()) }

// NewClient returns a client for a configuration that knows the API of restic-manager.
func NewClient(config *rest.Config) (client.Client, error) {
	return client.New(config, client.Options{Scheme: Scheme()})
}

// Stop ends everything that this stack started; a control plane that was given stays.
func (s *Stack) Stop() error {
	var errs []error
	if s.Balancer != nil {
		errs = append(errs, s.Balancer.Close())
	}
	if s.Controller != nil {
		errs = append(errs, s.Controller.Stop())
	}
	for _, g := range s.Replicas {
		errs = append(errs, g.Stop())
	}
	for _, server := range []*env.RestServer{s.AppendOnly, s.Rest} {
		if server != nil {
			errs = append(errs, server.Stop())
		}
	}
	if s.ownsCP && s.CP != nil {
		errs = append(errs, s.CP.Stop())
	}
	return errors.Join(errs...)
}

func concatenate(target string, sources ...string) error {
	var all []byte
	for _, source := range sources {
		raw, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		all = append(all, raw...)
	}
	return os.WriteFile(target, all, 0o644)
}
