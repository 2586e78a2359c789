package env

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// controllers are those whose effects this project relies on; the others would only add requests.
var controllers = []string{
	"garbage-collector-controller",
	"namespace-controller",
	"clusterrole-aggregation-controller",
	"serviceaccount-controller",
	"serviceaccount-token-controller",
	"validatingadmissionpolicy-status-controller", // type-checks the policies' CEL
}

// pki is every key of the control plane: one CA for servers and clients.
type pki struct {
	ca                *CA
	server            *Leaf
	admin             *Leaf
	controllerManager *Leaf
	serviceAccountKey string // file
}

func ensurePKI(dir string) (*pki, error) {
	ca, err := EnsureCA(dir, "restic-manager test control plane")
	if err != nil {
		return nil, err
	}
	p := &pki{ca: ca, serviceAccountKey: filepath.Join(dir, "service-account.key")}
	if err := ensureKey(p.serviceAccountKey); err != nil {
		return nil, err
	}
	for _, leaf := range []struct {
		to      **Leaf
		name    string
		request LeafRequest
	}{
		{&p.server, "server", LeafRequest{Hosts: []string{"kubernetes", "kubernetes.default.svc"}}},
		{&p.admin, "admin", LeafRequest{CommonName: "admin", Organizations: []string{"system:masters"}}},
		{&p.controllerManager, "controller-manager", LeafRequest{CommonName: "system:kube-controller-manager"}},
	} {
		// An attached process must not replace the files under the running servers.
		if *leaf.to, err = ca.ensure(leaf.name, leaf.request); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (c *ControlPlane) buildProcesses() error {
	for _, component := range []struct {
		to      **Process
		name    string
		command func() Command
	}{
		{&c.etcd, Etcd, c.etcdCommand},
		{&c.apiServer, APIServer, c.apiServerCommand},
		{&c.controllerManager, ControllerManager, c.controllerManagerCommand},
	} {
		path, err := Binary(c.options.BinDir, component.name)
		if err != nil {
			return err
		}
		*component.to = c.process(component.name, path, component.command())
	}
	return nil
}

// rebuild makes the process anew after its ports have changed.
func (c *ControlPlane) rebuild(process **Process, command func() Command) {
	*process = c.process((*process).Name, (*process).Path, command())
}

func (c *ControlPlane) process(name, path string, command Command) *Process {
	command.Name = name
	command.Path = path
	command.Dir = c.Dir
	command.LogFile = filepath.Join(c.Dir, "logs", name+".log")
	command.PIDFile = filepath.Join(c.Dir, "run", name+".pid")
	command.Detach = c.options.Detach
	command.Log = c.options.Log
	return NewProcess(command)
}

func (c *ControlPlane) etcdCommand() Command {
	client, peer := "http://"+loopback(c.state.EtcdPort), "http://"+loopback(c.state.EtcdPeerPort)
	return Command{
		Args: []string{
			"--name=default",
			"--data-dir=" + filepath.Join(c.Dir, "etcd"),
			"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer,
			"--unsafe-no-fsync",
			"--log-level=warn",
		},
		Ready: func(ctx context.Context) error { return getHealth(ctx, client+"/health", nil) },
	}
}

func (c *ControlPlane) apiServerCommand() Command {
	return Command{
		Args: []string{
			"--etcd-servers=http://" + loopback(c.state.EtcdPort),
			"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
			"--secure-port=" + strconv.Itoa(c.state.APIServerPort),
			"--endpoint-reconciler-type=none", // would refuse a loopback address
			"--service-cluster-ip-range=10.96.0.0/24",
			"--enable-aggregator-routing", // no kube-proxy: a webhook behind a Service fails at once instead of at its timeout
			"--authorization-mode=Node,RBAC",
			"--client-ca-file=" + c.pki.ca.CertFile,
			"--tls-cert-file=" + c.pki.server.CertFile, "--tls-private-key-file=" + c.pki.server.KeyFile,
			"--cert-dir=" + filepath.Join(c.Dir, "pki"),
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + c.pki.serviceAccountKey,
			"--service-account-signing-key-file=" + c.pki.serviceAccountKey,
			"--audit-policy-file=" + filepath.Join(c.Dir, "audit-policy.yaml"),
			"--audit-log-path=" + c.auditFile(),
			"--audit-log-mode=blocking", // a request's entry is there before its response
			"--audit-log-maxsize=1024", "--audit-log-maxbackup=1",
		},
		Ready: func(ctx context.Context) error { return getHealth(ctx, c.URL()+"/readyz", c.adminTLS) },
		Grace: 5 * time.Second,
	}
}

func (c *ControlPlane) controllerManagerCommand() Command {
	kubeconfig := filepath.Join(c.Dir, "pki", "controller-manager.kubeconfig")
	address := loopback(c.state.ControllerManagerPort)
	return Command{
		Args: []string{
			"--kubeconfig=" + kubeconfig,
			"--controllers=" + strings.Join(slices.Concat(controllers, c.options.Controllers), ","),
			"--use-service-account-credentials",
			"--service-account-private-key-file=" + c.pki.serviceAccountKey,
			"--root-ca-file=" + c.pki.ca.CertFile,
			"--leader-elect=false",
			"--authentication-skip-lookup",
			"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(c.state.ControllerManagerPort),
			"--tls-cert-file=" + c.pki.server.CertFile, "--tls-private-key-file=" + c.pki.server.KeyFile,
			// Few objects live here: cheap, and a namespace is gone in a second.
			"--concurrent-gc-syncs=4", "--concurrent-namespace-syncs=4",
		},
		Ready: func(ctx context.Context) error { return getHealth(ctx, "https://"+address+"/healthz", c.adminTLS) },
		Grace: 3 * time.Second,
	}
}

func (c *ControlPlane) adminTLS() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.pki.admin.CertFile, c.pki.admin.KeyFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: c.pki.ca.Pool(), Certificates: []tls.Certificate{pair}}, nil
}

// getHealth returns nil when a URL answers 200 within 2 s.
func getHealth(ctx context.Context, url string, tlsConfig func() (*tls.Config, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true}
	if tlsConfig != nil {
		config, err := tlsConfig()
		if err != nil {
			return err
		}
		transport.TLSClientConfig = config
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", url, response.Status, body)
	}
	return nil
}

// ensure returns the leaf with that name, and issues it when there is none.
func (ca *CA) ensure(name string, request LeafRequest) (*Leaf, error) {
	leaf := &Leaf{CertFile: filepath.Join(ca.Dir, name+".crt"), KeyFile: filepath.Join(ca.Dir, name+".key")}
	if _, err := os.Stat(leaf.CertFile); err != nil {
		return ca.Issue(name, request)
	}
	pair, err := tls.LoadX509KeyPair(leaf.CertFile, leaf.KeyFile)
	if err != nil {
		return nil, err
	}
	leaf.Cert, leaf.Pin = pair.Leaf, SPKIPin(pair.Leaf)
	return leaf, nil
}
