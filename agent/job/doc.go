// Package job runs the agent's work: one state machine per job, one queue per repository. It turns jobs into calls of agent/restic, and
// what restic did into the reports of api/wire. It knows no socket.
//
// # Use
//
//	m, err := job.Open(job.Options{Dir: ".../ledger", LogDir: ".../logs", …, Observer: o})
//	m.Recover()          // once, before anything else: jobs that the last process left behind are reported failed
//	err = m.Submit(j)    // durable when it returns; ErrKnown for an id that was accepted before
//	m.Ensure(j)          // looks whether the repository exists, and makes it the first time
//	err = m.Cancel(id)
//	m.SetRemoved(true)   // the Host was removed: nothing new begins, what waits is cancelled, what runs ends by itself
//	m.Close()            // restic gets SIGINT; returns when each job has its result
//
// On an executor at most MaxOthers jobs on other hosts' repositories run at the same time; the machine's own work waits for none of them.
//
// # At most once
//
// A job's id is in the ledger, fsynced, before Submit returns, and marked as started before restic starts. An id that is there is never
// run again, whoever asks: a duplicate is answered with the present state (job.started, or the final report again) and ErrKnown. Ids are
// remembered for keepFinished after the end and a day beyond NotAfter; those of automatic inits for ever, so that a repository that vanished is
// never quietly made anew.
//
// A result is in the ledger before the Observer is told, and stays marked as undelivered until the Observer took it (it is in the outbox then).
// After a crash in between it is delivered again; its job id tells the receiver.
//
// # Results
//
// What restic cannot do by itself: each job has its own deadline; while restic retries an unreachable repository, that is visible at once in progress
// and in the repository's state, and the state goes back to Ready as soon as it goes on. Every result that is no plain success has a reason of api/wire
// and one sentence that says what to do.
//
// # Kinds
//
// One function for each, in attempt.go and maintenance.go. Forget runs group after group; a group that fails does not stop the others, unless what failed is the
// repository. Prune is not begun without the admin's credential, since restic would upload before it is refused. Commands whose output is backed up run through
// Options.DumpHelper (agent/dump), restore drills in agent/drill.
//
// # Locks and attempts
//
// A job waits for a lock for firstPatience. Then stale locks are removed, restic alone deciding which are, and it goes on at once, now with all the patience
// of RetryLock for a living one. A job that is still locked out, or that does not reach its repository, is tried again after RetryBackoff. In between it has left its turn, so that other jobs of the repository run, and comes back to the
// end of the queue; its cancellation, its deadline and the agent's end reach it meanwhile. A lock that a killed restic left on another machine is stale
// after half an hour, and the default backoff is longer than that: it never stops forget or prune for good. Nothing else is tried again, and no init.
//
// # Hooks
//
// preBackup (host, group), backup, onFailure (group, host) of a failed one, postBackup (group, host), each with RESTIC_MANAGER_ variables that tell what is going on. Nothing
// of a backup runs unless the machine allows all of it. postBackup hooks run once preBackup was reached, whatever became of the backup, also between
// two attempts, with the outcome Retrying: what preBackup stopped must not stand still for half an hour. preBackup runs again then. A job that never had its turn, and one
// whose agent was killed, runs none.
//
// # State of the repository
//
// It is that of the machine's own access. Jobs that go another way (with the admin's credential, or for another host) change it by what they tell of locks alone
// (repository.go, view).
//
// # Statistics
//
// A listing of the machine's own snapshots is a queue item of its own, after the result of the job that made it necessary was delivered; in between, backups are
// counted on. What is known, and what is due, is in StatsPath. Snapshots dated in the future are counted apart and are nobody's newest.
//
// # Secrets
//
// Credentials are asked from the job at each attempt and live as long as it. Neither the ledger, the logs nor the statistics hold one.
//
// # Logs
//
// The whole log of a job is in LogDir/<job id>.log, up to maxLogFile; the oldest go when there are more than MaxLogs files or MaxLogBytes in all. Its end
// travels with the result. Secrets are taken out by agent/restic before they get here.
//
// Who follows a log asks with Log where the job stands, *then* has it flushed and reads to the end of the file, and then waits for Follow's bell: it rings for each line, and when the
// job is accepted, begins and ends. A job counts as ended only after its log was closed, so what such a reader saw as ended has nothing more to say. restic is
// told to print a line per file only for backups that begin while somebody wants them (Verbose).
//
// # Restores
//
// A restore goes to RestoreDir/<job id> unless it names a target, which must lie, symbolic links resolved, in one of the folders that the machine's owner
// allowed. Who may write to the allowed folder itself can still swap a link in it while restic runs; allow folders of root only.
//
// # Locks
//
// One mutex guards queues and jobs (with the followers' and the wishes for verbose logs apart), another the repository states; they are never held while the disk, restic or the Observer is waited for. The ledger and the statistics have
// their own, held during their writes. The Observer is called from several goroutines, for one job in order.
// Memory is bounded by the queue length and by the tails of running jobs; finished jobs leave an id behind.
package job
