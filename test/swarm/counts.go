package swarm

import "sync/atomic"

// Counts are sums over a fleet since its start, but for Agents, Connected and Waiting, which are of the moment.
type Counts struct {
	Agents    int64
	Connected int64
	// Waiting are durable reports that were not acknowledged yet.
	Waiting int64

	// Dials are attempts to connect; Sessions those that were accepted, Reconnects those of them that were not an agent's first.
	Dials, Sessions, Reconnects int64
	// SetsOffered came; each was acknowledged as applied or refused. SetsChanged brought another set into force, Tombstones of them were tombstones.
	SetsOffered, SetsApplied, SetsRefused, SetsChanged, Tombstones int64
	// Fires were asked about, and got a verdict: admitted or refused. OfflineStarts began without one, Missed were reported and not run.
	Fires, Admitted, Refused, OfflineStarts, Missed int64
	// Commands came; some were refused, and some were known already.
	Commands, CommandsRefused, CommandsRepeated, Cancels int64
	// Jobs that ended, by outcome.
	Jobs, Succeeded, CompletedWithErrors, Failed, Cancelled int64
	// ReportsAdded are durable reports, each sent once or more often. Acks are acknowledgements (cumulative: one may stand for several reports); in some
	// of them a report was discarded.
	ReportsAdded, ReportsSent, Acks, ReportsDiscarded int64
}

// counters are the live form of the sums.
type counters struct {
	dials, sessions, reconnects                                    atomic.Int64
	setsOffered, setsApplied, setsRefused, setsChanged, tombstones atomic.Int64
	fires, admitted, refused, offlineStarts, missed                atomic.Int64
	commands, commandsRefused, commandsRepeated, cancels           atomic.Int64
	jobs, succeeded, completedWithErrors, failed, cancelled        atomic.Int64
	reportsAdded, reportsSent, acks, reportsDiscarded              atomic.Int64
}

func (c *counters) read() Counts {
	return Counts{
		Dials: c.dials.Load(), Sessions: c.sessions.Load(), Reconnects: c.reconnects.Load(),
		SetsOffered: c.setsOffered.Load(), SetsApplied: c.setsApplied.Load(), SetsRefused: c.setsRefused.Load(), SetsChanged: c.setsChanged.Load(),
		Tombstones: c.tombstones.Load(),
		Fires:      c.fires.Load(), Admitted: c.admitted.Load(), Refused: c.refused.Load(), OfflineStarts: c.offlineStarts.Load(), Missed: c.missed.Load(),
		Commands: c.commands.Load(), CommandsRefused: c.commandsRefused.Load(), CommandsRepeated: c.commandsRepeated.Load(), Cancels: c.cancels.Load(),
		Jobs: c.jobs.Load(), Succeeded: c.succeeded.Load(), CompletedWithErrors: c.completedWithErrors.Load(), Failed: c.failed.Load(),
		Cancelled:    c.cancelled.Load(),
		ReportsAdded: c.reportsAdded.Load(), ReportsSent: c.reportsSent.Load(), Acks: c.acks.Load(), ReportsDiscarded: c.reportsDiscarded.Load(),
	}
}
