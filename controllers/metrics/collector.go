package metrics

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/internal/metrictable"
)

const (
	// DefaultHostLimit is the default of Options.HostLimit.
	DefaultHostLimit = 20000
	// scrapeTimeout bounds what a scrape waits for the cache, which answers from memory.
	scrapeTimeout = 10 * time.Second
)

// Options of a Collector. Reader, Elected and Clock are required.
type Options struct {
	// Reader is the manager's cached client.
	Reader client.Reader
	// Elected is closed when this process leads.
	Elected <-chan struct{}
	// KeyRotation tells how many machines a rotation of the signing keys waits for; underway is false when there is none. May be nil.
	KeyRotation func() (waiting int, underway bool)
	// HostLimit is how many Hosts have series of their own. Default DefaultHostLimit.
	HostLimit int
	Clock     clock.PassiveClock
	// Logger tells why a scrape failed. Default slog.Default().
	Logger *slog.Logger
}

// Collector implements prometheus.Collector.
type Collector struct {
	o     Options
	descs map[string]*prometheus.Desc

	mu        sync.Mutex
	intervals intervals
}

// New returns a Collector.
func New(o Options) *Collector {
	if o.HostLimit == 0 {
		o.HostLimit = DefaultHostLimit
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	c := &Collector{o: o, descs: map[string]*prometheus.Desc{}, intervals: intervals{}}
	for _, f := range Families() {
		if f.Type == metrictable.Gauge {
			c.descs[f.Name] = prometheus.NewDesc(f.Name, f.Help, f.Labels, nil)
		}
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	s := &scrape{Collector: c, out: out, now: c.o.Clock.Now()}
	if !c.leads() {
		s.put(leader, 0)
		return
	}
	s.put(leader, 1)
	if c.o.KeyRotation != nil {
		if waiting, underway := c.o.KeyRotation(); underway {
			s.put(keyWaiting, float64(waiting))
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	if err := s.objects(ctx); err != nil {
		// The scrape fails as a whole: a fleet of which nothing is told looks like one without trouble, and every alert about it would end.
		c.o.Logger.Error("the objects for the metrics cannot be read", "error", err)
		out <- prometheus.NewInvalidMetric(c.descs[prefix+hostsOmitted], err)
	}
}

func (c *Collector) leads() bool {
	select {
	case <-c.o.Elected:
		return true
	default:
		return false
	}
}

// scrape is one answer to Prometheus.
type scrape struct {
	*Collector
	out chan<- prometheus.Metric
	now time.Time
}

// put adds a value; labels are in the order of the family.
func (s *scrape) put(name string, value float64, labels ...string) {
	s.out <- prometheus.MustNewConstMetric(s.descs[prefix+name], prometheus.GaugeValue, value, labels...)
}

func (s *scrape) objects(ctx context.Context) error {
	hosts, groups, schedules := &v1alpha1.HostList{}, &v1alpha1.SourceGroupList{}, &v1alpha1.ScheduleList{}
	for _, list := range []client.ObjectList{hosts, groups, schedules} {
		if err := s.o.Reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return err
		}
	}
	shown := limit(hosts.Items, s.o.HostLimit)
	s.put(hostsOmitted, float64(len(hosts.Items)-len(shown)))
	for _, host := range shown {
		s.host(host)
	}
	for i := range groups.Items {
		g := &groups.Items[i]
		s.fleet(sourceGroupHosts, g.Namespace, g.Name, &g.Status.FleetSummary)
	}
	for i := range schedules.Items {
		sc := &schedules.Items[i]
		s.fleet(scheduleHosts, sc.Namespace, sc.Name, &sc.Status.FleetSummary)
	}
	return nil
}

func (s *scrape) fleet(metric, namespace, name string, f *v1alpha1.FleetSummary) {
	for _, state := range []struct {
		name  string
		hosts int32
	}{
		{"matched", f.HostsMatched}, {"applied", f.HostsApplied}, {"succeeded", f.HostsSucceeded}, {"failing", f.HostsFailing},
		{"never_ran", f.HostsNeverRan}, {"overdue", f.HostsOverdue},
	} {
		s.put(metric, float64(state.hosts), namespace, name, state.name)
	}
}
