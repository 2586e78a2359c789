package agentgateway

import (
	"errors"
	"testing"

	"github.com/restic-manager/restic-manager/api/wire"
)

func TestAHostThatConnectsWithoutPauseIsHeldOff(t *testing.T) {
	w := newWorld(t)
	w.publish("r1", nil)
	gw := w.start("gw-1")
	w.ready(gw, "r1")
	machine := w.at(gw)
	for counter := int64(1); ; counter++ {
		_, err := machine.TryConnect(t, counter)
		var refused *wire.Error
		switch {
		case err == nil && counter <= 2*connectsBurst:
			continue
		case err == nil:
			t.Fatalf("%d sessions of one host were written within moments", counter)
		case !errors.As(err, &refused) || refused.Code != wire.CodeBusy || refused.RetryAfterSeconds == 0:
			t.Fatalf("session %d: %v, want busy and when to come again", counter, err)
		case counter <= connectsBurst:
			t.Errorf("session %d is refused already", counter)
		}
		if recorded := w.set().Status.Connection.Session; recorded != counter-1 {
			t.Errorf("session %d is on record, want %d: a refusal costs no write", recorded, counter-1)
		}
		return
	}
}
