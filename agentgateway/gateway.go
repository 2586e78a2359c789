package agentgateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/restic-manager/restic-manager/agentgateway/desired"
	"github.com/restic-manager/restic-manager/agentgateway/enrol"
	"github.com/restic-manager/restic-manager/agentgateway/hub"
	"github.com/restic-manager/restic-manager/agentgateway/install"
	"github.com/restic-manager/restic-manager/agentgateway/internal/pace"
	"github.com/restic-manager/restic-manager/agentgateway/internal/slim"
	"github.com/restic-manager/restic-manager/agentgateway/lease"
	"github.com/restic-manager/restic-manager/agentgateway/queries"
	"github.com/restic-manager/restic-manager/agentgateway/report"
	"github.com/restic-manager/restic-manager/agentgateway/session"
	"github.com/restic-manager/restic-manager/agentgateway/stream/collect"
	"github.com/restic-manager/restic-manager/api/wire"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
)

const (
	requestTimeout = 15 * time.Second
	syncTimeout    = 2 * time.Minute
	retryFirst     = 500 * time.Millisecond
	retryLast      = 30 * time.Second
	// drainGrace is how long after the spread sessions are ended by us.
	drainGrace = 2 * time.Second
	// departureWorkers write disconnections.
	departureWorkers = 4
	// A host may connect again and again while something restarts, then every two seconds: each time is a write.
	connectsPerSecond = 0.5
	connectsBurst     = 30
	connectRetry      = 30
	// Fires come many at once, at midnight; each is a read.
	firesPerSecond = 10
	firesBurst     = 300
)

func unixNano(n int64) time.Time { return time.Unix(0, n) }

// Gateway is one replica.
type Gateway struct {
	o          Options
	cluster    cluster.Cluster
	hub        *hub.Hub
	metrics    *metrics
	writer     *report.Writer
	pusher     *desired.Pusher
	lease      *lease.Keeper
	sessions   *session.Server
	enrolment  *enrol.Handler
	queries    *queries.Book
	answers    *collect.Handler
	installer  *install.Handler
	departures *departures
	admissions chan struct{}
	// connects and asks keep one host's connections and fires from costing others.
	connects, asks *pace.Limits
	// open maps *session.Session to *holding, tables *hub.Link to *stream.Table.
	open     sync.Map
	tables   sync.Map
	synced   atomic.Bool
	draining atomic.Bool
}

// New prepares a replica; it does nothing before Run.
func New(o Options) (*Gateway, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	o.Logger = o.Logger.With("gateway", o.Instance)
	objects := &slim.Objects{}
	c, err := newCluster(o.Config, objects)
	if err != nil {
		return nil, fmt.Errorf("connecting to the API server: %w", err)
	}
	g := &Gateway{o: o, cluster: c, hub: hub.New(), admissions: make(chan struct{}, o.Admissions),
		connects: pace.New(connectsPerSecond, connectsBurst), asks: pace.New(firesPerSecond, firesBurst)}
	g.metrics = newMetrics(map[string]func() int{connectedAgents: g.hub.Len, openStreams: func() int { return g.answers.Len() }})
	g.writer = report.NewWriter(report.Options{Client: c.GetClient(), Live: c.GetAPIReader(), Cache: c.GetCache(), Gateway: o.Instance,
		Clock: o.Clock, Meter: g.metrics, Logger: o.Logger})
	g.pusher = desired.New(desired.Options{Cache: c.GetCache(), Whole: objects.Whole, Live: c.GetAPIReader(), Hub: links{g.hub}, Jobs: jobs{g.writer},
		Logger: o.Logger, Workers: o.Workers})
	g.lease = &lease.Keeper{Client: c.GetClient(), Live: c.GetAPIReader(), Namespace: o.Namespace, Instance: o.Instance, PodName: o.PodName,
		PodUID: o.PodUID, Annotations: g.relayAnnotations, Clock: o.Clock, Logger: o.Logger}
	g.sessions = session.NewServer(session.Options{Gateway: o.Instance, HelpURL: o.HelpURL, Clock: o.Clock, Meter: g.metrics, Logger: o.Logger,
		Heartbeat: o.Heartbeat, Idle: o.OfflineAfter, MaxConnections: o.MaxConnections, ConnectRate: o.ConnectRate,
		ConnectBurst: o.ConnectBurst}, g)
	g.enrolment = enrol.New(enrol.Options{Client: c.GetClient(), Live: c.GetAPIReader(), Events: g.writer, Clock: o.Clock, Meter: g.metrics,
		Logger: o.Logger})
	g.queries = queries.New(c.GetCache())
	g.answers = collect.New(collect.Options{Queries: asked{g.queries}, Agents: agents{g}, Clock: o.Clock, Meter: g.metrics, Logger: o.Logger,
		Wait: o.QueryWait, MaxStreams: o.MaxStreams})
	g.installer = install.New(install.Options{Files: o.Install, Clock: o.Clock, Meter: g.metrics, Logger: o.Logger})
	g.departures = newDepartures(g)
	return g, nil
}

// Instance is the id of this replica, which its Lease's name ends with.
func (g *Gateway) Instance() string { return g.o.Instance }

// Ready tells whether connections are taken: the cache is synced and the replica is not going away.
func (g *Gateway) Ready() bool { return g.synced.Load() && !g.draining.Load() }

