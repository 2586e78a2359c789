package session

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agentgateway/internal/testagent"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestOverloadIsAnsweredWithBusy(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		says   string
	}{
		{"too many connections", func(o *Options) { o.MaxConnections = 1 }, "as many connections"},
		{"too many attempts", func(o *Options) { o.ConnectRate, o.ConnectBurst = 1e-9, 1 }, "attempts"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := start(t, c.change)
			f.machine.Connect(t, 1)
			expectBusy(t, f.machine, c.says)
		})
	}
	t.Run("too many handshakes", func(t *testing.T) {
		f := start(t, func(o *Options) { o.MaxHandshakes, o.HandshakeWait = 1, time.Millisecond })
		if _, _, err := f.machine.Dial(t); err != nil {
			t.Fatal(err)
		}
		expectBusy(t, f.machine, "handshakes")
	})
	t.Run("going away while it waits for a handshake", func(t *testing.T) {
		f := start(t, func(o *Options) { o.MaxHandshakes, o.HandshakeWait = 1, time.Hour })
		if _, _, err := f.machine.Dial(t); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(50*time.Millisecond, f.server.StopAccepting)
		expectBusy(t, f.machine, "going away")
	})
	t.Run("going away", func(t *testing.T) {
		f := start(t, nil)
		f.server.StopAccepting()
		expectBusy(t, f.machine, "going away")
	})
}

func TestWhoComesWhileAllHandshakesAreTakenWaitsForOne(t *testing.T) {
	f := start(t, func(o *Options) { o.MaxHandshakes, o.HandshakeWait, o.HelloTimeout = 1, time.Hour, time.Hour })
	silent, _, err := f.machine.Dial(t)
	if err != nil {
		t.Fatal(err)
	}
	connected := make(chan error, 1)
	go func() {
		_, err := f.machine.TryConnect(t, 1)
		connected <- err
	}()
	_ = silent.Conn.CloseNow()
	if err := next(t, connected, "session"); err != nil {
		t.Error(err)
	}
}

func TestWhoIsKnownLeavesTheHandshakesAndWaitsInLine(t *testing.T) {
	waits, admit := make(chan struct{}), make(chan struct{})
	f := start(t, func(o *Options) { o.MaxHandshakes, o.AdmitTimeout = 1, time.Minute })
	f.handler.admit = func(context.Context, *Session, *wire.HelloBody) error { waits <- struct{}{}; <-admit; return nil }
	connected := make(chan error, 5)
	for i := range cap(connected) {
		go func() {
			_, err := f.machine.TryConnect(t, int64(i+1))
			connected <- err
		}()
		next(t, waits, "session that waits") // and the next one finds the only place free again
	}
	if got := f.server.line.Len(); got != cap(connected) {
		t.Errorf("%d are in line, want %d", got, cap(connected))
	}
	close(admit)
	for range cap(connected) {
		if err := next(t, connected, "session"); err != nil {
			t.Error(err)
		}
	}
	if got := f.server.line.Wait(); got != 0 {
		t.Errorf("with nobody in line it takes %v", got)
	}
}

func TestWhoseTimeIsOverComesAgainAndSaysNothingAboutThePace(t *testing.T) {
	f := start(t, nil)
	f.handler.admit = func(context.Context, *Session, *wire.HelloBody) error { return ErrNoTime }
	f.server.line.Enter() // somebody who waits on
	before := f.server.line.Wait()
	_, err := f.machine.TryConnect(t, 1)
	var refusal *wire.Error
	if !errors.As(err, &refusal) || refusal.Code != wire.CodeBusy || refusal.RetryAfterSeconds < 1 {
		t.Errorf("the agent is told %v", err)
	}
	if got := f.server.line.Wait(); got != before {
		t.Errorf("the line takes %v, want %v as before", got, before)
	}
}

