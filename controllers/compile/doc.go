// Package compile turns the objects of a namespace into what one machine runs. It is pure: no client, no clock, no log.
//
// # Use
//
//	set, findings := compile.Compile(compile.Input{Host: host, Groups: groups, Schedules: schedules, …})
//	set.Revision = compile.Revision(set, digests)
//
// Groups and Schedules are those of the host's namespace; which of them are for the host is decided here, by the same functions that the
// reconcilers of SourceGroup and Schedule count hosts with:
//
//	yes, err := compile.Matches(group.Spec.Selector, host)
//	hosts, findings := compile.ScheduleHosts(schedule, groups, hosts)
//
// HostJobs of maintenance are made of
//
//	groups, findings := compile.ForgetGroups(sharing, groups, "")
//	groups := compile.VerifyGroups(host, groups, "")
//
// # Findings
//
// What cannot work is left out of the set and told as a Finding; the rest works. So an invalid Schedule never reaches an agent, and
// never keeps a valid one from it. Findings name the object to change; its own reconciler turns them into conditions.
//
// Forgetting errs on the side of keeping: a group whose retention is not valid, or whose tag another group of the same host has, is backed up and
// nothing of it is forgotten. Restic tells snapshots apart by host and tag alone, so by the policy of one such group those of the other would go.
// A host that a group does not select any more is still forgotten on while it has results of it in its status; the gateway writes that field, and the
// worst that a wrong one does is that a group's policy is applied to snapshots with the tag of that very group.
//
// # Revision
//
// The revision is a SHA-256, cut to 16 hex digits, over everything that the set says, without what only signing and sealing add (serial, the hashes of sealed
// credentials), and over a keyed digest of each credential. Everything is sorted by name first, so the same objects in any order give the
// same revision.
//
// Inputs are only read, and may be shared with a cache. Nothing here holds state or locks.
package compile
