package agentgateway

import (
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/restic-manager/restic-manager/agentgateway/session"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/internal/metrictable"
	_ "sigs.k8s.io/controller-runtime/pkg/controller" // registers the metrics of work queues and of the process, which its client alone does not
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
)

const metricPrefix = "restic_manager_gateway_"

// Names of the metrics, without the prefix.
const (
	connectedAgents    = "connected_agents"
	sessionsTotal      = "sessions_total"
	sessionsEndedTotal = "sessions_ended_total"
	reconnectsTotal    = "reconnects_total"
	framesTotal        = "frames_total"
	apiWritesTotal     = "api_writes_total"
	reportsAckedTotal  = "reports_acked_total"
	enrolmentsTotal    = "enrollment_requests_total"
	setAcksTotal       = "set_acks_total"
	setRefusalsTotal   = "set_refusals_total"
	setPushSeconds     = "set_push_seconds"
	reportDelay        = "report_delay_seconds"
	openStreams        = "open_streams"
	streamsEndedTotal  = "streams_ended_total"
	streamBytesTotal   = "stream_bytes_total"
	installRequests    = "install_requests_total"
)

// MetricFamilies lists every metric that a gateway exports beside those of controller-runtime and of the Go runtime.
func MetricFamilies() []metrictable.Family {
	family := func(kind, name, help string, labels ...string) metrictable.Family {
		return metrictable.Family{Name: metricPrefix + name, Type: kind, Help: help, Labels: labels}
	}
	return []metrictable.Family{
		family(metrictable.Gauge, connectedAgents, "Agents that this replica holds."),
		family(metrictable.Counter, sessionsTotal, "Connection attempts of agents, by result: accepted, or the code of the refusal.", "result"),
		family(metrictable.Counter, sessionsEndedTotal, "Sessions that ended, by reason: the code by which the gateway ended it, agent_error when the agent did, lost when the connection broke.", "reason"),
		family(metrictable.Counter, reconnectsTotal, "Accepted sessions of machines that had been connected before."),
		family(metrictable.Counter, framesTotal, "Frames to and from agents, by direction: in or out.", "direction"),
		family(metrictable.Counter, apiWritesTotal, "Writes of this replica to the API server, by resource.", "resource"),
		family(metrictable.Counter, reportsAckedTotal, "Durable reports that were acked, by result: stored, repeated or discarded.", "result"),
		family(metrictable.Counter, enrolmentsTotal, "Enrollment requests, by answer: pending, verdict, or the code of the refusal.", "result"),
		family(metrictable.Counter, installRequests, "Requests for the installer and what it fetches, by answer: served, not_found or busy.", "result"),
		family(metrictable.Counter, setAcksTotal, "Answers of agents to a schedule set, by result: applied or refused.", "result"),
		family(metrictable.Counter, setRefusalsTotal, "Schedule sets that agents refused, by reason.", "reason"),
		family(metrictable.Gauge, openStreams, "Answers to HostQueries that are being collected from this replica, those by way of another replica among them."),
		family(metrictable.Counter, streamsEndedTotal, "Answers that were collected, by end: done, lost (with the session or the replica of the agent), expired, refused by the agent, or left by the collector.", "end"),
		family(metrictable.Counter, streamBytesTotal, "Bytes of answers that collectors took, sealed."),
		family(metrictable.Histogram, setPushSeconds, "Time from the offer of a schedule set to the agent's answer, in seconds."),
		family(metrictable.Histogram, reportDelay, "Time from the end of a job, by the machine's clock, to when its result was stored, in seconds: how long results wait in outboxes."),
	}
}

// Buckets of the histograms, in seconds: an answer comes within milliseconds, a result may wait for days.
var (
	pushBuckets  = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	delayBuckets = []float64{.1, .5, 1, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600}
)

// metrics implements the meters of the parts. Labels take values from this program only, never from a peer.
type metrics struct {
	registry   *prometheus.Registry
	counters   map[string]*prometheus.CounterVec
	histograms map[string]prometheus.Histogram
	// framesIn and framesOut are at hand: all that an idle agent does is a frame.
	framesIn, framesOut prometheus.Counter
}

