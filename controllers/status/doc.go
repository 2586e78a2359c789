// Package status is how the controllers write status: condition setters, what is applied where, one mapping from errors to what happens next, and a patch
// that writes nothing when nothing changed.
//
// # Use
//
//	base := host.DeepCopy()
//	err := r.reconcile(ctx, host)                    // returns status.Stalled(...), status.Waiting(...) or any other error
//	set := status.For(&host.Status.Conditions, host.Generation, r.Clock)
//	set.Ready(err, v1alpha1.ReasonAccepted, "…")     // Ready and Stalled
//	host.Status.ObservedGeneration = host.Generation
//	if err := status.Patch(ctx, r.Client, base, host); err != nil { … }
//	return status.Result(err)
//
// # Errors say what happens next
//
//   - Stalled: nothing but a change of the object, or of one that it names, can help. Ready=False, Stalled=True, no retry.
//   - Waiting: something else has to happen first. Ready=False, looked at again after the given time, or, for 0, on the event alone.
//   - any other error: Ready=False with reason ReconcileError, retried with backoff, logged.
//
// The model is the internal/reconcile package of Flux's source-controller.
//
// # Namespaces that are being deleted
//
// Who creates anything, an Event included, asks Terminating first, and has nothing to do where it says yes.
//
// # Trade-offs
//
// The patch is a JSON merge patch of the difference to what was read, so a list such as conditions is written whole. Each kind has one
// reconciler that writes it, and a reconciler never works on one object twice at the same time, so nothing is lost by that. A caller that must not
// write over what it did not see adds WithLock.
//
// Nothing here holds state or locks.
package status
