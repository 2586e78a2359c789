package agentgateway

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/restic-manager/restic-manager/agentgateway/install"
	"github.com/restic-manager/restic-manager/api/wire"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// Options of a Gateway. Config, Namespace, Certificate and Listener are required.
type Options struct {
	// Config is for the API server.
	Config *rest.Config
	// Namespace is the operator's own, for the Lease.
	Namespace string
	// Instance names this process. Default: random.
	Instance string
	// PodName and PodUID make the Pod the owner of the Lease.
	PodName string
	PodUID  string

	// Listener takes the agents' TCP connections. Certificate is asked for each TLS handshake.
	Listener    net.Listener
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// RelayAddress is where other replicas reach Listener: host:port. Default: the listener's own address, and none when that is every address.
	RelayAddress string
	// Metrics and Health serve plain HTTP; nil: not at all.
	Metrics net.Listener
	Health  net.Listener

	// Install is what machines fetch the agent from; nil: it is not served.
	Install *install.Files

	// HelpURL goes to agents that are too old.
	HelpURL string
	// Heartbeat is what agents are asked for. Default 30 s.
	Heartbeat time.Duration
	// DrainSpread is over how long agents reconnect elsewhere at a graceful stop. Default 10 s; less than a second ends their sessions at once.
	DrainSpread time.Duration
	// OfflineAfter is the silence after which a host is disconnected. Default wire.OfflineAfter.
	OfflineAfter time.Duration
	// MaxConnections, ConnectRate and ConnectBurst: see session.Options.
	MaxConnections int
	ConnectRate    float64
	ConnectBurst   int

	// Workers is how many agents are brought up to date at once. Default 16. Admissions is how many connections are written at once. Default 16.
	Workers    int
	Admissions int
	// MaxStreams is how many answers are collected at once. Default 128, each of which may take wire.StreamWindow of memory. QueryWait is how long a query may
	// take from the API server to here. Default 10 s.
	MaxStreams int
	QueryWait  time.Duration

	Clock  clock.WithTicker
	Logger *slog.Logger
}

func (o *Options) complete() error {
	if o.Config == nil || o.Namespace == "" || o.Certificate == nil || o.Listener == nil {
		return errors.New("agentgateway: config, namespace, certificate and listener are required")
	}
	if o.Instance == "" {
		o.Instance = strings.ToLower(rand.Text()[:16])
	}
	// 253, less the prefix of the Lease.
	if len(validation.IsDNS1123Subdomain(o.Instance)) > 0 || len(o.Instance) > 200 {
		return fmt.Errorf("instance id %q cannot be part of a Lease's name: use lower case letters, digits and hyphens", o.Instance)
	}
	if o.RelayAddress == "" {
		o.RelayAddress = reachable(o.Listener)
	} else if _, _, err := net.SplitHostPort(o.RelayAddress); err != nil {
		return fmt.Errorf("relay address %q is not host:port", o.RelayAddress)
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 30 * time.Second
	}
	if o.OfflineAfter == 0 {
		o.OfflineAfter = wire.OfflineAfter
	}
	if o.Heartbeat < time.Second || o.Heartbeat > wire.OfflineAfter/2 {
		return fmt.Errorf("heartbeat interval %s is not within 1s and %s: a host is offline after %s", o.Heartbeat, wire.OfflineAfter/2, wire.OfflineAfter)
	}
	if o.DrainSpread == 0 {
		o.DrainSpread = 10 * time.Second
	}
	if o.DrainSpread < 0 || o.DrainSpread > time.Hour {
		return fmt.Errorf("drain spread %s is not within 0 and 1h", o.DrainSpread)
	}
	if o.Workers == 0 {
		o.Workers = 16
	}
	if o.Admissions == 0 {
		o.Admissions = 16 // a slow API server only gets slower by more
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}
