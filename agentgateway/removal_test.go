package agentgateway

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agentgateway/internal/testagent"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// remove deletes the Host and writes the tombstone, as the controllers do.
func (w *world) remove(revision string) {
	w.t.Helper()
	if err := w.client.Delete(w.t.Context(), w.getHost()); err != nil {
		w.t.Fatal(err)
	}
	w.bury(revision)
}

func (w *world) bury(revision string) {
	w.t.Helper()
	set := w.set()
	set.Spec.Tombstone, set.Spec.Revision, set.Spec.Bundle = true, revision, `{"tombstone":true}`
	set.Spec.Serial++
	set.Spec.Groups, set.Spec.Schedules, set.Spec.Credentials = nil, nil, nil
	if err := w.client.Update(w.t.Context(), set); err != nil {
		w.t.Fatal(err)
	}
}

// stopped tells a machine of its tombstone and ends its session.
func (w *world) stopped(link *testagent.Link, revision string) {
	w.t.Helper()
	link.Send(&wire.SetAck{Revision: revision, Applied: true})
	w.eventually("the ack of the tombstone is written", func(context.Context) error {
		if got := w.set().Status; got.AppliedRevision != revision {
			return fmt.Errorf("status is %+v", got)
		}
		return nil
	})
	if err := w.client.Delete(w.t.Context(), w.set()); err != nil {
		w.t.Fatal(err)
	}
	if end := link.ExpectEnd(wire.CodeHostRemoved); !strings.Contains(end.Message, "was deleted") {
		w.t.Errorf("the session ended with %v", end)
	}
}

func aFire(host wire.HostRef) *wire.Fire {
	fire := &wire.Fire{Schedule: "nightly", SourceGroup: "etc", Nominal: "2026-03-29T02:30", Due: time.Now(), Revision: "r1"}
	fire.JobID = wire.FireID(host, fire.Schedule, fire.SourceGroup, fire.Nominal)
	return fire
}

func TestATombstoneReachesTheAgentOnWhicheverReplicaHoldsIt(t *testing.T) {
	w := newWorld(t)
	w.publish("r1", nil)
	one, two := w.start("gw-1"), w.start("gw-2")
	w.ready(one, "r1")
	w.ready(two, "r1")
	link := w.at(two).Connect(t, 1)
	testagent.Expect[*wire.SetOffer](link)
	w.remove("t1")
	if offer := testagent.Expect[*wire.SetOffer](link); offer.Revision != "t1" || offer.Bundle != `{"tombstone":true}` || len(offer.Credentials) != 0 {
		t.Errorf("offer is %+v", offer)
	}
	link.Send(aFire(w.host))
	if v := testagent.Expect[*wire.Verdict](link); v.Admit {
		t.Errorf("a backup of a removed Host is admitted: %+v", v)
	}
	w.stopped(link, "t1")
}

func TestAMachineThatWasAwayIsLetInForItsTombstone(t *testing.T) {
	w := newWorld(t)
	w.publish("r1", nil)
	gw := w.start("gw-1")
	w.ready(gw, "r1")
	w.remove("t1")
	w.ready(gw, "t1")
	m := w.at(gw)
	m.Change = func(b *wire.HelloBody) { b.AppliedRevision, b.Unacked = "r1", 3 }
	link := m.Connect(t, 1)
	if offer := testagent.Expect[*wire.SetOffer](link); offer.Revision != "t1" {
		t.Errorf("offer is %+v", offer)
	}
	// What waited in its outbox is taken off it, in order.
	for seq := range int64(3) {
		link.Send(&wire.RepoState{Report: wire.ReportID{Epoch: "e", Seq: seq + 1}, State: wire.RepositoryReady, URL: "rest:x", Time: time.Now()})
		if ack := testagent.Expect[*wire.ReportAck](link); ack.Report.Seq != seq+1 || !ack.Discarded || !strings.Contains(ack.Reason, "deleted") {
			t.Errorf("ack is %+v", ack)
		}
	}
	w.stopped(link, "t1")
	if _, err := m.TryConnect(t, 2); !hasCode(err, wire.CodeUnknownHost) {
		t.Errorf("afterwards it is answered with %v", err)
	}
}