func newMetrics(gauges map[string]func() int) *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), counters: map[string]*prometheus.CounterVec{}, histograms: map[string]prometheus.Histogram{}}
	buckets := map[string][]float64{setPushSeconds: pushBuckets, reportDelay: delayBuckets}
	for _, f := range MetricFamilies() {
		name := f.Name[len(metricPrefix):]
		switch f.Type {
		case metrictable.Counter:
			m.counters[name] = prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.Name, Help: f.Help}, f.Labels)
			m.registry.MustRegister(m.counters[name])
		case metrictable.Histogram:
			m.histograms[name] = prometheus.NewHistogram(prometheus.HistogramOpts{Name: f.Name, Help: f.Help, Buckets: buckets[name]})
			m.registry.MustRegister(m.histograms[name])
		case metrictable.Gauge:
			value := gauges[name]
			m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: f.Name, Help: f.Help}, func() float64 { return float64(value()) }))
		}
	}
	m.framesIn, m.framesOut = m.counters[framesTotal].WithLabelValues("in"), m.counters[framesTotal].WithLabelValues("out")
	m.begin()
	return m
}

// begin makes the series that may be looked at for an increase, at zero: to Prometheus an increase from nothing is none.
func (m *metrics) begin() {
	m.counters[sessionsTotal].WithLabelValues("accepted")
	m.counters[reconnectsTotal].WithLabelValues()
	for _, result := range []string{"applied", "refused"} {
		m.counters[setAcksTotal].WithLabelValues(result)
	}
	for _, reason := range refusals {
		m.counters[setRefusalsTotal].WithLabelValues(string(reason))
	}
	m.counters[setRefusalsTotal].WithLabelValues("Other")
	for _, end := range []string{"done", "lost", "expired", "refused", "left"} {
		m.counters[streamsEndedTotal].WithLabelValues(end)
	}
	m.counters[streamBytesTotal].WithLabelValues()
	for _, result := range []string{"stored", "repeated", "discarded"} {
		m.counters[reportsAckedTotal].WithLabelValues(result)
	}
}

// gatherer is what is scraped: controller-runtime keeps the metrics of the client, of work queues, and of the process.
func (m *metrics) gatherer() prometheus.Gatherer {
	return prometheus.Gatherers{m.registry, ctrlmetrics.Registry}
}

func (m *metrics) count(name string, labels ...string) {
	m.counters[name].WithLabelValues(labels...).Inc()
}

func (m *metrics) FrameIn(wire.Type)       { m.framesIn.Inc() }
func (m *metrics) FrameOut(wire.Type)      { m.framesOut.Inc() }
func (m *metrics) Attempt(result string)   { m.count(sessionsTotal, result) }
func (m *metrics) Wrote(resource string)   { m.count(apiWritesTotal, resource) }
func (m *metrics) Reported(result string)  { m.count(reportsAckedTotal, result) }
func (m *metrics) Enrolment(result string) { m.count(enrolmentsTotal, result) }

// Installer implements install.Meter.
func (m *metrics) Installer(result string) { m.count(installRequests, result) }

// Ended implements collect.Meter.
func (m *metrics) Ended(how string) { m.count(streamsEndedTotal, how) }

// Collected implements collect.Meter.
func (m *metrics) Collected(bytes int) {
	m.counters[streamBytesTotal].WithLabelValues().Add(float64(bytes))
}

// Delayed implements report.Meter.
func (m *metrics) Delayed(by time.Duration) { m.histograms[reportDelay].Observe(max(by, 0).Seconds()) }

// Reconnected implements report.Meter.
func (m *metrics) Reconnected() { m.count(reconnectsTotal) }

// closed counts a session that ended.
func (m *metrics) closed(s *session.Session, cause error) {
	var e *wire.Error
	switch told := errors.As(cause, &e); {
	case told && s.Closing():
		m.count(sessionsEndedTotal, string(e.Code))
	case told: // its code is the peer's word
		m.count(sessionsEndedTotal, "agent_error")
	default:
		m.count(sessionsEndedTotal, "lost")
	}
}

// refusals are the reasons that a label may have.
var refusals = []wire.RefusalReason{wire.RefusalBadSignature, wire.RefusalWrongHost, wire.RefusalWrongIdentity, wire.RefusalOlderSerial, wire.RefusalBadCredential,
	wire.RefusalInvalid, wire.RefusalExpired, wire.RefusalNotAllowed, wire.RefusalStorage}

// answered counts an agent's answer to a set.
func (m *metrics) answered(s *session.Session, ack *wire.SetAck, now time.Time) {
	if offered, ok := s.Offered(ack.Revision); ok {
		m.histograms[setPushSeconds].Observe(max(now.Sub(offered), 0).Seconds())
	}
	if ack.Applied {
		m.count(setAcksTotal, "applied")
		return
	}
	m.count(setAcksTotal, "refused")
	reason := "Other"
	if slices.Contains(refusals, ack.Reason) {
		reason = string(ack.Reason)
	}
	m.count(setRefusalsTotal, reason)
}
