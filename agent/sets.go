package agent

import (
	"context"
	"fmt"

	"github.com/restic-manager/restic-manager/api/wire"
)

// judgeSet has a set judged and answers. Everything that follows from a new set happens in followSets.
func (a *Agent) judgeSet(offer *wire.SetOffer) {
	ack := a.desired.Offer(*offer)
	if !ack.Applied {
		a.status.update(func(s *Status) {
			s.Problem = fmt.Sprintf("set %s was refused (%s): %s", ack.Revision, ack.Reason, ack.Message)
		})
	}
	if err := a.session.Send(&ack); err != nil {
		a.logger.Warn("the acknowledgement of a set cannot be sent; the gateway learns it at the next connect", "error", err)
	}
}

// followSets gives each set that comes into force to those who depend on it.
func (a *Agent) followSets(ctx context.Context) {
	for {
		changed := a.desired.Changed()
		set := a.desired.Current()
		if err := a.cron.Update(set); err != nil {
			a.logger.Error("a part of the set cannot be scheduled", "error", err)
		}
		a.status.update(func(s *Status) {
			s.AppliedRevision, s.Problem = "", ""
			if set != nil {
				s.AppliedRevision = set.Revision
			}
			if problem := a.desired.Problem(); problem != nil {
				s.Problem = problem.Error()
			}
		})
		if set != nil && set.Tombstone {
			a.logger.Warn("the Host of this machine was removed: no backups run, and its credentials were deleted here")
		}
		a.repository.look()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// group of the set in force, and the set.
func (a *Agent) group(name string) (*wire.ScheduleSet, *wire.SourceGroup) {
	set := a.desired.Current()
	if set == nil || set.Tombstone {
		return nil, nil
	}
	for i := range set.Groups {
		if set.Groups[i].Name == name {
			return set, &set.Groups[i]
		}
	}
	return set, nil
}