// A new Host has the name by now, and waits for its own machine; the former one's tombstone stands under it meanwhile.
func TestAFormerMachineDoesNotSpeakForTheHostThatHasItsName(t *testing.T) {
	w := newWorld(t)
	w.publish("r1", nil)
	gw := w.start("gw-1")
	w.ready(gw, "r1")
	w.remove("t1")
	w.ready(gw, "t1")
	next := &v1alpha1.Host{}
	next.Namespace, next.Name = w.host.Namespace, w.host.Name
	next.Spec.Repository = v1alpha1.Repository{URL: "rest:https://backup.example.com/web-1", CredentialsSecretRef: &v1alpha1.LocalReference{Name: "repo"}}
	w.create(next)
	job := w.job("now")
	link := w.at(gw).Connect(t, 1)
	testagent.Expect[*wire.SetOffer](link)
	ref := wire.JobRef{JobID: wire.CommandID(string(job.UID)), Kind: wire.JobBackup, HostJob: "now", HostJobUID: string(job.UID), SourceGroup: "etc"}
	link.Send(&wire.JobStarted{Job: ref, StartedAt: time.Now()})
	link.Send(&wire.CommandAck{JobID: ref.JobID, Reason: wire.RefusalWrongHost, Message: "no"})
	link.Send(&wire.JobFinished{Report: wire.ReportID{Epoch: "e", Seq: 1}, Outcome: wire.OutcomeSucceeded, FinishedAt: time.Now(), Job: ref})
	if ack := testagent.Expect[*wire.ReportAck](link); !ack.Discarded {
		t.Errorf("ack is %+v", ack)
	}
	link.Send(aFire(w.host))
	if v := testagent.Expect[*wire.Verdict](link); v.Admit { // and no command came before it
		t.Errorf("verdict is %+v", v)
	}
	link.Send(&wire.SetAck{Revision: "t1", Applied: true})
	w.eventually("the ack of the tombstone is written", func(context.Context) error {
		if got := w.set().Status; got.AppliedRevision != "t1" {
			return fmt.Errorf("status is %+v", got)
		}
		return nil
	})
	if got := w.getJob("now").Status; got.Phase != v1alpha1.JobPending || got.StartTime != nil || got.Result != nil {
		t.Errorf("the job of the next machine is %+v", got)
	}
	if got := w.getHost().Status; got.Agent != nil || got.LastReport != nil || len(got.SourceGroups) != 0 {
		t.Errorf("the status of the next Host is %+v", got)
	}

	// The Host gets its own machine: the former one goes.
	set := w.set()
	set.Spec.Tombstone, set.Spec.Revision, set.Spec.Serial = false, "r2", set.Spec.Serial+1
	set.Spec.Host.Identity.SigningKey, set.Spec.Host.Identity.SealingKey = testagent.NewMachine(t, "", nil, w.host).Base64Keys()
	if err := w.client.Update(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	link.ExpectEnd(wire.CodeHostRemoved)
}

func TestAHostThatIsMadeAgainKeepsTheSessionOfItsMachine(t *testing.T) {
	w := newWorld(t)
	w.publish("r1", nil)
	gw := w.start("gw-1")
	w.ready(gw, "r1")
	link := w.at(gw).Connect(t, 1)
	testagent.Expect[*wire.SetOffer](link)
	if err := w.client.Delete(t.Context(), w.getHost()); err != nil {
		t.Fatal(err)
	}
	w.publish("r2", nil) // of another Host, for the same machine
	if offer := testagent.Expect[*wire.SetOffer](link); offer.Revision != "r2" {
		t.Errorf("offer is %+v", offer)
	}
	link.Send(&wire.SetAck{Revision: "r2", Applied: true})
	w.eventually("the ack is written beside what the machine said of itself", func(context.Context) error {
		if got := w.set().Status; got.AppliedRevision != "r2" || got.Agent == nil || got.Connection.Session != 1 {
			return fmt.Errorf("status is %+v", got)
		}
		return nil
	})
}
