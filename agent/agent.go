package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/agent/cron"
	"github.com/restic-manager/restic-manager/agent/delivery"
	"github.com/restic-manager/restic-manager/agent/desired"
	"github.com/restic-manager/restic-manager/agent/fires"
	"github.com/restic-manager/restic-manager/agent/footprint"
	"github.com/restic-manager/restic-manager/agent/job"
	"github.com/restic-manager/restic-manager/agent/outbox"
	"github.com/restic-manager/restic-manager/agent/query"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/agent/session"
	"github.com/restic-manager/restic-manager/agent/vault"
	"github.com/restic-manager/restic-manager/api/wire"
)

// Options of an Agent.
type Options struct {
	// Config is a loaded agent.yaml.
	Config *config.Config
	// ConfigPath is the file that it was loaded from: nothing is ever restored over its folder. Empty: there is none.
	ConfigPath string
	// Version of the agent, for the gateway.
	Version string
	// Clock and Logger have defaults.
	Clock  clock.Clock
	Logger *slog.Logger
	// UnreachableAfter, RetryLock and Grace are those of restic.Runner; 0 means its defaults.
	UnreachableAfter, RetryLock, Grace time.Duration
	// RetryBackoff is that of job.Options; nil means its default.
	RetryBackoff []time.Duration
}

// Folders of restic in the state folder.
const (
	cacheDir = "cache"
	tempDir  = "tmp"
)

// Agent is the whole agent of one machine. Make it with New, use Run once, and Close it.
type Agent struct {
	o      Options
	config *config.Config
	logger *slog.Logger
	lock   *os.File
	restic *restic.Finder
	// startedAt is for diagnoses.
	startedAt time.Time

	vault      *vault.Vault
	desired    *desired.Store
	jobs       *job.Manager
	cron       *cron.Cron
	session    *session.Client
	outbox     *outbox.Outbox
	reports    *delivery.Delivery
	fires      *fires.Fires
	queries    *query.Answers
	refusals   *limiter
	retold     *limiter
	repository *repository
	status     *statusWriter
	// consentTold: this process has told the gateway what of the set in force agent.yaml does not allow.
	consentTold atomic.Bool

	stopFires context.CancelFunc
}

// New opens the state folder, which no other agent may use at the same time (ErrLocked). Nothing is dialled and nothing runs yet.
func New(o Options) (*Agent, error) {
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	dir := o.Config.StateDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	a := &Agent{o: o, config: o.Config, logger: o.Logger, lock: lock, startedAt: o.Clock.Now().UTC()}
	if err := a.open(dir); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return a, nil
}

// Close releases the lock, after Run returned.
func (a *Agent) Close() error { return a.lock.Close() }

func (a *Agent) open(dir string) error {
	c := a.config
	if err := atomicfile.CleanTemp(dir); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	if err := claimState(dir, c.Host.UID, a.o.Clock.Now(), a.logger); err != nil {
		return err
	}
	identity, err := c.PublicIdentity()
	if err != nil {
		return err
	}
	a.status = newStatusWriter(dir, c.Ref(), a.o.Version, c.Gateway.URL, a.logger)
	if err := a.openDesired(dir, identity.Hash()); err != nil {
		return err
	}
	counter, err := session.OpenCounter(filepath.Join(dir, "session.json"))
	if err != nil {
		a.logger.Warn(err.Error())
	}
	a.session, err = session.New(session.Options{Host: c.Ref(), URL: c.Gateway.URL, Key: c.SigningPrivateKey(), Pins: a.desired.TLSPins, Counter: counter,
		Removed: a.removed, Describe: a.describe, Handler: (*events)(a), Clock: a.o.Clock, Logger: a.logger.With("part", "session")})
	if err != nil {
		return err
	}
	a.outbox, err = outbox.Open(filepath.Join(dir, "outbox"), outbox.Options{Logger: a.logger.With("part", "outbox")})
	if err != nil {
		return err
	}
	a.reports = delivery.New(a.outbox, a.session, a.o.Clock, a.logger.With("part", "reports"))
	a.refusals = &limiter{clock: a.o.Clock, seen: map[string]bool{}}
	a.retold = &limiter{clock: a.o.Clock, seen: map[string]bool{}}
	a.restic = restic.NewFinder(c.ResticPath, a.o.Clock)
	a.jobs, err = job.Open(job.Options{
		Dir: filepath.Join(dir, "ledger"), LogDir: filepath.Join(dir, "logs"), CacheDir: filepath.Join(dir, cacheDir),
		TempDir: filepath.Join(dir, tempDir), RestoreDir: filepath.Join(dir, "restore"), ScratchDir: filepath.Join(dir, "verify"), StatsPath: filepath.Join(dir, statsFile),
		Host: c.Ref(), Own: a.own, AllowHook: c.Allow.CheckHook, AllowCommand: c.Allow.CheckCommand,
		AllowRestore: c.Allow.Restore, AllowRclone: c.Allow.Rclone.Granted(), Protected: []string{dir}, ConfigDirs: configDirs(a.o.ConfigPath),
		Restic: a.restic.Find, Proxy: proxyEnvironment(), Observer: (*observer)(a), Clock: a.o.Clock, Logger: a.logger.With("part", "jobs"),
		UnreachableAfter: a.o.UnreachableAfter, RetryLock: a.o.RetryLock, Grace: a.o.Grace, RetryBackoff: a.o.RetryBackoff,
	})
	if err != nil {
		return err
	}
	a.repository = newRepository(a)
	a.queries = a.newQueries()
	var waiting context.Context
	waiting, a.stopFires = context.WithCancel(context.Background())
	a.fires = fires.New(waiting, a.session, (*fireStarter)(a), a.o.Clock, a.logger.With("part", "fires"))
	a.cron, err = cron.Open(cron.Options{Host: c.Ref(), Path: filepath.Join(dir, "cron.json"), Handler: a.fires, Clock: a.o.Clock, Logger: a.logger.With("part", "cron")})
	if err != nil {
		return err
	}
	a.fires.Settler = a.cron
	return nil
}

