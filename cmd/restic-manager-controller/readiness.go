package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	ctrl "sigs.k8s.io/controller-runtime"
)

// readiness tells by /readyz whether a replica can work: its caches are synced, and it was not told to stop. Replicas that do not lead are ready too: they answer
// the webhook from their caches, and take over.
//
// It is a runnable of the manager, which starts runnables after the caches that are known by then have synced, and ends them before it closes its servers.
type readiness struct{ ready atomic.Bool }

func addReadiness(mgr ctrl.Manager) error {
	r := &readiness{}
	if err := mgr.Add(r); err != nil {
		return err
	}
	return mgr.AddReadyzCheck("caches", r.check)
}

// Start implements manager.Runnable.
func (r *readiness) Start(ctx context.Context) error {
	r.ready.Store(true)
	<-ctx.Done()
	r.ready.Store(false)
	return nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*readiness) NeedLeaderElection() bool { return false }

func (r *readiness) check(*http.Request) error {
	if !r.ready.Load() {
		return errors.New("the caches are not synced yet, or the controllers are stopping")
	}
	return nil
}
