package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/swarm"
)

// waves is how often the wave and its baseline are measured, in turn.
const waves = 3

// wave measures the change of a SourceGroup that touches every Host: until every agent has applied it and status says so; against the writes that this took,
// made by a bare client on copies of the same objects.
func wave(w *world) ([]row, error) {
	var ours, bare, ourServer, bareServer []time.Duration
	var writes env.Writes
	var published, acknowledged int
	for i := range waves {
		mark, err := w.CP.AuditMark()
		if err != nil {
			return nil, err
		}
		used, err := w.shares()
		if err != nil {
			return nil, err
		}
		took, err := w.changeAll(fmt.Sprintf("/srv/wave-%d-%d", i, time.Now().UnixNano()))
		if err != nil {
			return nil, err
		}
		served, err := used.ofServer()
		if err != nil {
			return nil, err
		}
		ours, ourServer = append(ours, took), append(ourServer, served)
		if writes, err = w.writes(mark); err != nil {
			return nil, err
		}
		w.logf("the wave took %s (CPU: %s), with the writes\n%s", span(took), used, writes)
		published, acknowledged = writes.Of("schedulesets"), writes.Total()-writes.Of("schedulesets")-writes.Of("leases")
		// The controllers look once more at each Host that they wrote to. That is neither needed for the wave nor a part of its baseline.
		if err := w.rest(); err != nil {
			return nil, err
		}
		if used, err = w.shares(); err != nil {
			return nil, err
		}
		if took, err = w.bareWave(usual, published, acknowledged); err != nil {
			return nil, err
		}
		w.logf("bare writes took %s (CPU: %s)", span(took), used)
		if served, err = used.ofServer(); err != nil {
			return nil, err
		}
		bare, bareServer = append(bare, took), append(bareServer, served)
	}
	a, b := quantile(ours, 50), quantile(bare, 50)
	r := within("a SourceGroup change for all, until applied in status", span(a), span(b), paired(ours, bare), 1.3)
	r.note = fmt.Sprintf("%.2f writes per Host; %.0f Hosts a second", float64(writes.Total())/float64(w.count), float64(w.count)/a.Seconds())
	same, err := w.withoutFields(waves, func() (time.Duration, error) { return w.bareWave(unmanaged, published, acknowledged) })
	if err != nil {
		return nil, err
	}
	r.note += fmt.Sprintf("; bare writes to objects without managed fields, as ours are, take %s: %.2f×", span(same), ratio(a, same))
	ofUs, ofBare := quantile(ourServer, 50), quantile(bareServer, 50)
	server := row{what: "CPU of API server and etcd for it", ours: span(ofUs).String(), baseline: span(ofBare).String(), ratio: ratio(ofUs, ofBare)}
	server.note = "with the watches that it serves"
	return []row{r, server}, nil
}

// changeAll changes what a group includes, and waits.
func (w *world) changeAll(path string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	var g v1alpha1.SourceGroup
	if err := w.Get(ctx, client.ObjectKey{Namespace: namespace, Name: groupName(0)}, &g); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := w.Patch(ctx, &g, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"includes":[%q]}}`, path))); err != nil {
		return 0, err
	}
	if err := w.fleet.Wait(ctx, "all agents have the change", func(a *swarm.Agent) bool { return includes(a, path) }); err != nil {
		return 0, err
	}
	w.logf("all agents have it after %s", span(time.Since(began)))
	err := w.groupApplied(ctx, g.Name, g.Generation)
	w.touched = err == nil
	return time.Since(began), err
}

func includes(a *swarm.Agent, path string) bool {
	set := a.Set()
	if set == nil {
		return false
	}
	for _, g := range set.Groups {
		if slices.Contains(g.Includes, path) {
			return true
		}
	}
	return false
}

// withoutFields is how long bare writes take to objects that are as cheap to write as ours.
func (w *world) withoutFields(times int, write func() (time.Duration, error)) (time.Duration, error) {
	if err := w.copySets(unmanaged); err != nil {
		return 0, err
	}
	var all []time.Duration
	for range times {
		if err := w.rest(); err != nil {
			return 0, err
		}
		took, err := write()
		if err != nil {
			return 0, err
		}
		w.logf("bare writes to objects without managed fields took %s", span(took))
		all = append(all, took)
	}
	return quantile(all, 50), errors.Join(w.removeCopies(unmanaged), w.rest())
}

// bareWave makes as many writes of the two sorts.
func (w *world) bareWave(c copies, specs, statuses int) (time.Duration, error) {
	began := time.Now()
	err := concurrently(specs+statuses, atOnce, func(i int) error {
		if i%2 == 0 && i/2 < specs {
			return w.bareSpec(w.ctx, c, i/2%w.count)
		}
		_, err := w.bareStatus(w.ctx, c, i/2%w.count)
		return err
	})
	return time.Since(began), err
}
