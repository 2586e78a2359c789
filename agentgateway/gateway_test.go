package agentgateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agentgateway/internal/testagent"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestAnAgentGetsItsSetItsJobsAndItsVerdicts(t *testing.T) {
	w := newWorld(t)
	w.publish("r1", nil)
	gw := w.start("gw-1")
	w.ready(gw, "r1")
	link := w.at(gw).Connect(t, 1)
	if link.Welcome.Gateway != "gw-1" {
		t.Errorf("welcome is %+v", link.Welcome)
	}
	offer := testagent.Expect[*wire.SetOffer](link)
	if offer.Revision != "r1" || offer.Bundle != `{"revision":"r1"}` || len(offer.Signatures) != 1 || string(offer.Credentials[0].Sealed) != "sealed" {
		t.Errorf("offer is %+v", offer)
	}
	link.Send(&wire.SetAck{Revision: "r1", Applied: true})
	w.eventually("the ack is written", func(context.Context) error {
		if got := w.set().Status; got.AppliedRevision != "r1" || got.Connection.Gateway != "gw-1" {
			return fmt.Errorf("status is %+v", got)
		}
		return nil
	})
	if a := w.set().Status.Agent; a == nil || a.Version != "v0.1.0" || a.ResticVersion != "0.19.1" {
		t.Errorf("agent is %+v", a)
	}

	job := w.job("now")
	run := testagent.Expect[*wire.CommandRun](link)
	if run.JobID != wire.CommandID(string(job.UID)) || run.Command != "run now" {
		t.Errorf("command is %+v", run)
	}
	if got := w.getJob("now").Status; got.Phase != v1alpha1.JobDispatched || got.DispatchTime == nil || got.Session != 1 {
		t.Errorf("status when the command arrives is %+v", got)
	}
	live := w.getJob("now")
	live.Spec.Cancel = true
	if err := w.client.Update(t.Context(), live); err != nil {
		t.Fatal(err)
	}
	live.Status.CancelCommand = document("cancel now")
	w.updateStatus(live)
	if cancel := testagent.Expect[*wire.CommandCancel](link); cancel.JobID != run.JobID || cancel.Cancel != "cancel now" {
		t.Errorf("cancellation is %+v", cancel)
	}

	fire := &wire.Fire{Schedule: "nightly", SourceGroup: "etc", Nominal: "2026-03-29T02:30", Due: time.Now(), Revision: "r1"}
	fire.JobID = wire.FireID(w.host, fire.Schedule, fire.SourceGroup, fire.Nominal)
	link.Send(fire)
	if v := testagent.Expect[*wire.Verdict](link); !v.Admit || v.JobID != fire.JobID {
		t.Errorf("verdict is %+v", v)
	}
	done := &wire.JobFinished{Report: wire.ReportID{Epoch: "epoch-1", Seq: 1}, Outcome: wire.OutcomeSucceeded, FinishedAt: time.Now(),
		Job: wire.JobRef{JobID: fire.JobID, Kind: wire.JobBackup, Schedule: "nightly", Nominal: fire.Nominal, SourceGroup: "etc"}}
	link.Send(done)
	if ack := testagent.Expect[*wire.ReportAck](link); ack.Report != done.Report || ack.Discarded {
		t.Errorf("ack is %+v", ack)
	}
	link.Send(fire)
	if v := testagent.Expect[*wire.Verdict](link); v.Admit || v.Reason != wire.VerdictAlreadyRun {
		t.Errorf("verdict is %+v", v)
	}

	w.publish("r2", func(s *v1alpha1.ScheduleSet) { s.Spec.Schedules[0].Suspended = true })
	if offer := testagent.Expect[*wire.SetOffer](link); offer.Revision != "r2" {
		t.Errorf("offer is %+v", offer)
	}
	fire.Nominal = "2026-03-30T02:30"
	fire.JobID = wire.FireID(w.host, fire.Schedule, fire.SourceGroup, fire.Nominal)
	link.Send(fire)
	if v := testagent.Expect[*wire.Verdict](link); v.Admit || v.Reason != wire.VerdictSuspended {
		t.Errorf("verdict is %+v", v)
	}

	response, err := http.Get(gw.metrics)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"restic_manager_gateway_connected_agents 1", `restic_manager_gateway_sessions_total{result="accepted"} 1`,
		`restic_manager_gateway_reports_acked_total{result="stored"} 1`, `restic_manager_gateway_api_writes_total{resource="events"} 1`} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("metrics have no line %q", line)
		}
	}
	if strings.Count(string(text), "# HELP restic_manager_gateway_") < 4 {
		t.Error("metrics are not described")
	}
}

