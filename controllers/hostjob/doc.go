// Package hostjob turns each HostJob into a signed command for its machine, with the credentials that it needs, and ends those that never start.
//
// # Use
//
//	err := (&hostjob.Reconciler{
//		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Namespaces: mgr.GetClient(), Clock: clock.RealClock{}, Signer: keys, Recorder: mgr.GetEventRecorder(…),
//	}).SetupWithManager(mgr)
//
// # Internals
//
// While a job is Pending it is ours: decide (pure) looks at what gather found and says what is to be, Reconcile writes it with
// the resourceVersion that it read. The gateway takes a Pending job with a command over to Dispatched, also with resourceVersion, so exactly
// one of both wins: a job that was dispatched never expires here, and one that expired is never dispatched. From then on the phase is the
// gateway's, and only conditions, the cancellation, the end of the credentials and the deletion after the TTL come from here.
//
// A job that cannot be compiled yet (no such Host, not enrolled, no such group or Secret, not its turn) waits, with the cause in its conditions, until
// startingDeadlineSeconds have passed since its creation; then it is Expired. A Pending command is compiled anew whenever something that it is made
// of changes, and withdrawn when it cannot be compiled any more. What only a change of other objects can help ends it, once it is some seconds old:
// objects that were applied together are not seen at the same moment.
//
// A job is owned by its Host from the first time that both were seen: it is collected with it, and fails if it was still Pending.
//
// # Credentials
//
// accessOf decides whose credentials a job gets, and nothing reads a Secret before it has. Most jobs get none: the machine has its own. Forget and
// Prune get the admin credentials where some are bound, unless a RepoMaintenance names another machine as the executor: then they go there and nowhere
// else. A job on another Host's repository gets that Host's credentials only if the RepoMaintenance in force for it names the working Host.
// They are sealed to the machine, their hash is in the signed command, both are written in one patch, and they are taken out in the patch that tells the end.
//
// A sealing is another each time, so a status that holds the right one must be recognised: command and blob are kept when the command is what it would be
// with the hash of that blob, our signature is on it, and a keyed digest says that the Secret is the same. The gateway can write this status too; what it
// puts there is replaced and never signed.
//
// # One at a time
//
// Forget, Prune and Check lock a repository, so of these one at a time is under way on each (a URL of a namespace, which Hosts may share). The order
// is that of creation; see ahead. A job that is lost with its machine holds up the others until its deadlines are over.
//
// # Trade-offs
//
// A job that was dispatched to a machine which never comes back stays Dispatched: whether it ran is not known here. Once its deadlines are over,
// Ready says so.
//
// Caches can be behind by a moment: two exclusive jobs that are created in the same second may both get a command. Then the machine's own queue, or restic's
// lock, keeps them apart.
//
// Nothing here holds state or locks.
package hostjob
