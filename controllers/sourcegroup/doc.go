// Package sourcegroup tells on each SourceGroup which hosts it is for, on how many of them it is in force, and whether its retention is enforced.
//
// # Use
//
//	err := (&sourcegroup.Reconciler{Client: mgr.GetClient(), Clock: clock.RealClock{}}).SetupWithManager(mgr)
//
// # Internals
//
// Reconcile gathers the hosts and the ScheduleSets of the namespace, decide (pure) turns them into a status, status.Patch writes what
// changed. What a machine gets of a group is not decided here but in controllers/compile; both choose hosts by the same functions.
//
// Which RepoMaintenance counts is decided in controllers/maintenance, per repository: a change of one concerns the groups of all hosts that share a
// repository with one that it selects.
//
// A change of one host touches the groups that it is or was in. An ack of an agent touches the groups in its set; many acks at once
// are one reconciliation, because the work queue holds each group once.
//
// # Trade-offs
//
// Every reconciliation looks at all hosts of the group, in the cache and without copying what they point to. On which of them nothing is forgotten is remembered until
// a spec or the labels of a Host or a RepoMaintenance change anywhere: acks and results, which come by the thousand, change neither.
//
// # Locks
//
// One mutex guards what is remembered; nothing is read while it is held.
package sourcegroup
