package fires

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/agent/cron"
	"github.com/restic-manager/restic-manager/api/wire"
)

// connectGrace is how long a fire waits for a session before it counts as disconnected: at start-up the first fires come before
// the first session, and a gateway that restarts is back in seconds.
const connectGrace = 10 * time.Second

// Sender is the session.
type Sender interface {
	Send(wire.Message) error
}

// Starter begins the job of a fire.
type Starter interface {
	// Known tells whether the fire's job was started before, in whatever life of this agent.
	Known(jobID string) bool
	// StartFire makes the fire durable and begins it (or queues it).
	StartFire(f cron.Fire, offline bool) error
	// ReportMissed tells that the fire did not run.
	ReportMissed(f cron.Fire, message string)
}

// Settler is cron: a settled fire is not handed out again after a restart.
type Settler interface {
	Settle(cron.Fire) error
}

// Fires takes each fire from being due to a job, a refusal or a miss: it asks the gateway, and decides when there is no answer.
type Fires struct {
	// Settler is told of fires that are done with. It is set before the first one comes, and not after.
	Settler Settler

	sender  Sender
	starter Starter
	clock   clock.Clock
	logger  *slog.Logger

	mu sync.Mutex
	// opened is closed while there is a session; closed is closed while there is none.
	opened, closed chan struct{}
	connected      bool
	asked          map[string]chan wire.Verdict
	group          sync.WaitGroup
	ctx            context.Context
}

// New returns one whose waiting fires end with ctx.
func New(ctx context.Context, s Sender, st Starter, c clock.Clock, logger *slog.Logger) *Fires {
	f := &Fires{sender: s, starter: st, clock: c, logger: logger, opened: make(chan struct{}), closed: make(chan struct{}),
		asked: map[string]chan wire.Verdict{}, ctx: ctx}
	close(f.closed)
	return f
}

// SessionOpened lets fires ask the gateway.
func (f *Fires) SessionOpened() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.connected {
		f.connected = true
		close(f.opened)
		f.closed = make(chan struct{})
	}
}

// SessionClosed ends the waiting of fires that ask.
func (f *Fires) SessionClosed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.connected {
		f.connected = false
		close(f.closed)
		f.opened = make(chan struct{})
	}
}

// state returns channels that are closed when there is, and when there is no, session.
func (f *Fires) state() (opened, closed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened, f.closed
}

// Verdict passes an answer on to the fire that asked; others are not believed.
func (f *Fires) Verdict(v *wire.Verdict) {
	f.mu.Lock()
	asked := f.asked[v.JobID]
	delete(f.asked, v.JobID)
	f.mu.Unlock()
	if asked == nil {
		// A late one, or a gateway that lies: as often as it likes.
		f.logger.Debug("ignoring a verdict about a fire that does not wait for one", "job", v.JobID)
		return
	}
	asked <- *v
}

// Fire implements cron.Handler: it returns at once.
func (f *Fires) Fire(fire cron.Fire) {
	f.group.Go(func() { f.handle(fire) })
}

// Wait returns once no fire is being handled; only after ctx ended.
func (f *Fires) Wait() { f.group.Wait() }

// errNoVerdict: the gateway is away or silent.
var errNoVerdict = errors.New("no verdict")

