package agentgateway

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/restic-manager/restic-manager/agentgateway/session"
	"github.com/restic-manager/restic-manager/api/wire"
	"k8s.io/client-go/util/workqueue"
)

// gauges all have one value.
func gauges(n int) map[string]func() int {
	value := func() int { return n }
	return map[string]func() int{connectedAgents: value, openStreams: value}
}

func TestWhatIsScrapedHasEveryFamilyOnceAndTheRuntimeToo(t *testing.T) {
	m := newMetrics(gauges(3))
	var s session.Session // it offered nothing
	m.FrameIn(wire.TypeHeartbeat)
	m.Attempt("accepted")
	m.Wrote("hosts")
	m.Reported("stored")
	m.Delayed(-time.Second)
	m.Enrolment("pending")
	m.Installer("served")
	m.count(reconnectsTotal)
	m.closed(&s, io.EOF)
	m.answered(&s, &wire.SetAck{Revision: "a", Applied: true}, time.Now())
	m.answered(&s, &wire.SetAck{Revision: "b", Reason: wire.RefusalOlderSerial}, time.Now())
	m.answered(&s, &wire.SetAck{Revision: "b", Reason: "made up by a machine"}, time.Now())
	families, err := m.gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, f := range families {
		seen[f.GetName()] = f.GetHelp()
	}
	for _, f := range MetricFamilies() {
		if seen[f.Name] != f.Help {
			t.Errorf("%s is exported with help %q, want %q", f.Name, seen[f.Name], f.Help)
		}
	}
	queue := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[string]{Name: "test"})
	defer queue.ShutDown()
	if families, err = m.gatherer().Gather(); err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		seen[f.GetName()] = f.GetHelp()
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes", "workqueue_depth"} {
		if _, ok := seen[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	const want = `
# HELP restic_manager_gateway_sessions_ended_total Sessions that ended, by reason: the code by which the gateway ended it, agent_error when the agent did, lost when the connection broke.
# TYPE restic_manager_gateway_sessions_ended_total counter
restic_manager_gateway_sessions_ended_total{reason="lost"} 1
# HELP restic_manager_gateway_set_refusals_total Schedule sets that agents refused, by reason.
# TYPE restic_manager_gateway_set_refusals_total counter
restic_manager_gateway_set_refusals_total{reason="BadCredential"} 0
restic_manager_gateway_set_refusals_total{reason="BadSignature"} 0
restic_manager_gateway_set_refusals_total{reason="Expired"} 0
restic_manager_gateway_set_refusals_total{reason="Invalid"} 0
restic_manager_gateway_set_refusals_total{reason="NotAllowedByMachine"} 0
restic_manager_gateway_set_refusals_total{reason="OlderSerial"} 1
restic_manager_gateway_set_refusals_total{reason="Other"} 1
restic_manager_gateway_set_refusals_total{reason="StorageFailed"} 0
restic_manager_gateway_set_refusals_total{reason="WrongHost"} 0
restic_manager_gateway_set_refusals_total{reason="WrongIdentity"} 0
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), metricPrefix+sessionsEndedTotal, metricPrefix+setRefusalsTotal); err != nil {
		t.Error(err)
	}
}

func TestACodeThatTheAgentSentIsNoLabel(t *testing.T) {
	m := newMetrics(gauges(0))
	var s session.Session // nobody closed it here
	m.closed(&s, &wire.Error{Code: "invented", Message: "x"})
	const want = `
# HELP restic_manager_gateway_sessions_ended_total Sessions that ended, by reason: the code by which the gateway ended it, agent_error when the agent did, lost when the connection broke.
# TYPE restic_manager_gateway_sessions_ended_total counter
restic_manager_gateway_sessions_ended_total{reason="agent_error"} 1
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), metricPrefix+sessionsEndedTotal); err != nil {
		t.Error(err)
	}
}