func (a *Agent) openDesired(dir, identityHash string) error {
	c := a.config
	path := filepath.Join(dir, "secrets.enc")
	credentials, err := vault.Open(path, c.Identity.SealingKey)
	var damaged *vault.DamagedError
	if errors.As(err, &damaged) {
		// The signed set on disk holds everything that was in it, sealed: it is filled again from there, or by the gateway.
		aside, asideErr := vault.SetAside(path)
		if asideErr != nil {
			return fmt.Errorf("%w; setting it aside failed too: %w", err, asideErr)
		}
		a.logger.Error("the stored credentials do not open; they were set aside and are taken from the signed set again", "error", err, "movedTo", aside)
		credentials, err = vault.Open(path, c.Identity.SealingKey)
	}
	if err != nil {
		return err
	}
	a.vault = credentials
	a.desired, err = desired.Open(desired.Config{Dir: dir, Host: c.Ref(), IdentityHash: identityHash, SealingKey: c.Identity.SealingKey,
		SigningKeys: c.TrustedKeys(), SerialFloor: c.SerialFloor, TLSPins: c.Gateway.TLSPins, Vault: credentials, Clock: a.o.Clock,
		Check: checkSet(c.Allow), Logger: a.logger.With("part", "sets")})
	return err
}

// describe is the agent's part of a hello.
func (a *Agent) describe() wire.HelloBody {
	return wire.HelloBody{
		AgentVersion:    a.o.Version,
		ResticVersion:   a.restic.Version(),
		System:          thisSystem(),
		AppliedRevision: a.desired.AppliedRevision(),
		AppliedSerial:   a.desired.AppliedSerial(),
		Epoch:           a.outbox.Epoch(),
		Unacked:         a.reports.Waiting(),
		Queued:          a.jobs.Queued(),
		Running:         a.jobs.Running(),
	}
}

// flushPatience is how long a stopping agent waits for its last results to be taken; what is not, is sent after the next start.
const flushPatience = 3 * time.Second

// Run works until ctx ends. Then nothing new starts, a running restic is stopped and its result stored, and Run returns.
func (a *Agent) Run(ctx context.Context) {
	a.start(ctx)
	var parts, talking sync.WaitGroup
	parts.Go(func() { a.followSets(ctx) })
	parts.Go(func() { _ = a.cron.Run(ctx) })
	small := footprint.Keeper{Clock: clock.Real{}, Busy: func() bool { return len(a.jobs.Running()) > 0 }}
	parts.Go(func() { small.Run(ctx) })

	// The session outlives ctx, so that the last results can still be sent.
	talk, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	talking.Go(func() { a.session.Run(talk) })
	talking.Go(func() { a.reports.Run(talk) })

	<-ctx.Done()
	a.logger.Info("stopping: no new work, a running restic is asked to end")
	parts.Wait()
	a.queries.Stop()
	a.stopFires()
	a.fires.Wait()
	a.jobs.Close()
	a.flush()
	hangUp()
	talking.Wait()
	a.logger.Info("stopped")
}

// start tells what the last process left behind, and looks for restic.
func (a *Agent) start(ctx context.Context) {
	a.jobs.Recover()
	a.heedRemoval()
	binary, err := a.restic.Find(ctx)
	if err != nil {
		a.logger.Error("no usable restic on this machine; jobs fail until there is one", "error", err)
		a.repository.resticMissing(err)
	}
	set := a.desired.Current()
	attributes := []any{"version", a.o.Version, "host", a.config.Ref().String(), "gateway", a.config.Gateway.URL, "state", a.config.StateDir,
		"restic", binary.Version, "waitingReports", a.reports.Waiting()}
	if set != nil {
		attributes = append(attributes, "revision", set.Revision)
	}
	a.logger.Info("restic-manager-agent starts", attributes...)
	if problem := a.desired.Problem(); problem != nil {
		a.logger.Error("the stored set is not in force; waiting for the gateway to bring one", "reason", problem.Reason, "message", problem.Message)
	}
}

// flush waits a moment for the gateway to take the last results.
func (a *Agent) flush() {
	deadline := time.NewTimer(flushPatience)
	defer deadline.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for a.session.Connected() && a.reports.Waiting() > 0 {
		select {
		case <-deadline.C:
			return
		case <-look.C:
		}
	}
}
