// Package maintenance decides which RepoMaintenance counts for a host and what is due on a repository. It is pure: no client, no clock, no log.
//
// # Use
//
//	m := maintenance.InForce(host, all)                                   // for a host's own machine: verify, executorRef
//	sharing := maintenance.Sharing(host, hosts)
//	through, m := maintenance.InForceForRepository(sharing, all)          // for forget, prune and check
//
// # Repositories
//
// A repository is identified inside a namespace by its URL (Key). Hosts with the same URL share it: forget, prune and check are done once for all of
// them, and the RepoMaintenance in force is that of one of them. Across namespaces nothing is coordinated but by restic's own locks.
//
// Inputs are only read, and may be shared with a cache. Nothing here holds state or locks.
package maintenance
