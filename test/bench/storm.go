package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/swarm"
)

// storm measures the return of the whole fleet after every gateway was killed: until all agents are connected and current, and status says so; against the
// slower of as many bare TLS dials and as many bare patches of a status.
func storm(w *world) ([]row, error) {
	// A set loses its managed fields with its first change, which all of them have behind them in a fleet that is not new (ADR 0040).
	if !w.touched {
		if _, err := w.changeAll("/srv/storm"); err != nil {
			return nil, err
		}
		if err := w.rest(); err != nil {
			return nil, err
		}
	}
	dials, err := w.bareDials()
	if err != nil {
		return nil, err
	}
	used, err := w.shares()
	if err != nil {
		return nil, err
	}
	patches, err := w.barePatches(usual)
	if err != nil {
		return nil, err
	}
	bareServed, err := used.ofServer()
	if err != nil {
		return nil, err
	}
	same, err := w.unmanaged(1, func() (time.Duration, error) { return w.barePatches(unmanaged) })
	if err != nil {
		return nil, err
	}
	steady, err := total(w.gatewayPIDs(), resident)
	if err != nil {
		return nil, err
	}
	if used, err = w.shares(); err != nil {
		return nil, err
	}
	mark, err := w.CP.AuditMark()
	if err != nil {
		return nil, err
	}
	before := w.fleet.Counts()
	killed := time.Now()
	for _, g := range w.Replicas {
		if err := g.Kill(); err != nil {
			return nil, err
		}
	}
	for _, g := range w.Replicas {
		if err := g.Start(w.ctx); err != nil {
			return nil, err
		}
	}
	up := time.Now()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	want := before.Sessions + int64(w.count)
	back := w.watchReturn(ctx, up, before.Sessions)
	if err := w.fleet.Wait(ctx, "all agents are back", func(a *swarm.Agent) bool { return a.Connected() && a.Idle() }); err != nil {
		return nil, err
	}
	if err := w.poll(ctx, "status of all connections", func() (string, error) { return w.notBack(ctx, killed, want) }); err != nil {
		return nil, err
	}
	took := time.Since(up)
	served, err := used.ofServer()
	if err != nil {
		return nil, err
	}
	requests, err := w.requests(mark)
	if err != nil {
		return nil, err
	}
	w.logf("requests of the operator: %s", requests)
	w.logf("the return took %s (CPU: %s); why there was no session: %v", span(took), used, w.fleet.Endings())
	cancel()
	highest, err := total(w.gatewayPIDs(), peak)
	if err != nil {
		return nil, err
	}
	slower := max(dials, patches)
	r := within("all agents back after every gateway was killed", span(took), span(slower), ratio(took, slower), 1.5)
	r.note = fmt.Sprintf("dials %s, patches %s, %.2f× of both one after the other; patches of objects without managed fields, as ours are, take %s; sessions: %s; from the gateway's own start, which took %s", span(dials), span(patches), ratio(took, dials+patches), span(same), <-back, span(up.Sub(killed)))
	server := row{what: "CPU of API server and etcd for it", ours: span(served).String(), baseline: span(bareServed).String(), ratio: ratio(served, bareServed)}
	server.note = "baseline: the patches; with the watches that it serves"
	m := within("gateway memory at its peak meanwhile", highest, steady, float64(highest)/float64(steady), 2)
	m.note = "baseline: the same fleet at rest"
	return []row{r, server, m}, nil
}

// watchReturn tells, when ctx ends, after how long how many sessions had begun.
func (w *world) watchReturn(ctx context.Context, since time.Time, before int64) <-chan string {
	told := make(chan string, 1)
	go func() {
		var said []string
		shares := []int64{50, 90, 99, 100}
		clock := time.NewTicker(50 * time.Millisecond)
		defer clock.Stop()
		for ctx.Err() == nil && len(shares) > 0 {
			for len(shares) > 0 && (w.fleet.Counts().Sessions-before)*100 >= shares[0]*int64(w.count) {
				said = append(said, fmt.Sprintf("%d %% after %s", shares[0], span(time.Since(since))))
				shares = shares[1:]
			}
			select {
			case <-ctx.Done():
			case <-clock.C:
			}
		}
		told <- strings.Join(said, ", ")
	}()
	return told
}

// notBack tells what is missing: sessions, or their record in the API.
func (w *world) notBack(ctx context.Context, since time.Time, sessions int64) (string, error) {
	if got := w.fleet.Counts().Sessions; got < sessions {
		return fmt.Sprintf("%d sessions of %d", got, sessions), nil
	}
	var sets v1alpha1.ScheduleSetList
	if err := w.List(ctx, &sets, client.InNamespace(namespace)); err != nil {
		return "", err
	}
	missing := 0
	for i := range sets.Items {
		s := &sets.Items[i]
		c := s.Status.Connection
		if c == nil || c.DisconnectedTime != nil || c.ConnectedTime.Time.Before(since.Truncate(time.Second)) || s.Status.AppliedRevision != s.Spec.Revision {
			missing++
		}
	}
	if missing > 0 {
		return fmt.Sprintf("%d of %d connections are not in status", missing, len(sets.Items)), nil
	}
	return "", nil
}

func (w *world) bareDials() (took time.Duration, err error) {
	b, err := w.startBare()
	if err != nil {
		return 0, err
	}
	defer func() {
		if stopErr := b.stop(); err == nil {
			err = stopErr
		}
	}()
	return b.dial(w.ctx, w.count)
}

func (w *world) barePatches(c copies) (time.Duration, error) {
	began := time.Now()
	err := concurrently(w.count, atOnce, func(i int) error {
		_, err := w.bareStatus(w.ctx, c, i)
		return err
	})
	return time.Since(began), err
}
