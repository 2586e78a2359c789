package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/swarm"
)

// storms is how often the return and its baselines are measured, in turn: a collection of the API server's garbage falls into one of some returns, and takes a part of it.
const storms = 5

// cheaper is how often bare patches of objects that are as cheap as ours are measured, for the note beside the figure.
const cheaper = 3

// lasting is how long all sessions are to have been there when the gateways are killed: agents come back the later the more often they were cut off within the first
// minute, as they should from a gateway that does not stay.
const lasting = 70 * time.Second

// comeback is what one return took, and what its baselines did just before.
type comeback struct {
	dials, patches, bareServed time.Duration
	took, served, start        time.Duration
	sessions                   string
	peak, steady               size
}

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
	var all []comeback
	connected := time.Now() // at the latest
	for range storms {
		c := comeback{}
		if err := w.bareReturn(&c); err != nil {
			return nil, err
		}
		if err := sleep(w.ctx, time.Until(connected.Add(lasting))); err != nil {
			return nil, err
		}
		if err := w.killed(&c); err != nil {
			return nil, err
		}
		connected = time.Now()
		if err := w.rest(); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	same, err := w.withoutFields(cheaper, func() (time.Duration, error) { return w.barePatches(unmanaged) })
	if err != nil {
		return nil, err
	}
	return comebacks(all, same), nil
}

// comebacks is the table of some returns: medians. same is what patches of objects without managed fields take.
func comebacks(all []comeback, same time.Duration) []row {
	every := func(of func(comeback) time.Duration) []time.Duration {
		var each []time.Duration
		for _, c := range all {
			each = append(each, of(c))
		}
		return each
	}
	middle := func(of func(comeback) time.Duration) time.Duration { return quantile(every(of), 50) }
	took := middle(func(c comeback) time.Duration { return c.took })
	dials := middle(func(c comeback) time.Duration { return c.dials })
	patches := middle(func(c comeback) time.Duration { return c.patches })
	slower := every(func(c comeback) time.Duration { return max(c.dials, c.patches) })
	var each []string
	for i, c := range all {
		each = append(each, fmt.Sprintf("%s (%.2f×)", span(c.took), ratio(c.took, slower[i])))
	}
	last := all[len(all)-1]
	r := within("all agents back after every gateway was killed", span(took), span(quantile(slower, 50)), paired(every(func(c comeback) time.Duration { return c.took }), slower), 1.5)
	r.note = fmt.Sprintf("each: %s; dials %s, patches %s, %.2f× of both one after the other; patches of objects without managed fields, as ours are, take %s: %.2f×; sessions of the last: %s; from the gateway's own start, which took %s",
		strings.Join(each, ", "), span(dials), span(patches), ratio(took, dials+patches), span(same), ratio(took, same), last.sessions, span(last.start))
	served := middle(func(c comeback) time.Duration { return c.served })
	bareServed := middle(func(c comeback) time.Duration { return c.bareServed })
	server := row{what: "CPU of API server and etcd for it", ours: span(served).String(), baseline: span(bareServed).String(), ratio: ratio(served, bareServed)}
	server.note = "baseline: the patches; with the watches that it serves"
	worst := slices.MaxFunc(all, func(a, b comeback) int {
		return cmp.Compare(float64(a.peak)/float64(a.steady), float64(b.peak)/float64(b.steady))
	})
	m := within("gateway memory at its peak meanwhile", worst.peak, worst.steady, float64(worst.peak)/float64(worst.steady), 2)
	m.note = "baseline: the same fleet at rest"
	return []row{r, server, m}
}

// bareReturn measures the baselines.
func (w *world) bareReturn(c *comeback) (err error) {
	if c.dials, err = w.bareDials(); err != nil {
		return err
	}
	used, err := w.shares()
	if err != nil {
		return err
	}
	if c.patches, err = w.barePatches(usual); err != nil {
		return err
	}
	c.bareServed, err = used.ofServer()
	return err
}

// killed kills every gateway, starts them again and waits until all agents are back.
func (w *world) killed(c *comeback) (err error) {
	if c.steady, err = total(w.gatewayPIDs(), resident); err != nil {
		return err
	}
	used, err := w.shares()
	if err != nil {
		return err
	}
	mark, err := w.CP.AuditMark()
	if err != nil {
		return err
	}
	before := w.fleet.Counts()
	killed := time.Now()
	for _, g := range w.Replicas {
		if err := g.Kill(); err != nil {
			return err
		}
	}
	for _, g := range w.Replicas {
		if err := g.Start(w.ctx); err != nil {
			return err
		}
	}
	up := time.Now()
	c.start = up.Sub(killed)
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	want := before.Sessions + int64(w.count)
	back := w.watchReturn(ctx, up, before.Sessions)
	if err := w.fleet.Wait(ctx, "all agents are back", func(a *swarm.Agent) bool { return a.Connected() && a.Idle() }); err != nil {
		return err
	}
	// What a look shows was so when it began, or some milliseconds later: to list ten thousand sets takes seconds.
	var looked time.Time
	if err := w.poll(ctx, "status of all connections", func() (string, error) {
		looked = time.Now()
		return w.notBack(ctx, killed, want)
	}); err != nil {
		return err
	}
	c.took = looked.Sub(up)
	if c.served, err = used.ofServer(); err != nil {
		return err
	}
	requests, err := w.requests(mark)
	if err != nil {
		return err
	}
	w.logf("requests of the operator: %s", requests)
	w.logf("the return took %s after %s of bare patches (CPU: %s); dials %d; why there was no session, ever: %v", span(c.took), span(c.patches), used,
		w.fleet.Counts().Dials-before.Dials, w.fleet.Endings())
	cancel()
	c.sessions = <-back
	c.peak, err = total(w.gatewayPIDs(), peak)
	return err
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
