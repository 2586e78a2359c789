package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

const (
	heartbeat = 30 * time.Second
	// skew is how far machines' clocks, with the ways to the gateway, differ: NTP keeps them within some milliseconds, and the ways take up to some tens.
	skew = 50 * time.Millisecond
	// window is how long a quiet fleet is watched.
	window = 90 * time.Second
)

// idle measures what a connected fleet costs while nothing happens: memory and CPU of the gateway, against the bare server with the same connections and
// heartbeats; and the writes of the operator in that time.
func idle(w *world) ([]row, error) {
	base, err := w.idleBare()
	if err != nil {
		return nil, err
	}
	mark, err := w.CP.AuditMark()
	if err != nil {
		return nil, err
	}
	used, err := watched(w.ctx, w.gatewayPIDs(), window)
	if err != nil {
		return nil, err
	}
	memory, err := total(w.gatewayPIDs(), resident)
	if err != nil {
		return nil, err
	}
	writes, err := w.writes(mark)
	if err != nil {
		return nil, err
	}
	each := func(s size) size { return s / size(w.count) }
	ofCore := func(used time.Duration) share { return share(float64(used) / float64(window) * 100) }
	leases := writes.Of("leases")
	rows := []row{
		within("gateway memory per idle agent", each(memory), each(base.memory), float64(memory)/float64(base.memory), 1.4),
		within("gateway CPU for heartbeats, of one core", ofCore(used), ofCore(base.pings), ratio(used, base.pings), 1.5),
		below("the same, alone", ofCore(used).String(), float64(ofCore(used)), 2, "≤ 2 % of a core"),
		below("API writes of a quiet fleet but Leases", fmt.Sprintf("%d in %s", writes.Total()-leases, window), float64(writes.Total()-leases), 0, "0"),
	}
	rows[1].note = fmt.Sprintf("baseline: the same pings; with heartbeats in JSON, which are not answered, the bare server takes %s", ofCore(base.json))
	rows[3].note = fmt.Sprintf("%d renewals of Leases", leases)
	if writes.Total() > leases {
		rows[3].note = strings.Join(strings.Fields(strings.ReplaceAll(writes.String(), "\n", ";")), " ") // what it was that should not be
	}
	return rows, nil
}

// bareIdle is what the bare server costs: its memory, and its CPU with heartbeats in JSON, which it only reads, and with those of the agents, which are pings.
type bareIdle struct {
	memory      size
	json, pings time.Duration
}

func (w *world) idleBare() (base bareIdle, err error) {
	b, err := w.startBare()
	if err != nil {
		return bareIdle{}, err
	}
	defer func() {
		if stopErr := b.stop(); err == nil {
			err = stopErr
		}
	}()
	if _, err := b.dial(w.ctx, w.count); err != nil {
		return bareIdle{}, err
	}
	if base.json, err = watched(w.ctx, []int{b.PID()}, window); err != nil {
		return bareIdle{}, err
	}
	if base.memory, err = resident(b.PID()); err != nil {
		return bareIdle{}, err
	}
	if err := b.pings(); err != nil {
		return bareIdle{}, err
	}
	base.pings, err = watched(w.ctx, []int{b.PID()}, window)
	return base, err
}

// watched is the CPU that processes use in a time, after a while to come to rest.
func watched(ctx context.Context, pids []int, window time.Duration) (time.Duration, error) {
	if err := sleep(ctx, heartbeat); err != nil {
		return 0, err
	}
	before, err := total(pids, cpu)
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, window); err != nil {
		return 0, err
	}
	after, err := total(pids, cpu)
	return after - before, err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// share of one core, in percent.
type share float64

func (s share) String() string { return fmt.Sprintf("%.2f %%", float64(s)) }

func ratio(a, b time.Duration) float64 {
	if b <= 0 {
		return 0
	}
	return float64(a) / float64(b)
}
