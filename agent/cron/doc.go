// Package cron turns the schedule set in force and the clock into fires: the moments at which a backup of one source group is due.
// It never runs anything, asks nobody, and knows no network.
//
// # Use
//
//	c, err := cron.Open(cron.Options{Host: host, Path: ".../cron.json", Clock: clock.Real{}, Handler: h})
//	err = c.Update(set)  // with each set in force, the one on disk first; any time, from any goroutine
//	err = c.Run(ctx)     // calls h.Fire for each fire that is due
//	err = c.Settle(fire) // by the handler, once the fire is in the ledger, refused, or reported as missed
//
// # At most once, and not lost
//
// A fire is handed out once in the life of a process. It is remembered on disk when it is settled, not when it is handed out: an agent that
// dies in between hands it out again at the next start, under the same job id, and the ledger of agent/job knows whether it began.
// So the ledger makes it at most once, and the cursor on disk makes it not lost.
//
// What is due is decided by a cursor per schedule and group: the last nominal time that was handed out.
//
//   - Fires that passed unseen (the agent was down, the machine slept, the clock jumped forward) become one: the latest; Fire.Skipped
//     counts the others. When it is later than the schedule's starting deadline, it comes as Missed, for a report.
//   - When the clock jumps back the cursor goes back with it, and the nominal times that were handed out already are not handed out again: the last
//     ones are kept by name (handedOut), older ones are known to the ledger. A cursor that waited for the clock to come by again would silence a machine that once
//     booted with its clock in the wrong year.
//   - A schedule or group that is new, was suspended, or has another expression or zone starts from now. What waited out its jitter under the
//     old expression is not run.
//   - A suspended schedule or host has no fires, a tombstone neither.
//
// DST is the business of api/cronspec.
//
// # Waiting
//
// A timer follows elapsed time and notices neither a jump of the clock nor a suspended machine, so no wait is longer than 30 s. An idle look
// costs a comparison per schedule and group, since each one's next fire is computed once.
//
// # Locks
//
// One mutex guards all state. The handler is called without it, one fire at a time, in order of due time; it must not block for long. The state
// file is written under it (agent/atomicfile), a few times per fire.
package cron
