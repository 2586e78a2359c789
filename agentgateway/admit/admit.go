package admit

import (
	"fmt"
	"slices"

	"github.com/restic-manager/restic-manager/api/wire"
)

// Schedule is what the published set says of one schedule.
type Schedule struct {
	Name      string
	Suspended bool
	Groups    []string
}

// State is what a verdict rests on.
type State struct {
	Host wire.HostRef
	// Published is false when the host has no set.
	Published bool
	// Suspended: all scheduled work of the host is stopped.
	Suspended bool
	Schedules []Schedule
	// LastJob is the id of the last stored job of each source group.
	LastJob map[string]string
}

// Decide answers a fire.
func Decide(fire wire.Fire, state State) wire.Verdict {
	refuse := func(reason wire.VerdictReason, format string, args ...any) wire.Verdict {
		return wire.Verdict{JobID: fire.JobID, Reason: reason, Message: fmt.Sprintf(format, args...)}
	}
	if want := wire.FireID(state.Host, fire.Schedule, fire.SourceGroup, fire.Nominal); fire.JobID != want {
		return refuse(wire.VerdictNotInSet, "the job id does not belong to this schedule, source group and time")
	}
	if !state.Published {
		return refuse(wire.VerdictNotInSet, "nothing is published for this host")
	}
	i := slices.IndexFunc(state.Schedules, func(s Schedule) bool { return s.Name == fire.Schedule })
	if i < 0 {
		return refuse(wire.VerdictNotInSet, "Schedule %s is not in the current set", fire.Schedule)
	}
	schedule := state.Schedules[i]
	if !slices.Contains(schedule.Groups, fire.SourceGroup) {
		return refuse(wire.VerdictNotInSet, "Schedule %s does not fire SourceGroup %s any more", fire.Schedule, fire.SourceGroup)
	}
	if state.Suspended {
		return refuse(wire.VerdictSuspended, "the Host is suspended")
	}
	if schedule.Suspended {
		return refuse(wire.VerdictSuspended, "Schedule %s is suspended", fire.Schedule)
	}
	if state.LastJob[fire.SourceGroup] == fire.JobID {
		return refuse(wire.VerdictAlreadyRun, "the result of this fire is stored already")
	}
	return wire.Verdict{JobID: fire.JobID, Admit: true}
}
