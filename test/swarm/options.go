package swarm

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// Options of a Fleet. URL, Namespace, Count and SigningKeys are required.
type Options struct {
	// URL of the gateway, https://host[:port]: the name that TLS and the hello are about.
	URL string
	// Addresses, host:port, are dialled in turn instead of that of URL, past those that refuse: as a load balancer does, without the two connections and
	// three goroutines that one in this process costs for each agent.
	Addresses []string
	// Sources are local addresses that the agents' connections come from, in turn, for instance 127.0.0.2 to 127.0.0.9: one address has some 28,000
	// ports. Default: the kernel's choice.
	Sources []netip.Addr
	// Pins are the TLS pins until the first set names others; without any, Roots (or the machine's trust store) vouch for the gateway.
	Pins  []string
	Roots *x509.CertPool
	// ResumeTLS lets sessions of TLS be resumed, by tickets that all agents share. Off by default, since what is measured otherwise is not a storm of
	// machines that come from a network fault.
	ResumeTLS bool

	// Namespace of the Hosts. Their names are Prefix (default "sim-") and a number from 0.
	Namespace string
	Prefix    string
	Count     int
	// SigningKeys are the controllers' keys, which an enrolment would bring.
	SigningKeys []wire.SigningKey
	// Host changes a Host before it is created: labels, annotations, whatever a test needs. i counts from 0.
	Host func(i int, host *v1alpha1.Host)

	// Rate is how many agents begin to connect per second; 0 means all at once.
	Rate float64
	// Cron lets the schedules of the sets fire by the Clock; without it, fires come from Fire alone. It costs each agent a goroutine.
	Cron bool
	// Skew is how far the clocks of the machines differ at most, with what their ways to the gateway take: what all do at once comes within that time. Each
	// machine's clock is ahead by a part of its own. Default: all clocks are the same.
	Skew time.Duration
	// Behaviour says how jobs and repositories fare; default: all is well at once.
	Behaviour Behaviour

	// Clock and Logger have defaults; the default Logger discards. What keeps an agent from connecting is in Agent.Trouble too.
	Clock  clock.Clock
	Logger *slog.Logger
}

func (o *Options) complete() error {
	if u, err := url.Parse(o.URL); err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("URL is %q, want https://host[:port]", o.URL)
	}
	switch {
	case o.Namespace == "":
		return errors.New("no Namespace")
	case o.Count < 1:
		return fmt.Errorf("the Count is %d, want 1 at least", o.Count)
	case len(o.SigningKeys) == 0:
		return errors.New("no SigningKeys: take those of the controllers, for instance with stack.SigningKeys")
	case o.Rate < 0:
		return fmt.Errorf("the Rate is %v, want 0 or more", o.Rate)
	case slices.ContainsFunc(o.Sources, func(a netip.Addr) bool { return !a.IsValid() }):
		return errors.New("an address in Sources is none")
	}
	if o.Prefix == "" {
		o.Prefix = "sim-"
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Behaviour.Job == nil {
		o.Behaviour.Job = func(Job) Result { return Succeeded() }
	}
	if o.Behaviour.Repository == nil {
		o.Behaviour.Repository = func(*Agent) wire.RepoState { return wire.RepoState{State: wire.RepositoryReady} }
	}
	return nil
}
