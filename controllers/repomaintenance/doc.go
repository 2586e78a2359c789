// Package repomaintenance checks each RepoMaintenance and says plainly that this version does not act on it.
//
// # Use
//
//	err := (&repomaintenance.Reconciler{Client: mgr.GetClient(), Clock: clock.RealClock{}}).SetupWithManager(mgr)
//
// # Trade-offs
//
// A valid object is Ready=False, reason NotYetSupported, and Stalled: nothing but another version of the operator can help, and a
// sync that waits for it should fail now and not run into its timeout. What is invalid is told as such all the same, so that it is right once it counts.
//
// Nothing here holds state or locks.
package repomaintenance
