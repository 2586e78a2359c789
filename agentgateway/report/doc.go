// Package report is the one writer of what machines say: connections and acks on ScheduleSet status, results on Host and HostJob status,
// and Events.
//
// # Use
//
// A Writer has one method for each thing that is written. A Stream takes the messages of one session and stores them in order:
// for a durable report first the HostJob, then the Event, then the Host together with the report's place in the outbox, and last the ack. What
// could not be stored is tried again with backoff for as long as the session lasts, and is not acked; the agent sends it again in its
// next session, where the place in the outbox tells whether it was stored after all.
//
// # What is written of a repository
//
// The machine's state of it, what it knows of its own snapshots, and whether somebody's lock is in it, on Host.status.repository. A new state keeps the rest,
// another URL drops it. A lock counts from the first job that waits for it or fails on it (one Event) until a job got through: that the repository
// can be opened says nothing, since that takes no lock. A job on another Host's repository (an executor's) is told on its HostJob and in Events, and leaves
// the executor's own record as it is. Host.status.maintenance is the controllers', who make it from HostJobs.
//
// # What it costs
//
// A scheduled backup: one Event and one patch of the Host, its stats included. A HostJob: a patch of its own besides. A listing of snapshots (repo.stats): one
// patch, rarely. A lock, or stale ones that were removed: an Event more.
//
// # A Host that was removed
//
// A session whose set is a tombstone is heard about that alone: its ack is written, its reports are acked as discarded, so that the machine's outbox
// does not fill up, and the rest is dropped. A Host that has the name by now is not touched.
//
// # Who wins
//
// Every write is a merge patch with a resourceVersion, repeated from a live read on conflict. A ScheduleSet or HostJob is taken from the cache first, which costs no read; what
// would then be refused or not written is judged by a live read, for the cache may be behind. (That a newer session has written on a HostJob may be told by the cache: it stays so.) So of two replicas that
// speak for one host, the one with the greater session counter wins, whatever the order of their requests. All replicas share one field
// manager and never write a condition.
//
// # What a machine can make us write
//
// Only its own Host's status, HostJobs that name this Host, and its ScheduleSet's status. Times are clamped to when the message was
// received, texts and lists are cut, of the summaries only that of the job's kind is kept, and results are kept only for groups that are in the
// host's set. A report that the API server will never take is acked as discarded, so that it does not block those behind it. Each host has a token bucket, across its sessions: one that reports without
// end waits for itself, fills no etcd with Events, and costs other hosts nothing.
//
// # Locks
//
// That of the Stream's lane, and Stream.mu for what End and the goroutine that works the lane off share; its other fields belong to that goroutine. A turn (Writer.turns)
// is held while one message is stored, and by nobody who waits for another: neither for a pace nor between two attempts.
package report
