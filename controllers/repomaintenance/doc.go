// Package repomaintenance keeps repositories healthy: it creates the HostJobs of forget, prune, check and verify when they are due, writes their results
// into the Hosts, and says in each RepoMaintenance how its repositories fare.
//
// # Use
//
//	err := (&repomaintenance.Reconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Namespaces: mgr.GetClient(), Clock: clock.RealClock{}}).SetupWithManager(mgr)
//
// # Internals
//
// Two controllers share the indexes of the cache:
//
//   - repository (Repositories), keyed by namespace and a hash of the repository's URL. It gathers the hosts that share the repository, the
//     RepoMaintenances that select them and the HostJobs on it; package maintenance decides; it creates the one job that is due, writes
//     status.maintenance of the hosts, deletes old jobs, and makes and removes default RepoMaintenances. It comes back when the next operation is due.
//   - repomaintenance (Reconciler), keyed by RepoMaintenance. It only writes that object's status: counts and conditions. What happens to hosts and jobs is
//     collected for some seconds (Collect), so that a night of results does not write it thousands of times.
//
// # Nothing runs twice
//
// What must be remembered is in the API: status.maintenance of the repository's oldest host holds the last slot and the next plan, and a job's name follows from host,
// operation and slot. The cache may lag behind in every part, so:
//
//   - before a job is created, that host is read live: a slot that is recorded there is done, and a Host that changed since is looked at again later;
//   - a name that is taken is the job that was to be made;
//   - a job that was made counts as under way until the cache shows it (made, in memory; after a restart caches are fresh);
//   - a finished job is deleted only when the cached status of every host that it concerns holds its result, so that a slot is always recorded in one place or the other.
//
// # Trade-offs
//
// status.maintenance is written by a merge patch of that field alone, since other parts of the status have other writers. Each sharing host carries the
// same record of forget, prune and check; a start is written to the oldest one only.
//
// SourceGroups are not watched: whether there is anything to forget is asked when it is due, and what has nothing to do passes.
//
// Locks: made has a mutex of its own, held for map access only.
package repomaintenance