// handle decides one fire. It returns without settling only when the agent stops: then the fire comes again at the next start.
func (f *Fires) handle(fire cron.Fire) {
	logger := f.logger.With("job", fire.JobID, "schedule", fire.Schedule, "sourceGroup", fire.SourceGroup, "nominal", fire.Nominal)
	for {
		if f.starter.Known(fire.JobID) {
			logger.Debug("this fire was started before")
			f.settle(fire, logger)
			return
		}
		if fire.Missed || f.tooLate(fire) {
			message := fire.Message
			if message == "" {
				message = fmt.Sprintf("The backup was due at %s and could not start within its starting deadline of %s: there was no verdict of the gateway.",
					fire.Due.UTC().Format(time.RFC3339), fire.StartingDeadline)
			}
			logger.Warn("a scheduled backup was missed", "message", message)
			f.starter.ReportMissed(fire, message)
			f.settle(fire, logger)
			return
		}
		verdict, err := f.ask(fire)
		switch {
		case f.ctx.Err() != nil:
			return
		case err == nil && !verdict.Admit:
			logger.Info("the gateway refuses a scheduled backup", "reason", verdict.Reason, "message", verdict.Message)
			f.settle(fire, logger)
			return
		case err == nil, fire.WhenDisconnected == wire.WhenDisconnectedRun:
			if f.start(fire, err != nil, logger) {
				return
			}
		default:
			logger.Info("a scheduled backup waits for the gateway, as its schedule says")
			if !f.waitForSession(fire) {
				return
			}
		}
	}
}

func (f *Fires) settle(fire cron.Fire, logger *slog.Logger) {
	if err := f.Settler.Settle(fire); err != nil {
		logger.Error("a fire cannot be remembered as done; after a restart it is looked at again", "error", err)
	}
}

// retryStart is the wait after a job could not be made durable.
const retryStart = 30 * time.Second

// start returns true when the fire is done with.
func (f *Fires) start(fire cron.Fire, offline bool, logger *slog.Logger) bool {
	if offline {
		logger.Info("a scheduled backup starts without a verdict: the gateway is away or silent")
	}
	err := f.starter.StartFire(fire, offline)
	if err == nil {
		f.settle(fire, logger)
		return true
	}
	logger.Error("a scheduled backup cannot start; trying again", "error", err, "retryIn", retryStart.String())
	return !f.sleep(retryStart)
}

// tooLate is about fires that waited here; what is late already when it becomes due, cron marks as missed.
func (f *Fires) tooLate(fire cron.Fire) bool {
	return fire.StartingDeadline > 0 && f.clock.Now().After(fire.Due.Add(fire.StartingDeadline))
}

// ask returns the gateway's verdict, or errNoVerdict when there is no session, it ends, or the gateway is silent.
func (f *Fires) ask(fire cron.Fire) (wire.Verdict, error) {
	opened, _ := f.state()
	grace := f.clock.NewTimer(connectGrace)
	defer grace.Stop()
	select {
	case <-opened:
	case <-grace.C():
		return wire.Verdict{}, errNoVerdict
	case <-f.ctx.Done():
		return wire.Verdict{}, f.ctx.Err()
	}
	answer := make(chan wire.Verdict, 1)
	f.mu.Lock()
	closed := f.closed
	f.asked[fire.JobID] = answer
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.asked, fire.JobID)
	}()
	timer := f.clock.NewTimer(wire.VerdictTimeout)
	defer timer.Stop()
	if err := f.sender.Send(&fire.Fire); err != nil {
		return wire.Verdict{}, errNoVerdict
	}
	select {
	case v := <-answer:
		return v, nil
	case <-timer.C():
	case <-closed:
	case <-f.ctx.Done():
		return wire.Verdict{}, f.ctx.Err()
	}
	return wire.Verdict{}, errNoVerdict
}

// waitForSession returns false when the agent stops. It also returns when the fire's deadline passed, and not before a while after a
// gateway was silent, lest it be asked without pause.
func (f *Fires) waitForSession(fire cron.Fire) bool {
	if !f.sleep(retryStart) {
		return false
	}
	opened, _ := f.state()
	var late <-chan time.Time
	if fire.StartingDeadline > 0 {
		timer := f.clock.NewTimer(fire.Due.Add(fire.StartingDeadline).Sub(f.clock.Now()) + time.Second)
		defer timer.Stop()
		late = timer.C()
	}
	select {
	case <-f.ctx.Done():
		return false
	case <-late:
	case <-opened:
	}
	return true
}

func (f *Fires) sleep(d time.Duration) bool {
	timer := f.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-f.ctx.Done():
		return false
	case <-timer.C():
		return true
	}
}
