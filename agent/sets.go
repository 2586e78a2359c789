package agent

import (
	"context"
	"fmt"

	"github.com/restic-manager/restic-manager/api/wire"
)

// judgeSet has a set judged and answers. Everything that follows from a new set happens in followSets.
func (a *Agent) judgeSet(offer *wire.SetOffer) {
	ack := a.desired.Offer(*offer)
	if ack.Applied {
		ack.NotAllowed = notAllowed(a.config.Allow, a.desired.Current())
	} else {
		a.status.update(func(s *Status) {
			s.Problem = fmt.Sprintf("set %s was refused (%s): %s", ack.Revision, ack.Reason, ack.Message)
		})
	}
	if err := a.session.Send(&ack); err != nil {
		a.logger.Warn("the acknowledgement of a set cannot be sent; the gateway learns it at the next connect", "error", err)
	}
}

// tellConsent acknowledges the set in force again: what the owner allows may have changed with nothing in the set, and the gateway does not offer
// a set that is in force. That matters at the first connect of a process, which is when agent.yaml was read; while something is not allowed it is told at
// each, lest a lost message hides it.
func (a *Agent) tellConsent() {
	set := a.desired.Current()
	if set == nil {
		return
	}
	ack := wire.SetAck{Revision: set.Revision, Applied: true, NotAllowed: notAllowed(a.config.Allow, set)}
	if len(ack.NotAllowed) == 0 && a.consentTold.Swap(true) {
		return
	}
	if err := a.session.Send(&ack); err != nil {
		a.consentTold.Store(false)
		a.logger.Debug("what the machine allows cannot be told; it is at the next connect", "error", err)
		return
	}
	a.consentTold.Store(true)
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
			s.AppliedRevision, s.Problem, s.NotAllowed = "", "", notAllowed(a.config.Allow, set)
			if set != nil {
				s.AppliedRevision = set.Revision
			}
			if problem := a.desired.Problem(); problem != nil {
				s.Problem = problem.Error()
			}
		})
		for _, n := range notAllowed(a.config.Allow, set) {
			a.logger.Warn("the set holds what agent.yaml does not allow; the backups that need it fail", "sourceGroup", n.SourceGroup, "consent", n.What, "message", n.Message)
		}
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
