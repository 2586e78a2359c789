// Package host reconciles Hosts: it enrols the machine, publishes what it is to run as a ScheduleSet, and owns the Host's conditions.
//
// # Use
//
//	gateways := host.NewGateways(mgr.GetCache(), mgr.GetAPIReader(), namespace, clock)
//	r := &host.Reconciler{Client: …, Live: …, Gateways: gateways, …}
//	err := r.SetupWithManager(mgr)
//
// # Reading order
//
//	reconciler.go   one reconciliation, as a table of contents
//	enrolment.go    what enrolment needs next, decided from facts alone; enrol.go does it
//	token.go        tokens and the Secret they lie in; verdict.go the signed answer
//	mint.go         the repository password of a Host that names no Secret
//	publish.go      the ScheduleSet; removal.go what becomes of it when its Host goes
//	connected.go, conditions.go   each condition, decided from facts alone; admin.go, consent.go and healthy.go those of their subject
//	gateways.go     which gateway replicas live
//	watches.go      what leads to a reconciliation
//
// # Enrolment heals
//
// A token is minted into the Secret first and published in status second; a machine is pinned in spec first, with the hash of the token in an
// annotation of the same write, and the token is burnt in status last. Each step looks at what the ones before it left, so a crash between any
// two of them is finished by the next reconciliation. Status is written by the gateway too and decides nothing: proof and expiry are judged
// by the Secret, which only the controllers and the namespace's own people read. Writes of enrolment carry a resourceVersion.
//
// # A minted password is made once
//
// The Secret comes first, status.mintedCredentials second, and only then is the password sealed to a machine: what a crash leaves is taken up by the
// label that names the Host, and a password that never reached status opened nothing. Before a Secret is created the Host is read live, since a cached
// copy may not have the record yet. Once it has, no other password is made, whatever becomes of the Secret: it would not open the repository. The
// Secret has no owner.
//
// # A set outlives its Host
//
// It has no owner, and is watched by its name, which is the Host's. One whose Host is gone is written once more as a tombstone, and deleted when the machine has acked it, when
// there is no machine, or when none came for so long. That a Host is gone is confirmed live before anything is written. Whose set it is, its UID says: one
// that an earlier Host of the name left is written over when it is for the same machine; else that machine is told first, for a moment if the present Host has
// something to publish. A namespace that is being deleted takes its Hosts with it from the first moment, since what is in it still stands for some seconds then.
//
// # A cluster that was set back
//
// Who restores etcd from a backup brings back sets that are older than what machines have; they refuse them (OlderSerial). Such a refusal has the set signed anew, once a minute
// at most.
//
// # Who writes status
//
// Patches hold what changed here and nothing else, so status.maintenance (another reconciler) and what the gateway reports are never written back. What the agent said of itself when it
// connected, the gateway writes to the set with the connection; status.agent is a copy of it.
//
// # What costs how much
//
// A reconciliation reads from the cache, but for the enrolment Secret while a token is open and for a credentials Secret that the cache does not
// have. RepoMaintenances concern Hosts with admin credentials alone, and are found by an index. An unchanged set writes nothing, an unchanged status neither. A changed group or schedule is compiled for the hosts that it
// selects, before and after the change. A lost gateway concerns the hosts that it held.
//
// # Trade-offs
//
// ScheduleSetApplied stays as it was for 30 s after a set was published, if it was true before: an agent acks within a second, and a change that
// touches ten thousand hosts shall not cost two more writes for each. Who needs to know at once compares spec.revision with
// status.appliedRevision of the ScheduleSet.
//
// A Secret that is created without its label causes no event here, since the cache holds labelled ones only. A Host whose Secret is missing
// therefore looks again after five minutes; labelling the Secret is noticed at once.
//
// # Locks
//
// Gateways.mu guards what is known of the replicas; it is never held during a call to the API server or while an event is sent.
package host
