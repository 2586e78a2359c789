package env

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Options of a control plane.
type Options struct {
	Dir    string // holds everything; required. What an earlier control plane left here is taken up again
	BinDir string // default: see Binary

	// CRDs are files or folders of CustomResourceDefinitions that are installed, and established, before the controller
	// manager starts, so that the garbage collector knows them from the beginning.
	CRDs []string

	// Controllers of the controller manager beside those that every control plane has.
	Controllers []string

	Detach bool                             // outlive this process
	Log    func(format string, args ...any) // progress, default: none
}

// ControlPlane is etcd, kube-apiserver and kube-controller-manager. The files of interest in Dir: admin.kubeconfig,
// audit.log, logs/ and pki/ca.crt.
type ControlPlane struct {
	Dir             string
	AdminKubeconfig string // a member of system:masters, 0600
	CAFile          string // signs the API server's certificate

	options           Options
	state             state
	pki               *pki
	etcd              *Process
	apiServer         *Process
	controllerManager *Process
}

// state is what Attach needs to know and the folder's other files do not tell.
type state struct {
	EtcdPort              int
	EtcdPeerPort          int
	APIServerPort         int
	ControllerManagerPort int
}

// Start starts a control plane and waits until it serves and its default namespace has its service account. Without
// Detach it ends with this process at the latest.
func Start(ctx context.Context, options Options) (*ControlPlane, error) {
	if options.Dir == "" {
		return nil, errors.New("env.Start: Dir is required")
	}
	began := time.Now()
	c, err := newControlPlane(options)
	if err != nil {
		return nil, err
	}
	if err := c.buildProcesses(); err != nil {
		return nil, err
	}
	for _, process := range c.processes() {
		if pid := process.PID(); pid != 0 {
			return nil, fmt.Errorf("%s already runs in %s with pid %d: stop it, or use Attach", process.Name, c.Dir, pid)
		}
	}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	c.logf("control plane in %s is ready after %s: KUBECONFIG=%s", c.Dir, time.Since(began).Round(10*time.Millisecond), c.AdminKubeconfig)
	return c, nil
}

// Attach returns the control plane that another process started in dir with Detach. It may have stopped since: its
// methods then say so.
func Attach(options Options) (*ControlPlane, error) {
	options.Detach = true
	data, err := os.ReadFile(filepath.Join(options.Dir, "state.json"))
	if err != nil {
		return nil, fmt.Errorf("no control plane was started in %s: %w", options.Dir, err)
	}
	c, err := newControlPlane(options)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &c.state); err != nil {
		return nil, fmt.Errorf("reading the state of the control plane in %s: %w", options.Dir, err)
	}
	return c, c.buildProcesses()
}

func newControlPlane(options Options) (*ControlPlane, error) {
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, err
	}
	options.Dir = dir
	c := &ControlPlane{
		Dir:             dir,
		AdminKubeconfig: filepath.Join(dir, "admin.kubeconfig"),
		options:         options,
	}
	if c.pki, err = ensurePKI(filepath.Join(dir, "pki")); err != nil {
		return nil, fmt.Errorf("making the control plane's certificates: %w", err)
	}
	c.CAFile = c.pki.ca.CertFile
	return c, os.WriteFile(filepath.Join(dir, "audit-policy.yaml"), []byte(auditPolicy), 0o644)
}

func (c *ControlPlane) start(ctx context.Context) error {
	if err := c.startEtcd(ctx); err != nil {
		return err
	}
	if err := c.startAPIServer(ctx); err != nil {
		return err
	}
	if err := c.writeKubeconfigs(); err != nil {
		return err
	}
	for _, path := range c.options.CRDs {
		if err := c.InstallCRDs(ctx, path); err != nil {
			return err
		}
	}
	if err := c.startControllerManager(ctx); err != nil {
		return err
	}
	return c.saveState()
}

