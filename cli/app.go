package cli

import (
	"errors"
	"os"
	"time"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/cli/kube"
	"github.com/restic-manager/restic-manager/cli/query"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

// App is what all commands share.
type App struct {
	Terminal *terminal.Terminal
	Clock    clock.WithTickerAndDelayedExecution

	config         *genericclioptions.ConfigFlags
	gatewayAddress string
	client         client.WithWatch
}

// New returns an app that speaks by these streams.
func New(streams genericiooptions.IOStreams, interrupts *terminal.Interrupts) *App {
	config := genericclioptions.NewConfigFlags(true)
	return &App{Terminal: terminal.New(streams, interrupts), Clock: clock.RealClock{}, config: config}
}

// Client acts as the kubeconfig's user.
func (a *App) Client() (client.WithWatch, error) {
	if a.client != nil {
		return a.client, nil
	}
	config, err := a.restConfig()
	if err != nil {
		return nil, err
	}
	a.client, err = kube.NewClient(config)
	return a.client, err
}

// errNoKubeconfig is told in place of the attempt to reach an API server on this computer, which client-go makes without one.
var errNoKubeconfig = errors.New("there is no kubeconfig: set KUBECONFIG or --kubeconfig to the file that your cluster's administrators gave you")

// restConfig is the kubeconfig's, with the flags of the command line.
func (a *App) restConfig() (*rest.Config, error) {
	raw, err := a.config.ToRawKubeConfigLoader().RawConfig()
	switch {
	case err != nil:
		return nil, err
	case len(raw.Clusters) == 0 && *a.config.APIServer == "" && os.Getenv("KUBERNETES_SERVICE_HOST") == "":
		return nil, errNoKubeconfig
	}
	return a.config.ToRESTConfig()
}

// Namespace is that of -n, or of the kubeconfig's context.
func (a *App) Namespace() (string, error) {
	namespace, _, err := a.config.ToRawKubeConfigLoader().Namespace()
	return namespace, err
}

// reach is client and namespace.
func (a *App) reach() (client.WithWatch, string, error) {
	c, err := a.Client()
	if err != nil {
		return nil, "", err
	}
	namespace, err := a.Namespace()
	return c, namespace, err
}

// asker asks machines, and tells the person what happens meanwhile.
func (a *App) asker(c client.WithWatch) *query.Asker {
	return &query.Asker{Client: c, Clock: a.Clock, GatewayAddress: a.gatewayAddress, Notice: func(s string) { a.Terminal.Notef("%s", terminal.Harmless(s)) }}
}

func (a *App) now() time.Time { return a.Clock.Now() }
