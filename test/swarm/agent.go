package swarm

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/atomicfile/atomicfiletest"
	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/agent/cron"
	"github.com/restic-manager/restic-manager/agent/delivery"
	"github.com/restic-manager/restic-manager/agent/desired"
	"github.com/restic-manager/restic-manager/agent/fires"
	"github.com/restic-manager/restic-manager/agent/session"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// What the agents say of themselves.
const (
	agentVersion  = "v0.0.0-simulated"
	resticVersion = "0.19.1"
)

// Agent is one simulated machine. All methods may be called from any goroutine.
type Agent struct {
	fleet    *Fleet
	index    int
	name     string
	key      ed25519.PrivateKey
	sealing  []byte
	identity wire.Identity
	logger   *slog.Logger

	session  *session.Client
	desired  *desired.Store
	box      *box
	delivery *delivery.Delivery
	fires    *fires.Fires
	cron     *cron.Cron // nil without Options.Cron
	jobs     jobs

	mu          sync.Mutex
	credentials map[string]wire.Credential
	// hangUp and gone are of the session client that runs; nil while none does.
	hangUp  context.CancelFunc
	gone    chan struct{}
	trouble string
	// gateway is the replica of the session, or of the last one.
	gateway string
	// welcomed: there was a session before. consentTold: see agent.Agent.
	welcomed, consentTold bool
	// told is the last state of the repository that was reported, of the repository with this URL.
	told    wire.RepositoryState
	toldURL string
	// asking are fires under way.
	asking int
	// retold are commands that were answered again in this session.
	retold map[string]bool
}

// ahead is a clock that is not that of the others.
type ahead struct {
	clock.Clock
	by time.Duration
}

// Now implements clock.Clock.
func (a ahead) Now() time.Time { return a.Clock.Now().Add(a.by) }

// Share is the part of a time that belongs to the i-th of many, spread evenly whatever the number: neighbours are far from each other.
func Share(i int, of time.Duration) time.Duration {
	_, part := math.Modf(float64(i) * math.Phi)
	return time.Duration(part * float64(of))
}

// newAgent makes an agent's keys and parts.
func newAgent(f *Fleet, i int) (*Agent, error) {
	a := &Agent{fleet: f, index: i, name: f.o.name(i)}
	a.jobs.agent = a
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	if a.sealing, err = seal.NewSealingKey(); err != nil {
		return nil, err
	}
	sealingPublic, err := seal.SealingPublicKey(a.sealing)
	if err != nil {
		return nil, err
	}
	a.key, a.identity = private, wire.Identity{SigningKey: public, SealingKey: sealingPublic}
	a.logger = slog.New(&logging{agent: a, next: f.o.Logger.Handler()})
	return a, a.assemble()
}

// assemble is to a simulated agent what Agent.open of package agent is to a real one.
func (a *Agent) assemble() (err error) {
	o := &a.fleet.o
	a.desired, err = desired.Open(desired.Config{File: atomicfiletest.New(desired.FileName), Host: a.Ref(), IdentityHash: a.identity.Hash(), SealingKey: a.sealing,
		SigningKeys: o.SigningKeys, TLSPins: o.Pins, Vault: (*vault)(a), Clock: o.Clock, Logger: a.logger})
	if err != nil {
		return err
	}
	counter, err := session.ReadCounter(atomicfiletest.New("session.json"))
	if err != nil {
		return err
	}
	a.session, err = session.New(session.Options{Host: a.Ref(), URL: o.URL, Key: a.key, Pins: a.desired.TLSPins, HTTPClient: a.httpClient, Counter: counter,
		Describe: a.describe, Handler: (*handler)(a), Clock: ahead{o.Clock, Share(a.index, o.Skew)}, Logger: a.logger})
	if err != nil {
		return err
	}
	a.box = newBox()
	a.delivery = delivery.New(a.box, (*sender)(a), o.Clock, a.logger)
	a.fires = fires.New(a.fleet.ctx, (*sender)(a), (*starter)(a), o.Clock, a.logger)
	a.fires.Settler = (*settler)(a)
	if o.Cron {
		a.cron, err = cron.Open(cron.Options{Host: a.Ref(), File: atomicfiletest.New("cron.json"), Handler: (*due)(a), Clock: o.Clock, Logger: a.logger})
	}
	return err
}

// start lets what does not need a session run.
func (a *Agent) start() {
	a.fleet.work.Go(func() { a.delivery.Run(a.fleet.ctx) })
	if a.cron != nil {
		a.fleet.work.Go(func() { _ = a.cron.Run(a.fleet.ctx) })
	}
}

// Index counts from 0.
func (a *Agent) Index() int { return a.index }

// Name of the Host.
func (a *Agent) Name() string { return a.name }

// Ref names the Host.
func (a *Agent) Ref() wire.HostRef { return wire.HostRef{Namespace: a.fleet.o.Namespace, Name: a.name} }

// Identity is the public half of the agent's keys.
func (a *Agent) Identity() wire.Identity { return a.identity }

// Set is the set in force, nil before the first. It is shared: nobody changes it.
func (a *Agent) Set() *wire.ScheduleSet { return a.desired.Current() }

// Revision of the set in force, empty before the first.
func (a *Agent) Revision() string { return a.desired.AppliedRevision() }

// Credential of the set in force, opened; false when there is none of that name.
func (a *Agent) Credential(name string) (wire.Credential, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, ok := a.credentials[name]
	return c, ok
}

// Connected tells whether there is an accepted session.
func (a *Agent) Connected() bool { return a.session.Connected() }

