package main

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/swarm"
)

// backups measures the API writes of scheduled backups, all told: every agent runs those of one Schedule, some groups one after the other.
func backups(w *world) ([]row, error) {
	mark, err := w.CP.AuditMark()
	if err != nil {
		return nil, err
	}
	perHost := 0
	for g := 0; g < groups; g += schedules {
		if fired := w.fleet.Fire(scheduleName(0), groupName(g), "2026-03-01T02:30"); fired != w.count {
			return nil, fmt.Errorf("%d of %d agents fired", fired, w.count)
		}
		perHost++
	}
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if err := w.fleet.Wait(ctx, "all results are stored", swarm.Idle); err != nil {
		return nil, err
	}
	if err := w.poll(ctx, "summary of the Schedule", func() (string, error) {
		var s v1alpha1.Schedule
		err := w.Get(ctx, client.ObjectKey{Namespace: namespace, Name: scheduleName(0)}, &s)
		if err == nil && s.Status.HostsSucceeded != int32(w.count) {
			return fmt.Sprintf("%d of %d Hosts succeeded", s.Status.HostsSucceeded, w.count), nil
		}
		return "", err
	}); err != nil {
		return nil, err
	}
	writes, err := w.writes(mark)
	if err != nil {
		return nil, err
	}
	done := w.count * perHost
	each := float64(writes.Total()-writes.Of("leases")) / float64(done)
	r := below("API writes per scheduled backup", fmt.Sprintf("%.2f", each), each, 3, "≤ 3")
	r.note = fmt.Sprintf("%d groups on each Host; Host status %.2f, Events %.2f", perHost, float64(writes.Of("hosts/status"))/float64(done), float64(writes.Of("events"))/float64(done))
	w.logf("writes of %d backups:\n%s", done, writes)
	return []row{r}, nil
}
