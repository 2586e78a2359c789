package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

// on waits until a host is connected through a replica.
func (w *world) on(host string, replica *stack.Gateway) {
	w.Helper()
	// The wait between two dials grows to a minute while there is nobody.
	env.Eventually(w.T, 3*time.Minute, host+" on "+replica.Instance, func(ctx context.Context) error {
		set := w.scheduleSet(ctx, host)
		if c := set.Status.Connection; c == nil || c.Gateway != replica.Instance || c.DisconnectedTime != nil {
			return fmt.Errorf("connection is %+v", c)
		}
		return nil
	})
}

func TestAnAgentMovesBetweenReplicasWithAllThatBelongsToIt(t *testing.T) {
	w := newWorld(t, "replicas")
	first, second := w.Replicas[0], w.Replicas[1]
	t.Cleanup(func() { w.Balancer.Point(first.Address) })
	w.host("one")
	w.group("data", "one", w.files("one", "a"))
	schedule := w.schedule("nightly", "0 3 * * *", "data")
	w.agent("one")
	w.settled("one")
	w.on("one", first)

	w.Balancer.Point(second.Address)
	w.Balancer.Cut()
	w.on("one", second)
	w.must(w.change(schedule, func() { schedule.Spec.Cron = "0 4 * * *" }))
	w.applied(schedule)
	w.backup("on-second", "one", "data")
	w.phase("on-second", v1alpha1.JobSucceeded)
	w.once("one", v1alpha1.EventBackupSucceeded, "on-second")

	// The first replica's cleanup of the old session is over by now or comes later: neither may touch the newer connection.
	w.hostCondition("one", v1alpha1.ConditionConnected, metav1.ConditionTrue)
	if c := w.scheduleSet(t.Context(), "one").Status.Connection; c.Gateway != second.Instance || c.DisconnectedTime != nil {
		t.Errorf("connection is %+v, want %s", c, second.Instance)
	}

	// A replica that is killed hard: its Lease tells, and the agent is taken in by the other one.
	w.Balancer.Point("")
	w.must(second.Kill())
	t.Cleanup(func() { w.must(second.Start(context.Background())) })
	w.T.Log("waiting for the Lease of a killed replica to run out, and 90 s more")
	env.Eventually(t, 4*time.Minute, "Connected=False after the replica was killed", func(ctx context.Context) error {
		host, err := get(ctx, w, "one", &v1alpha1.Host{})
		if err != nil {
			return err
		}
		for _, c := range host.Status.Conditions {
			if c.Type == v1alpha1.ConditionConnected && c.Status == metav1.ConditionFalse && c.Reason == v1alpha1.ReasonGatewayLost {
				return nil
			}
		}
		return fmt.Errorf("conditions are %+v", host.Status.Conditions)
	})
	w.Balancer.Point(first.Address)
	w.on("one", first)
	w.hostCondition("one", v1alpha1.ConditionConnected, metav1.ConditionTrue)
	w.backup("on-first", "one", "data")
	w.phase("on-first", v1alpha1.JobSucceeded)
}

func TestAClonedMachineIsReportedAndDoesNotFlap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "clone")
	w.host("one")
	w.group("data", "one", w.files("one", "a"))
	original := w.agent("one")
	w.settled("one")

	clone, err := w.NewMachine(stack.Machine{Namespace: w.ns, Host: "one-clone"})
	w.must(err)
	w.eventually("a copy of the state, in which files come and go", func(context.Context) error {
		w.must(os.RemoveAll(clone.StateDir + "-copy"))
		return os.CopyFS(clone.StateDir+"-copy", os.DirFS(original.StateDir))
	})
	raw, err := os.ReadFile(original.Config)
	w.must(err)
	w.must(os.WriteFile(clone.Config, []byte(replaceOnce(t, string(raw), original.StateDir, clone.StateDir+"-copy")), 0o600))
	w.start(clone)

	w.T.Log("the machine that was pushed out comes back after a minute or so, and proves that there are two")
	env.Eventually(t, 4*time.Minute, "DuplicateIdentity", func(ctx context.Context) error {
		if w.scheduleSet(ctx, "one").Status.Duplicate == nil {
			return errors.New("status.duplicate is not set")
		}
		return nil
	})
	w.event(v1alpha1.EventDuplicateIdentity)
	w.hostCondition("one", v1alpha1.ConditionDuplicateIdentity, metav1.ConditionTrue)
	session := w.scheduleSet(t.Context(), "one").Status.Connection.Session
	w.backup("meanwhile", "one", "data")
	w.phase("meanwhile", v1alpha1.JobSucceeded, v1alpha1.JobCompletedWithErrors, v1alpha1.JobFailed)
	if now := w.scheduleSet(t.Context(), "one").Status.Connection.Session; now != session {
		t.Errorf("the session went from %d to %d after the clone was recognised: it flaps", session, now)
	}
}

func TestNothingIsWrittenWhileNothingChanges(t *testing.T) {
	w := newWorld(t, "idle")
	w.host("one")
	w.group("data", "one", w.files("one", "a"))
	schedule := w.schedule("yearly", "0 3 1 1 *", "data")
	w.agent("one")
	w.settled("one")
	w.applied(schedule)
	w.quiet()

	mark, err := w.CP.AuditMark()
	w.must(err)
	const minute = 60 * time.Second
	w.T.Logf("watching the API server for %v", minute)
	select {
	case <-time.After(minute):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
	entries, _, err := w.CP.AuditSince(mark)
	w.must(err)
	leases := 0
	for _, e := range entries {
		switch {
		case !e.IsWrite() || !isOurs(e):
		case e.Resource == "leases":
			leases++
		default:
			t.Errorf("written while nothing changed: %s", e)
		}
	}
	if leases == 0 {
		t.Error("no Lease was renewed: the search proves nothing")
	}
	w.hostCondition("one", v1alpha1.ConditionConnected, metav1.ConditionTrue)
}

// quiet waits until the controllers and the gateway have written nothing but Leases for some polls in a row.
func (w *world) quiet() {
	w.Helper()
	calm := 0
	mark, err := w.CP.AuditMark()
	w.must(err)
	w.eventually("the operator to fall silent", func(context.Context) error {
		entries, next, err := w.CP.AuditSince(mark)
		if err != nil {
			return err
		}
		mark = next
		calm++
		for _, e := range entries {
			if e.IsWrite() && isOurs(e) && e.Resource != "leases" {
				calm = 0
			}
		}
		if calm < 60 {
			return fmt.Errorf("calm for %d polls", calm)
		}
		return nil
	})
}

func isOurs(e env.AuditEntry) bool {
	return e.User == "system:serviceaccount:"+stack.Namespace+":restic-manager-controller" ||
		e.User == "system:serviceaccount:"+stack.Namespace+":restic-manager-gateway"
}