// Gateway names the replica that holds the session; empty without one.
func (a *Agent) Gateway() string {
	if !a.Connected() {
		return ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gateway
}

// Waiting is how many durable reports were not acknowledged yet.
func (a *Agent) Waiting() int { return a.delivery.Waiting() }

// Idle tells whether no fire, job or report is under way.
func (a *Agent) Idle() bool {
	a.mu.Lock()
	asking := a.asking
	a.mu.Unlock()
	return asking == 0 && a.jobs.idle() && a.Waiting() == 0
}

// Trouble is why the last attempt to connect failed or the last session ended, as the agent's log says it; empty while connected.
func (a *Agent) Trouble() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.trouble
}

func (a *Agent) setTrouble(sentence string) {
	a.mu.Lock()
	a.trouble = sentence
	a.mu.Unlock()
	a.fleet.news.tell()
}

// String tells an agent's state, for errors.
func (a *Agent) String() string {
	state := "connected"
	if !a.Connected() {
		state = "no session"
		if trouble := a.Trouble(); trouble != "" {
			state = trouble
		}
	}
	return fmt.Sprintf("%s (%s; revision %q, %d reports wait)", a.name, state, a.Revision(), a.Waiting())
}

// Reconnect lets the agent keep a session open again after Disconnect. It returns at once.
func (a *Agent) Reconnect() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone != nil || a.fleet.ctx.Err() != nil {
		return
	}
	ctx, hangUp := context.WithCancel(a.fleet.ctx)
	gone := make(chan struct{})
	a.hangUp, a.gone = hangUp, gone
	a.fleet.work.Go(func() {
		defer close(gone)
		a.session.Run(ctx)
	})
}

// Disconnect says goodbye and stays away until Reconnect: a machine that was switched off. It returns when there is no session any more. Cron, where it
// runs, goes on.
func (a *Agent) Disconnect() {
	a.mu.Lock()
	hangUp, gone := a.hangUp, a.gone
	a.mu.Unlock()
	if gone == nil {
		return
	}
	hangUp()
	<-gone
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone == gone {
		a.hangUp, a.gone = nil, nil
	}
}

// errNotInSet: a real agent fires nothing else.
var errNotInSet = errors.New("not in the agent's set")

// Fire does what cron does when a backup is due at a nominal time (in the form of wire.NominalLayout): the gateway is asked, and the Behaviour says how
// the job ends. It returns at once; the error says that the set in force does not hold that schedule and group.
func (a *Agent) Fire(schedule, group, nominal string) error {
	if _, err := time.Parse(wire.NominalLayout, nominal); err != nil {
		return fmt.Errorf("nominal time: %w", err)
	}
	s := a.schedule(schedule)
	if s == nil {
		return fmt.Errorf("schedule %s: %w", schedule, errNotInSet)
	}
	for _, g := range s.Groups {
		if g != group {
			continue
		}
		now := a.fleet.o.Clock.Now().UTC()
		(*due)(a).Fire(cron.Fire{
			Fire: wire.Fire{JobID: wire.FireID(a.Ref(), schedule, group, nominal), Schedule: schedule, SourceGroup: group, Nominal: nominal, Due: now, Revision: a.Revision()},
			At:   now, WhenDisconnected: s.WhenDisconnected, StartingDeadline: time.Duration(s.StartingDeadlineSeconds) * time.Second,
		})
		return nil
	}
	return fmt.Errorf("source group %s of schedule %s: %w", group, schedule, errNotInSet)
}

// Report brings a durable report into the outbox, as it is.
func (a *Agent) Report(report wire.Report) {
	a.fleet.counts.reportsAdded.Add(1)
	a.delivery.Add(report)
}

// Send sends what is not durable on the open session, for instance progress.
func (a *Agent) Send(m wire.Message) error { return a.session.Send(m) }

// schedule of the set in force, nil when there is none of that name.
func (a *Agent) schedule(name string) *wire.Schedule {
	set := a.Set()
	if set == nil {
		return nil
	}
	for i := range set.Schedules {
		if set.Schedules[i].Name == name {
			return &set.Schedules[i]
		}
	}
	return nil
}

func (a *Agent) httpClient(pins []string) (*http.Client, error) {
	a.fleet.counts.dials.Add(1)
	return a.fleet.dialer.client(a.index, pins)
}

// describe is the agent's part of a hello.
func (a *Agent) describe() wire.HelloBody {
	queued, running := a.jobs.list()
	return wire.HelloBody{
		AgentVersion: agentVersion, ResticVersion: resticVersion, System: wire.System{OS: "linux", Arch: "amd64", Hostname: a.name},
		AppliedRevision: a.desired.AppliedRevision(), AppliedSerial: a.desired.AppliedSerial(),
		Epoch: a.box.Epoch(), Unacked: a.delivery.Waiting(), Queued: queued, Running: running,
	}
}

// vault is the Agent as the one who keeps its credentials.
type vault Agent

// Put implements desired.Vault.
func (v *vault) Put(_ string, credentials map[string]wire.Credential) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.credentials = maps.Clone(credentials)
	return nil
}

// Clear implements desired.Vault.
func (v *vault) Clear() error { return v.Put("", nil) }

// sender is the Agent as its parts send on its session.
type sender Agent

// Send implements delivery.Sender and fires.Sender.
func (s *sender) Send(m wire.Message) error {
	err := s.session.Send(m)
	if err != nil {
		return err
	}
	switch m.(type) {
	case *wire.Fire:
		s.fleet.counts.fires.Add(1)
	case wire.Report:
		s.fleet.counts.reportsSent.Add(1)
	}
	return nil
}
