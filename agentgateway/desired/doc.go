// Package desired watches published ScheduleSets and HostJobs and offers the latest to the agents that this replica holds.
//
// # Use
//
// Run adds handlers to the cache's informers and works until its context ends. Each event, and each new session (Sync), queues the host; a
// worker then brings its link up to date: it ends the session where the set is gone, has other keys or is held elsewhere by a newer session;
// offers the set when the revision differs from what the agent has; and sends the commands of unfinished HostJobs, once per session, with the sealed credentials that were made for them. A command that
// names credentials which are not published with it yet waits for them; whether they are the right ones is for the agent to judge, which trusts nobody here.
//
// # Internals and trade-offs
//
// The cache holds sets without bundle and credentials. What came a moment ago is still at hand in full; an older set, of which an agent has just connected without it, is read from
// the API server. It does hold the commands of unfinished HostJobs with their credentials, which are few. Events of hosts that this replica does not hold cost nothing but a map lookup.
//
// The tombstone of a removed Host is a set like any other; no command is sent beside it. The session ends when the controllers delete it.
//
// A connection on record that is newer than ours can only be written by a replica that holds a newer session, so the watch on ScheduleSets is
// how replicas tell each other; there is no other channel between them.
//
// # Locks
//
// Links.mu guards what was sent in each session; it is not held during requests. One worker at a time has a host, which the queue sees to.
package desired
