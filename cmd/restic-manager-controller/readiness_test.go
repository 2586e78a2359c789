package main

import (
	"context"
	"sync"
	"testing"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// fakeManager keeps what is added to it.
type fakeManager struct {
	ctrl.Manager
	runnable manager.Runnable
	check    healthz.Checker
}

func (m *fakeManager) Add(r manager.Runnable) error { m.runnable = r; return nil }

func (m *fakeManager) AddReadyzCheck(_ string, check healthz.Checker) error {
	m.check = check
	return nil
}

func TestReadyFromTheSyncOfTheCachesUntilTheStop(t *testing.T) {
	mgr := &fakeManager{}
	if err := addReadiness(mgr); err != nil {
		t.Fatal(err)
	}
	if elected, is := mgr.runnable.(manager.LeaderElectionRunnable); !is || elected.NeedLeaderElection() {
		t.Error("a replica that does not lead would never be ready")
	}
	if mgr.check(nil) == nil {
		t.Error("ready before the manager started what waits for the caches")
	}
	ctx, cancel := context.WithCancel(t.Context())
	started := &announced{Context: ctx, asked: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := mgr.runnable.Start(started); err != nil {
			t.Error(err)
		}
	})
	<-started.asked
	if err := mgr.check(nil); err != nil {
		t.Errorf("not ready while it works: %v", err)
	}
	cancel()
	wg.Wait()
	if mgr.check(nil) == nil {
		t.Error("ready while it stops")
	}
}

// announced tells when somebody waits for its end.
type announced struct {
	context.Context
	once  sync.Once
	asked chan struct{}
}

func (a *announced) Done() <-chan struct{} {
	a.once.Do(func() { close(a.asked) })
	return a.Context.Done()
}