func TestAReconnectCostsOneWriteAndIdlenessNone(t *testing.T) {
	w := newWorld(t)
	w.publish("r1", nil)
	gw := w.start("gw-1", soonOffline)
	w.ready(gw, "r1")
	m := w.at(gw)
	m.Change = func(b *wire.HelloBody) { b.AppliedRevision = "r1" }
	first := m.Connect(t, 1)
	first.KeepAlive()
	mark, err := w.cp.AuditMark()
	if err != nil {
		t.Fatal(err)
	}
	link := m.Connect(t, 2)
	link.KeepAlive()
	first.ExpectEnd(wire.CodeSuperseded)
	settle()
	// The set that the agent has is not sent again: the next message is the answer to a fire.
	fire := &wire.Fire{JobID: "made-up", Schedule: "s", SourceGroup: "g", Nominal: "2026-03-29T02:30", Revision: "r1"}
	link.Send(fire)
	testagent.Expect[*wire.Verdict](link)
	writes := w.writes(mark)
	if len(writes) != 1 || writes[0].Resource != "schedulesets" || writes[0].Subresource != "status" {
		t.Errorf("a reconnect and then silence wrote %v, want the connection alone", writes)
	}
	if c := w.set().Status.Connection; c.DisconnectedTime != nil || c.Session != 2 {
		t.Errorf("connection is %+v", c)
	}

	link.Close()
	w.eventually("the host is disconnected", func(context.Context) error {
		if w.set().Status.Connection.DisconnectedTime == nil {
			return errors.New("not yet")
		}
		return nil
	})
}

// settle waits for longer than a host may be silent, in which time the departure of an older session is settled too.
func settle() { time.Sleep(offlineAfter + time.Second) }

// writes are those of the gateways since a mark, but for Leases.
func (w *world) writes(mark env.AuditMark) []env.AuditEntry {
	w.t.Helper()
	entries, _, err := w.cp.AuditSince(mark)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []env.AuditEntry
	for _, e := range entries {
		if e.IsWrite() && e.User == "system:serviceaccount:"+system+":restic-manager-gateway" && e.Resource != "leases" {
			out = append(out, e)
		}
	}
	return out
}

func TestAnAgentMovesBetweenReplicas(t *testing.T) {
	w := newWorld(t)
	w.publish("r1", nil)
	one, two := w.start("gw-1", soonOffline), w.start("gw-2", soonOffline)
	w.ready(one, "r1")
	w.ready(two, "r1")
	first := w.at(one).Connect(t, 1)
	first.KeepAlive()
	testagent.Expect[*wire.SetOffer](first)
	job := w.job("now")
	testagent.Expect[*wire.CommandRun](first)

	second := w.at(two).Connect(t, 2)
	second.KeepAlive()
	first.ExpectEnd(wire.CodeSuperseded) // told by the ScheduleSet alone
	if offer := testagent.Expect[*wire.SetOffer](second); offer.Revision != "r1" {
		t.Errorf("offer is %+v", offer)
	}
	run := testagent.Expect[*wire.CommandRun](second)
	if run.JobID != wire.CommandID(string(job.UID)) {
		t.Errorf("the unfinished job is not sent again: %+v", run)
	}
	second.Send(&wire.JobFinished{Report: wire.ReportID{Epoch: "e", Seq: 1}, Outcome: wire.OutcomeSucceeded, FinishedAt: time.Now(),
		Job: wire.JobRef{JobID: run.JobID, Kind: wire.JobBackup, HostJob: "now", HostJobUID: string(job.UID), SourceGroup: "etc"}})
	testagent.Expect[*wire.ReportAck](second)
	if got := w.getJob("now").Status; got.Phase != v1alpha1.JobSucceeded || got.Session != 2 {
		t.Errorf("job is %+v", got)
	}

	// The older replica's clean-up, and its end, do not touch the newer connection.
	settle()
	one.stop()
	if c := w.set().Status.Connection; c.Gateway != "gw-2" || c.Session != 2 || c.DisconnectedTime != nil {
		t.Errorf("connection is %+v", c)
	}
	w.publish("r2", nil)
	if offer := testagent.Expect[*wire.SetOffer](second); offer.Revision != "r2" {
		t.Errorf("offer is %+v", offer)
	}
	if _, err := w.at(two).TryConnect(t, 2); !hasCode(err, wire.CodeStaleSession) {
		t.Errorf("an equal counter is answered with %v", err)
	}
}