// Run serves until ctx ends and then stops gracefully; an error says what made it stop before.
func (g *Gateway) Run(ctx context.Context) error {
	// What the stop needs outlives ctx.
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)

	g.serveAside(inner, &wg, cancel)
	if err := g.startCache(ctx, inner, &wg, cancel); err != nil {
		return err
	}
	if err := g.lease.Acquire(ctx); err != nil {
		return err
	}
	wg.Go(func() { g.lease.Run(inner) })
	wg.Go(func() { g.pusher.Run(inner) })
	for range departureWorkers {
		wg.Go(func() {
			for g.departures.work(inner) {
			}
		})
	}
	defer g.departures.queue.ShutDown()

	server := g.agentServer()
	// Small records first would help a browser; answers are of use in whole frames.
	listener := tls.NewListener(&arrivals{g.o.Listener, pace.NewPlaces(maxArrivals)}, &tls.Config{GetCertificate: g.o.Certificate, MinVersion: tls.VersionTLS13,
		NextProtos: []string{"http/1.1"}, DynamicRecordSizingDisabled: true})
	wg.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			cancel(fmt.Errorf("serving agents: %w", err))
		}
	})
	g.synced.Store(true)
	g.o.Logger.Info("gateway is ready", "address", g.o.Listener.Addr().String())

	select {
	case <-ctx.Done():
		g.drain(server)
		return nil
	case <-inner.Done():
		_ = server.Close() // the error that ended it is what counts
		return context.Cause(inner)
	}
}

// startCache returns when the cache is synced.
func (g *Gateway) startCache(ctx, inner context.Context, wg *sync.WaitGroup, cancel context.CancelCauseFunc) error {
	if err := desired.IndexJobs(inner, g.cluster.GetFieldIndexer()); err != nil {
		return err
	}
	if err := g.pusher.Watch(inner); err != nil {
		return err
	}
	if err := g.queries.Watch(inner); err != nil {
		return err
	}
	wg.Go(func() {
		if err := g.cluster.Start(inner); err != nil {
			cancel(fmt.Errorf("watching the API server: %w", err))
		}
	})
	waiting, done := context.WithTimeout(ctx, syncTimeout)
	defer done()
	if !g.cluster.GetCache().WaitForCacheSync(waiting) {
		if err := context.Cause(inner); err != nil {
			return err
		}
		return errors.New("the cache of ScheduleSets, HostJobs and HostQueries did not sync: is the API server there, are the CRDs installed, may this " +
			"ServiceAccount list and watch them?")
	}
	return nil
}

func (g *Gateway) agentServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET "+wire.ConnectPath, g.sessions)
	mux.Handle("POST "+wire.EnrolPath, g.enrolment)
	mux.Handle("GET "+install.Path, g.installer)
	mux.Handle("GET "+wire.QueryPath+"/{namespace}/{name}", g.answers)
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second, // also of the TLS handshake
		ReadTimeout:       20 * time.Second, // a WebSocket is taken over before, and has deadlines of its own
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ConnState:         takenOver,
		ErrorLog:          slog.NewLogLogger(g.o.Logger.Handler(), slog.LevelDebug),
	}
}

// drain asks agents to go elsewhere, and ends the sessions that are left. Nothing is written about them: the deleted Lease says it.
func (g *Gateway) drain(server *http.Server) {
	g.draining.Store(true)
	g.sessions.StopAccepting()
	g.answers.Stop() // before the sessions: agents are told that nobody collects
	began := g.o.Clock.Now()
	links := g.hub.Links()
	g.o.Logger.Info("draining", "agents", len(links), "spread", g.o.DrainSpread.String())
	if g.o.DrainSpread >= time.Second {
		for _, link := range links {
			// A peer whose queue is full is ended below.
			_ = link.Send(&wire.Drain{SpreadSeconds: int(g.o.DrainSpread / time.Second)})
		}
		ctx, cancel := context.WithTimeout(context.Background(), g.o.DrainSpread+drainGrace)
		_ = g.sessions.Wait(ctx)
		cancel()
	}
	for _, link := range g.hub.Links() {
		link.Close(&wire.Error{Code: wire.CodeBusy, Message: "this replica is going away", RetryAfterSeconds: 1})
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainGrace)
	defer cancel()
	_ = g.sessions.Wait(ctx)
	g.answers.Wait(ctx)
	if err := server.Shutdown(ctx); err != nil {
		_ = server.Close() // nobody is left to tell
	}
	g.o.Logger.Info("drained", "took", g.o.Clock.Since(began).String())
}

// serveAside serves metrics and health, which need neither cache nor Lease.
func (g *Gateway) serveAside(ctx context.Context, wg *sync.WaitGroup, cancel context.CancelCauseFunc) {
	metrics := http.NewServeMux()
	metrics.Handle("GET /metrics", promhttp.HandlerFor(g.metrics.gatherer(), promhttp.HandlerOpts{}))
	health := http.NewServeMux()
	health.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	health.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !g.Ready() {
			http.Error(w, "the cache is not synced yet, or the replica is draining", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	for _, aside := range []struct {
		listener net.Listener
		handler  http.Handler
	}{{g.o.Metrics, metrics}, {g.o.Health, health}} {
		if aside.listener == nil {
			continue
		}
		server := &http.Server{Handler: aside.handler, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
			ErrorLog: slog.NewLogLogger(g.o.Logger.Handler(), slog.LevelDebug)}
		wg.Go(func() {
			if err := server.Serve(aside.listener); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("serving metrics or health: %w", err))
			}
		})
		wg.Go(func() {
			<-ctx.Done()
			_ = server.Close()
		})
	}
}
