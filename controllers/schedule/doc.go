// Package schedule judges each Schedule and tells which hosts it is for, on how many of them it is in force, and when it fires.
//
// # Use
//
//	err := (&schedule.Reconciler{Client: mgr.GetClient(), Clock: clock.RealClock{}}).SetupWithManager(mgr)
//
// # Internals
//
// Reconcile gathers the hosts, groups and ScheduleSets of the namespace, decide (pure) turns them into a status, status.Patch writes what
// changed. Agents fire by their own clock from their signed set; nothing here makes a backup run or keeps one from running.
//
// What cannot work is told where it stands: an expression that does not parse stalls the Schedule; a group that is missing or shares no
// host is named in SourceGroupsFound while the others go on. Ready is lost to missing groups only when none of them exists.
//
// # Times
//
// lastFireTime and nextFireTime are nominal: before jitter, for all hosts at once. The reconciler comes back at each of them, so a Schedule costs one write per fire,
// however many hosts it has. lastFireTime is taken from the nextFireTime on record, so that a new, a resumed or a changed Schedule never
// claims a fire from before.
//
// # Trade-offs
//
// Every reconciliation looks at all hosts of the namespace, in the cache and without copying them. Nothing here holds state or locks.
package schedule