func hasCode(err error, code wire.Code) bool {
	var e *wire.Error
	return errors.As(err, &e) && e.Code == code
}

func TestASessionEndsWithItsHost(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*world)
	}{
		{"deleted", func(w *world) {
			for _, object := range []client.Object{w.getHost(), w.set()} {
				if err := w.client.Delete(w.t.Context(), object); err != nil {
					w.t.Fatal(err)
				}
			}
		}},
		{"given other keys", func(w *world) {
			w.publish("r2", func(s *v1alpha1.ScheduleSet) {
				s.Spec.Host.Identity.SigningKey, _ = testagent.NewMachine(w.t, "", nil, w.host).Base64Keys()
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.publish("r1", nil)
			gw := w.start("gw-1")
			w.ready(gw, "r1")
			link := w.at(gw).Connect(t, 1)
			testagent.Expect[*wire.SetOffer](link)
			c.end(w)
			link.ExpectEnd(wire.CodeHostRemoved)
		})
	}
}

func TestASetThatIsDeletedAloneEndsItsSessionForAMoment(t *testing.T) {
	w := newWorld(t)
	w.publish("r1", nil)
	gw := w.start("gw-1")
	w.ready(gw, "r1")
	link := w.at(gw).Connect(t, 1)
	testagent.Expect[*wire.SetOffer](link)
	if err := w.client.Delete(t.Context(), w.set()); err != nil {
		t.Fatal(err)
	}
	link.ExpectEnd(wire.CodeUnknownHost)
}

func TestAHostWithoutPublishedSetIsUnknown(t *testing.T) {
	w := newWorld(t)
	gw := w.start("gw-1")
	if _, err := w.at(gw).TryConnect(t, 1); !hasCode(err, wire.CodeUnknownHost) {
		t.Errorf("got %v", err)
	}
}

func TestAReportForADeletedHostIsDiscarded(t *testing.T) {
	w := newWorld(t)
	w.publish("r1", nil)
	gw := w.start("gw-1")
	w.ready(gw, "r1")
	link := w.at(gw).Connect(t, 1)
	testagent.Expect[*wire.SetOffer](link)
	// Of its own, as garbage collection may take a while for the set.
	if err := w.client.Delete(t.Context(), w.getHost()); err != nil {
		t.Fatal(err)
	}
	link.Send(&wire.RepoState{Report: wire.ReportID{Epoch: "e", Seq: 1}, State: wire.RepositoryReady, URL: "rest:x", Time: time.Now()})
	if ack := testagent.Expect[*wire.ReportAck](link); !ack.Discarded || !strings.Contains(ack.Reason, "deleted") {
		t.Errorf("ack is %+v", ack)
	}
}

func TestAGracefulStopDrainsAndWritesNothing(t *testing.T) {
	w := newWorld(t)
	w.publish("r1", nil)
	gw := w.start("gw-1")
	w.ready(gw, "r1")
	gw.o.DrainSpread = time.Second
	link := w.at(gw).Connect(t, 1)
	testagent.Expect[*wire.SetOffer](link)
	lease := client.ObjectKey{Namespace: system, Name: "restic-manager-gateway-gw-1"}
	if err := w.client.Get(t.Context(), lease, &coordinationv1.Lease{}); err != nil {
		t.Fatal(err)
	}
	mark, err := w.cp.AuditMark()
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); gw.stop() }()
	if d := testagent.Expect[*wire.Drain](link); d.SpreadSeconds != 1 {
		t.Errorf("got %+v", d)
	}
	// The Service must send nobody here any more, while the process is to live on.
	for path, want := range map[string]int{"/readyz": http.StatusServiceUnavailable, "/healthz": http.StatusOK} {
		if got := status(t, gw.health+path); got != want {
			t.Errorf("a draining gateway answers %s with %d, want %d", path, got, want)
		}
	}
	link.Close()
	<-stopped
	if gw.Ready() {
		t.Error("a stopped gateway says that it is ready")
	}
	if writes := w.writes(mark); len(writes) != 0 {
		t.Errorf("the stop wrote %v", writes)
	}
	if err := w.client.Get(t.Context(), lease, &coordinationv1.Lease{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Lease is still there: %v", err)
	}
}
