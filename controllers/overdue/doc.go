// Package overdue says which backups of a machine should have succeeded by now. It is pure: no client, no clock, no log.
//
// # Use
//
//	schedules := overdue.Schedules(host, compiled, now)        // what is expected, for Host.status.schedules
//	verdict := overdue.Judge(overdue.Input{Schedules: schedules, Results: host.Status.SourceGroups, …})
//	verdict.Overdue                                            // for Host.status.overdue
//	verdict.Next                                               // when the verdict may change by itself
//
// # What is expected
//
// A Schedule expects a success of each of its groups after each of its runs. The first run that a group's last success (or the beginning, before the first
// one) does not cover is the one that counts; a success that ends after a run began covers it, whoever asked for it. The backup is overdue when that run is
// longer ago than the grace: a quarter of the interval to the run after it, 10 minutes to 6 hours, and the time that the last backup took. So
// the verdict follows from the expression and the results alone, its change is known beforehand, and nothing has to be polled.
//
// The beginning is when the group came into the Schedule for this machine, or the expression, the zone or suspend changed: nobody is late for runs
// of which nobody knew, and what fell due during a suspension is not asked for. A change does not excuse what was overdue already.
//
// # Machines that are away
//
// A Host with an offlineGrace gets that much time more while its machine is away or has not come yet, and after its return the time that a late run has as well, at most until
// the offlineGrace is used up. Such a backup is late, not overdue.
package overdue