func TestALineThatIsTooLongSendsEachAwayForATimeOfItsOwn(t *testing.T) {
	f := start(t, func(o *Options) { o.AdmitTimeout = 30 * time.Second })
	for range 5000 {
		f.server.line.Enter() // 25 s, before anything was measured
	}
	asked := map[int]bool{}
	for range 2000 {
		_, refusal := f.server.take(t.Context(), "192.0.2.1:1")
		if refusal == nil || refusal.Code != wire.CodeBusy || !strings.Contains(refusal.Message, "wait to be admitted") {
			t.Fatalf("got %+v", refusal)
		}
		asked[refusal.RetryAfterSeconds] = true
	}
	if len(asked) < 5 || !asked[15] || !asked[21] || asked[14] || asked[23] {
		t.Errorf("2,000 are asked to come after %v seconds, want 15, when half of the line may be through, to 22", asked)
	}
	expectBusy(t, f.machine, "wait to be admitted")
}

// hello dials and says who it is, and leaves the answer to the test.
func (f *fixture) hello(t *testing.T, counter int64) *testagent.Link {
	t.Helper()
	link, _, err := f.machine.Dial(t)
	if err != nil {
		t.Fatal(err)
	}
	link.Send(f.machine.Hello(t, link.Challenge, counter))
	return link
}

func TestWhoWaitsInLineIsToldSoUntilItsWelcome(t *testing.T) {
	f := start(t, func(o *Options) { o.WaitEvery = time.Millisecond })
	admit := make(chan struct{})
	f.handler.admit = func(context.Context, *Session, *wire.HelloBody) error { <-admit; return nil }
	link := f.hello(t, 1)
	for range 3 {
		if wait := testagent.Expect[*wire.Wait](link); wait.Seconds < 1 {
			t.Errorf("it takes %d s", wait.Seconds)
		}
	}
	close(admit)
	s := next(t, f.handler.opened, "session")
	for {
		m, err := link.Read()
		if err != nil {
			t.Fatal(err)
		}
		if m.MessageType() == wire.TypeWelcome {
			break
		}
	}
	if err := s.Write(&wire.Drain{SpreadSeconds: 3}); err != nil {
		t.Fatal(err)
	}
	testagent.Expect[*wire.Drain](link) // and nothing else after the welcome
}

func TestWhoLeavesTheLineMakesRoom(t *testing.T) {
	f := start(t, func(o *Options) { o.WaitEvery = time.Millisecond })
	left := make(chan error, 1)
	f.handler.admit = func(ctx context.Context, _ *Session, _ *wire.HelloBody) error {
		<-ctx.Done()
		left <- ctx.Err()
		return ErrNoTime
	}
	_ = f.hello(t, 1).Conn.CloseNow()
	next(t, left, "end of the wait of a machine that is gone")
}

func TestAServerThatStopsSendsTheLineAway(t *testing.T) {
	f := start(t, nil)
	waits := make(chan struct{}, 1)
	f.handler.admit = func(ctx context.Context, _ *Session, _ *wire.HelloBody) error {
		waits <- struct{}{}
		<-ctx.Done()
		return ErrNoTime
	}
	link := f.hello(t, 1)
	next(t, waits, "session that waits")
	f.server.StopAccepting()
	if e := testagent.Expect[*wire.Error](link); e.Code != wire.CodeBusy || e.RetryAfterSeconds != 1 || !strings.Contains(e.Message, "going away") {
		t.Errorf("the agent is told %+v", e)
	}
}

func TestWhoWaitsTooLongIsToldWhenToComeAgain(t *testing.T) {
	f := start(t, func(o *Options) { o.AdmitTimeout = 10 * time.Millisecond })
	f.handler.admit = func(ctx context.Context, _ *Session, _ *wire.HelloBody) error {
		<-ctx.Done()
		return ctx.Err()
	}
	_, err := f.machine.TryConnect(t, 1)
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != wire.CodeBusy || e.RetryAfterSeconds == 0 || e.RetryAfterSeconds > 2 {
		t.Errorf("got %v", err)
	}
}

func expectBusy(t *testing.T, m *testagent.Machine, says string) {
	t.Helper()
	_, response, err := m.Dial(t)
	if err == nil || response == nil {
		t.Fatalf("got %v, want an HTTP answer", err)
	}
	var e wire.Error
	if err := json.NewDecoder(response.Body).Decode(&e); err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusServiceUnavailable || e.Code != wire.CodeBusy || !strings.Contains(e.Message, says) {
		t.Errorf("got HTTP %d %+v", response.StatusCode, e)
	}
	if response.Header.Get("Retry-After") == "" || e.RetryAfterSeconds < 1 {
		t.Errorf("no time to retry after: %v", response.Header)
	}
}
