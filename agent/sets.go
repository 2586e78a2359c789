package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// judgeSet has a set judged and answers. Everything that follows from a new set happens in followSets.
func (a *Agent) judgeSet(offer *wire.SetOffer) {
	ack := a.desired.Offer(*offer)
	a.heedRemoval() // before the acknowledgement: nothing begins after it
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

// heedRemoval has the jobs follow whether the Host was removed.
func (a *Agent) heedRemoval() { a.jobs.SetRemoved(a.removed()) }

// removed tells whether the set in force is a tombstone.
func (a *Agent) removed() bool {
	set := a.desired.Current()
	return set != nil && set.Tombstone
}

// tellRemoval says what became of the Host since the set before, nil for none in this process.
func (a *Agent) tellRemoval(before, set *wire.ScheduleSet) {
	switch was := before != nil && before.Tombstone; {
	case set == nil:
	case set.Tombstone && !was && set.KeepCredentials:
		a.logger.Warn("the Host of this machine was removed in the cluster: no backups run here any more. Its snapshots stay in the repository. What opens it is kept here for "+
			"`restic-manager-agent export-credentials`, since nobody confirmed another copy of the password that was made for it", "removedAt", removedAt(set))
	case set.Tombstone && !was:
		a.logger.Warn("the Host of this machine was removed in the cluster: no backups run here any more, and the credentials of its repository were deleted here. "+
			"Its snapshots stay in the repository", "removedAt", removedAt(set))
	case !set.Tombstone && was:
		a.logger.Info("the Host of this machine is back: backups run again")
	}
}

// removedAt is when a tombstone was written: serials are times.
func removedAt(tombstone *wire.ScheduleSet) time.Time { return time.UnixMicro(tombstone.Serial).UTC() }

// tellConsent acknowledges the set in force again: what the owner allows may have changed with nothing in the set, and the gateway does not offer
// a set that is in force. That matters at the first connect of a process, which is when agent.yaml was read; while something is not allowed it is told at
// each, lest a lost message hides it.
func (a *Agent) tellConsent() {
	set := a.desired.Current()
	if set == nil {
		return
	}
	ack := wire.SetAck{Revision: set.Revision, Applied: true, Serial: set.Serial, NotAllowed: notAllowed(a.config.Allow, set)}
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
	var before *wire.ScheduleSet
	for {
		changed := a.desired.Changed()
		set := a.desired.Current()
		if err := a.cron.Update(set); err != nil {
			a.logger.Error("a part of the set cannot be scheduled", "error", err)
		}
		a.status.update(func(s *Status) {
			s.AppliedRevision, s.Problem, s.NotAllowed = "", "", notAllowed(a.config.Allow, set)
			s.RemovedAt, s.CredentialsKept = time.Time{}, false
			if set != nil {
				s.AppliedRevision = set.Revision
			}
			if set != nil && set.Tombstone {
				s.RemovedAt, s.CredentialsKept = removedAt(set), set.KeepCredentials
			}
			if problem := a.desired.Problem(); problem != nil {
				s.Problem = problem.Error()
			}
		})
		for _, n := range notAllowed(a.config.Allow, set) {
			a.logger.Warn("the set holds what agent.yaml does not allow; the backups that need it fail", "sourceGroup", n.SourceGroup, "consent", n.What, "message", n.Message)
		}
		a.tellRemoval(before, set)
		if before != nil && set != nil && (set.Tombstone || set.HostUID != before.HostUID) {
			a.repository.forget() // another Host, if it comes, knows nothing of it
		}
		a.repository.look()
		before = set
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
