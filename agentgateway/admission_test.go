package agentgateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agentgateway/internal/pace"
	"github.com/restic-manager/restic-manager/agentgateway/session"
	"github.com/restic-manager/restic-manager/api/wire"
	"k8s.io/utils/clock"
)

func TestNothingIsBegunForWhichNoTimeIsLeft(t *testing.T) {
	for _, test := range []struct {
		test string
		busy bool
		left time.Duration
	}{
		{"a turn that comes too late", false, admitting - time.Second},
		{"one that does not come", true, time.Millisecond},
	} {
		t.Run(test.test, func(t *testing.T) {
			// A write would panic: there is no writer.
			g := &Gateway{o: Options{Clock: clock.RealClock{}}, admissions: make(chan struct{}, 1), connects: pace.New(1, 1)}
			if test.busy {
				g.admissions <- struct{}{}
			}
			ctx, cancel := context.WithTimeout(t.Context(), test.left)
			defer cancel()
			if err := g.Admit(ctx, &session.Session{}, &wire.HelloBody{}); !errors.Is(err, session.ErrNoTime) {
				t.Errorf("got %v", err)
			}
			if want := len(g.admissions) == 1; want != test.busy {
				t.Errorf("%d turns are taken", len(g.admissions))
			}
		})
	}
}
