package agentgateway

import (
	"context"
	"time"

	"github.com/restic-manager/restic-manager/agentgateway/admit"
	"github.com/restic-manager/restic-manager/agentgateway/hub"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// waitingFires bounds the fires of one session that wait for a verdict.
	waitingFires = 64
	// The agent waits wire.VerdictTimeout; three tries fit into it.
	verdictTries   = 3
	verdictTimeout = 15 * time.Second
)

// answer gives a fire its verdict. Without one the agent decides by itself, after wire.VerdictTimeout.
func (g *Gateway) answer(link *hub.Link, fire *wire.Fire) {
	log := g.o.Logger.With("host", link.Host().String(), "job", fire.JobID, "schedule", fire.Schedule, "sourceGroup", fire.SourceGroup,
		"nominal", fire.Nominal)
	if wait := g.asks.Reserve(link.Host().String(), g.o.Clock.Now()); wait > 0 {
		<-g.o.Clock.After(wait)
	}
	var state admit.State
	var err error
	for range verdictTries {
		ctx, cancel := context.WithTimeout(context.Background(), verdictTimeout)
		state, err = g.admission(ctx, link.Host())
		cancel()
		if err == nil {
			break
		}
		log.Warn("no verdict yet", "error", err)
		<-g.o.Clock.After(time.Second)
	}
	if err != nil {
		return
	}
	verdict := admit.Decide(*fire, state)
	log.Info("fire answered", "admit", verdict.Admit, "reason", string(verdict.Reason))
	if err := link.Send(&verdict); err != nil {
		log.Warn("verdict not sent", "error", err)
	}
}

// admission gathers what a verdict rests on.
func (g *Gateway) admission(ctx context.Context, host wire.HostRef) (admit.State, error) {
	state := admit.State{Host: host}
	set, err := g.published(ctx, host)
	if apierrors.IsNotFound(err) {
		return state, nil
	}
	if err != nil {
		return state, err
	}
	if set.Spec.Tombstone {
		return state, nil
	}
	var h v1alpha1.Host
	err = g.cluster.GetAPIReader().Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: host.Name}, &h)
	if apierrors.IsNotFound(err) {
		return state, nil
	}
	if err != nil {
		return state, err
	}
	state.Published = true
	state.Suspended = set.Spec.Host.Suspended
	for _, s := range set.Spec.Schedules {
		state.Schedules = append(state.Schedules, admit.Schedule{Name: s.Name, Suspended: s.Suspended, Groups: s.SourceGroups})
	}
	state.LastJob = make(map[string]string, len(h.Status.SourceGroups))
	for _, r := range h.Status.SourceGroups {
		state.LastJob[r.Name] = r.JobID
	}
	return state, nil
}
