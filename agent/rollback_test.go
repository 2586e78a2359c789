package agent

import (
	"testing"

	"github.com/restic-manager/restic-manager/api/wire"
)

func TestAMachineThatWentBackInTimeReportsInANewEpoch(t *testing.T) {
	w := newWorld(t)
	w.withhold = true
	hellos := make(chan wire.HelloBody, 10)
	var before int64
	w.refuse = func(body wire.HelloBody) *wire.Error {
		hellos <- body
		if body.Unacked == 0 || before != 0 {
			return nil
		}
		before = body.Session
		return &wire.Error{Code: wire.CodeStaleSession, Message: "stale", Session: body.Session + 10}
	}
	w.ready()
	first := <-hellos
	w.drop()
	next[*wire.Hello](w, "the session after the refusal", nil)
	refused, accepted := <-hellos, <-hellos
	if refused.Unacked == 0 || refused.Epoch == first.Epoch {
		t.Errorf("the first report did not begin an epoch: %q, then %q with %d reports", first.Epoch, refused.Epoch, refused.Unacked)
	}
	if accepted.Session != refused.Session+11 || accepted.Epoch == refused.Epoch || accepted.Unacked < refused.Unacked { // jobs go on meanwhile
		t.Errorf("after the refusal: session %d, epoch %q, %d reports; was %d, %q, %d",
			accepted.Session, accepted.Epoch, accepted.Unacked, refused.Session, refused.Epoch, refused.Unacked)
	}
	state := next[*wire.RepoState](w, "the report again", nil)
	if state.Report.Epoch != accepted.Epoch {
		t.Errorf("the report came with epoch %q, want %q", state.Report.Epoch, accepted.Epoch)
	}
}
