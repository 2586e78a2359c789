// Package hostjob turns each HostJob into a signed command for its machine, and ends those that never start.
//
// # Use
//
//	err := (&hostjob.Reconciler{Client: mgr.GetClient(), Clock: clock.RealClock{}, Signer: signer}).SetupWithManager(mgr)
//
// # Internals
//
// While a job is Pending it is ours: decide (pure) looks at the job, its Host and its SourceGroup and says what is to be, Reconcile writes it with
// the resourceVersion that it read. The gateway takes a Pending job with a command over to Dispatched, also with resourceVersion, so exactly
// one of both wins: a job that was dispatched never expires here, and one that expired is never dispatched. From then on the phase is the
// gateway's, and only conditions, the cancellation and the deletion after the TTL come from here.
//
// A job that cannot be compiled yet (no such Host, not enrolled, no such group) waits, with the cause in its conditions, until
// startingDeadlineSeconds have passed since its creation; then it is Expired. A Pending command is compiled anew whenever something that it is made
// of changes, and withdrawn when it cannot be compiled any more.
//
// A job is owned by its Host from the first time that both were seen: it is collected with it, and fails if it was still Pending.
//
// # Trade-offs
//
// A job that was dispatched to a machine which never comes back stays Dispatched: whether it ran is not known here. Once its deadlines are over,
// Ready says so.
//
// Nothing here holds state or locks.
package hostjob