func (c *ControlPlane) startEtcd(ctx context.Context) error {
	c.logf("starting etcd")
	return onFreePorts(2, func(ports []int) error {
		c.state.EtcdPort, c.state.EtcdPeerPort = ports[0], ports[1]
		c.rebuild(&c.etcd, c.etcdCommand)
		return c.etcd.Start(ctx)
	})
}

func (c *ControlPlane) startAPIServer(ctx context.Context) error {
	c.logf("starting kube-apiserver")
	return onFreePorts(1, func(ports []int) error {
		c.state.APIServerPort = ports[0]
		c.rebuild(&c.apiServer, c.apiServerCommand)
		return c.apiServer.Start(ctx)
	})
}

func (c *ControlPlane) startControllerManager(ctx context.Context) error {
	c.logf("starting kube-controller-manager")
	err := onFreePorts(1, func(ports []int) error {
		c.state.ControllerManagerPort = ports[0]
		c.rebuild(&c.controllerManager, c.controllerManagerCommand)
		return c.controllerManager.Start(ctx)
	})
	if err != nil {
		return err
	}
	return Poll(ctx, time.Minute, "waiting for the default namespace's service account", func(ctx context.Context) error {
		_, err := c.Client().CoreV1().ServiceAccounts("default").Get(ctx, "default", getOptions)
		return err
	})
}

func (c *ControlPlane) saveState() error {
	data, err := json.MarshalIndent(c.state, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.Dir, "state.json"), append(data, '\n'), 0o644)
}

// Stop ends all three. What was stored stays in Dir.
func (c *ControlPlane) Stop() error {
	var errs []error
	for _, process := range c.processes() {
		errs = append(errs, process.Stop())
	}
	return errors.Join(errs...)
}

// PIDs are those of its processes, by name; 0 where one does not run.
func (c *ControlPlane) PIDs() map[string]int {
	pids := map[string]int{}
	for _, p := range c.processes() {
		pids[p.Name] = p.PID()
	}
	return pids
}

// processes returns all three in the order in which they are to stop.
func (c *ControlPlane) processes() []*Process {
	return []*Process{c.controllerManager, c.apiServer, c.etcd}
}

// StopAPIServer begins an outage of the API server: connections are cut at once. The controller manager stays and waits.
func (c *ControlPlane) StopAPIServer() error { return c.apiServer.Kill() }

// StartAPIServer ends an outage; the API server is on its old address and serves when this returns.
func (c *ControlPlane) StartAPIServer(ctx context.Context) error { return c.apiServer.Start(ctx) }

// StopControllerManager ends garbage collection, namespace deletion, role aggregation.
func (c *ControlPlane) StopControllerManager() error { return c.controllerManager.Stop() }

// StartControllerManager starts it again. Its garbage collector then knows all kinds that exist at that time.
func (c *ControlPlane) StartControllerManager(ctx context.Context) error {
	return c.controllerManager.Start(ctx)
}

// Running tells whether the API server's process runs.
func (c *ControlPlane) Running() bool { return c.apiServer.PID() != 0 }

// URL returns the API server's address.
func (c *ControlPlane) URL() string { return "https://" + loopback(c.state.APIServerPort) }

// EtcdURL returns where etcd serves its clients, without TLS.
func (c *ControlPlane) EtcdURL() string { return "http://" + loopback(c.state.EtcdPort) }

// RESTConfig returns the admin's client configuration: a member of system:masters, without a client-side rate limit.
func (c *ControlPlane) RESTConfig() *rest.Config {
	return &rest.Config{
		Host:      c.URL(),
		UserAgent: "env-admin",
		QPS:       -1,
		TLSClientConfig: rest.TLSClientConfig{
			CAFile:   c.pki.ca.CertFile,
			CertFile: c.pki.admin.CertFile,
			KeyFile:  c.pki.admin.KeyFile,
		},
	}
}

// Client returns a typed client for RESTConfig.
func (c *ControlPlane) Client() *kubernetes.Clientset {
	return kubernetes.NewForConfigOrDie(c.RESTConfig())
}

func (c *ControlPlane) logf(format string, args ...any) {
	if c.options.Log != nil {
		c.options.Log(format, args...)
	}
}
