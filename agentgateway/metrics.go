package agentgateway

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/restic-manager/restic-manager/api/wire"
)

const metricPrefix = "restic_manager_gateway_"

// metrics implements the meters of the parts. Labels take values from this program only, never from a peer.
type metrics struct {
	registry   *prometheus.Registry
	sessions   *prometheus.CounterVec
	frames     *prometheus.CounterVec
	writes     *prometheus.CounterVec
	reports    *prometheus.CounterVec
	enrolments *prometheus.CounterVec
}

func newMetrics(connected func() int) *metrics {
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricPrefix + name, Help: help}, []string{label})
	}
	m := &metrics{
		registry:   prometheus.NewRegistry(),
		sessions:   counter("sessions_total", "Connection attempts of agents, by result: accepted, or the code of the refusal.", "result"),
		frames:     counter("frames_total", "Frames to and from agents, by direction: in or out.", "direction"),
		writes:     counter("api_writes_total", "Writes of this replica to the API server, by resource.", "resource"),
		reports:    counter("reports_acked_total", "Durable reports that were acked, by result: stored, repeated or discarded.", "result"),
		enrolments: counter("enrollment_requests_total", "Enrollment requests, by answer: pending, verdict, or the code of the refusal.", "result"),
	}
	agents := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metricPrefix + "connected_agents",
		Help: "Agents that this replica holds."}, func() float64 { return float64(connected()) })
	m.registry.MustRegister(m.sessions, m.frames, m.writes, m.reports, m.enrolments, agents,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) FrameIn(wire.Type)       { m.frames.WithLabelValues("in").Inc() }
func (m *metrics) FrameOut(wire.Type)      { m.frames.WithLabelValues("out").Inc() }
func (m *metrics) Attempt(result string)   { m.sessions.WithLabelValues(result).Inc() }
func (m *metrics) Wrote(resource string)   { m.writes.WithLabelValues(resource).Inc() }
func (m *metrics) Reported(result string)  { m.reports.WithLabelValues(result).Inc() }
func (m *metrics) Enrolment(result string) { m.enrolments.WithLabelValues(result).Inc() }
