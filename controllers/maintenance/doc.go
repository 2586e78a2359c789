// Package maintenance decides which RepoMaintenance counts for a host, what is due on a repository, and what is remembered of it. It is pure: no client,
// no clock, no log.
//
// # Use
//
// Who maintains a host, for everybody who has to know:
//
//	m := maintenance.InForce(host, all)                                   // for the machine itself: verify, executorRef
//	sharing := maintenance.Sharing(host, hosts)
//	through, m := maintenance.InForceForRepository(sharing, all)          // for forget, prune and check
//
// What is to be done, for the one who does it:
//
//	repository := &maintenance.Repository{Hosts: sharing, Maintenances: maintenance.NewIndex(all), Jobs: jobs, …}
//	tasks := repository.Tasks(now)
//	decision := maintenance.Decide(now, tasks, repository.UnderWay(now) != nil)
//	job := repository.Job(decision.Run)                                    // to be created, if Run is not nil
//	status := repository.Status(host, tasks, decision.Plans, now)          // to be written, for each host
//	jobs, again := repository.Obsolete(tasks, now)                         // to be deleted
//
// # Repositories
//
// A repository is identified inside a namespace by its URL (Key). Hosts with the same URL share it: forget, prune and check are done once for all of
// them, verify by each machine. Across namespaces nothing is coordinated but by restic's own locks.
//
// # What is remembered
//
// For each operation, in status.maintenance: the last slot (a time of the cron expression, before jitter) and the next plan (after jitter). A plan that has passed is due
// until it was run; that is all that it takes to survive a restart, an outage, a machine that is away, a clock that jumps, and DST, of which package cronspec
// takes care. Where nothing was planned (a new object, one that was suspended) nothing is due, so nothing ever runs for a time at which it was not meant to.
//
// A job's name follows from the oldest host, the operation and the slot, not from who does it: while caches lag behind, the same run is the same object. A job
// that expired never ran, and is made again: at once when its machine has connected since, after an hour (ExpiredRetry) otherwise.
//
// # Trade-offs
//
// The record does not say which repository it is of: a Host whose URL changes keeps its history, and a Host that comes to a repository may bring a newer
// record than the others have. At worst one run is skipped.
//
// While a machine does not report, its job blocks the repository until all its deadlines are over and an hour more; then it is a failure, and its object goes.
//
// Inputs are only read, and may be shared with a cache. Nothing here holds state or locks.
package maintenance
