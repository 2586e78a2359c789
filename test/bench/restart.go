package main

import (
	"fmt"
	"time"
)

// restart measures the controllers: what they hold and use with the fleet at rest, and how long after their start the first change reaches a machine.
func restart(w *world) ([]row, error) {
	mark, err := w.CP.AuditMark()
	if err != nil {
		return nil, err
	}
	if err := w.Controller.Stop(); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := w.Controller.Start(w.ctx); err != nil {
		return nil, err
	}
	if _, err := w.changeAll(fmt.Sprintf("/srv/after-%d", began.UnixNano())); err != nil {
		return nil, err
	}
	took := time.Since(began)
	used, err := cpu(w.Controller.PID())
	if err != nil {
		return nil, err
	}
	writes, err := w.writes(mark)
	if err != nil {
		return nil, err
	}
	w.logf("writes of a restart with a change for all:\n%s", writes)

	// And once more, with nothing changed.
	if mark, err = w.CP.AuditMark(); err != nil {
		return nil, err
	}
	if err := w.Controller.Stop(); err != nil {
		return nil, err
	}
	if err := w.Controller.Start(w.ctx); err != nil {
		return nil, err
	}
	quiet, err := watched(w.ctx, []int{w.Controller.PID()}, window)
	if err != nil {
		return nil, err
	}
	highest, err := peak(w.Controller.PID())
	if err != nil {
		return nil, err
	}
	if writes, err = w.writes(mark); err != nil {
		return nil, err
	}
	const limit = 512 << 20
	memory := below("controller memory at its peak", highest.String(), highest, limit, "≤ 512 MiB")
	again := below("sets published by a start with nothing changed", fmt.Sprint(writes.Of("schedulesets")), int64(writes.Of("schedulesets")), 0, "0")
	again.note = fmt.Sprintf("all writes but Leases: %d", writes.Total()-writes.Of("leases"))
	return []row{
		memory, again,
		{what: "controllers' start until a change has reached all machines and status", ours: span(took).String(), note: "CPU " + span(used).String()},
		{what: "controller CPU at rest, of one core", ours: share(float64(quiet) / float64(window) * 100).String()},
	}, nil
}
