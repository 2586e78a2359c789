package report

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agentgateway/internal/pace"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
)

func TestAHostThatReportsWithoutEndWaitsForItself(t *testing.T) {
	f := newFixture(t)
	f.pace = pace.New(1, 3)
	// A session that ended does not give the host its burst again.
	first, p := f.stream(f.connect(1, "p1"))
	for seq := range int64(2) {
		take(t, first, backup(seq+1, nil))
		p.ack(t)
	}
	first.End()
	st, p := f.stream(f.connect(2, "p1"))
	for seq := range int64(3) {
		take(t, st, backup(seq+3, nil))
	}
	p.ack(t)
	env.Eventually(t, time.Minute, "the fourth report to wait", func(context.Context) error {
		if !f.clock.HasWaiters() {
			return errors.New("nothing waits")
		}
		return nil
	})
	if got := f.getHost().Status.LastReport.Seq; got != 3 {
		t.Errorf("report %d is stored, want 3: the rest is beyond what one host may have written", got)
	}

	// Another host of the same gateway is not held up.
	quiet := &v1alpha1.Host{}
	quiet.Namespace, quiet.Name, quiet.Spec = f.host.Namespace, "web-2", f.getHost().Spec
	f.create(quiet)
	other, q := f.stream(Session{Host: wire.HostRef{Namespace: f.host.Namespace, Name: "web-2"}, Counter: 1})
	take(t, other, backup(1, nil))
	q.ack(t)

	f.clock.Step(time.Second)
	if ack := p.ack(t); ack.Report.Seq != 4 {
		t.Errorf("a second later %+v is acked, want report 4", ack)
	}
}
