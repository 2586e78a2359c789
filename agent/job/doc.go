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
//	m.Close()            // restic gets SIGINT; returns when each job has its result
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
// What restic cannot do by itself: a job that fails on a lock removes stale locks and is tried once more; each job has its own deadline; while restic retries
// an unreachable repository, that is visible at once in progress and in the repository's state, and the state goes back to Ready as soon as it
// goes on. Every result that is no plain success has a reason of api/wire and one sentence that says what to do.
//
// # Logs
//
// The whole log of a job is in LogDir/<job id>.log, up to maxLogFile; the oldest go when there are more than MaxLogs files or MaxLogBytes in all. Its end
// travels with the result. Secrets are taken out by agent/restic before they get here.
//
// # Restores
//
// A restore goes to RestoreDir/<job id> unless it names a target, which must lie, symbolic links resolved, in one of the folders that the machine's owner
// allowed. Who may write to the allowed folder itself can still swap a link in it while restic runs; allow folders of root only.
//
// # Locks
//
// One mutex guards queues, jobs and repository states; it is never held while the disk, restic or the Observer is waited for, but for the
// ledger's own, which is held during its writes. The Observer is called from several goroutines, for one job in order.
// Memory is bounded by the queue length and by the tails of running jobs; finished jobs leave an id behind.
package job
