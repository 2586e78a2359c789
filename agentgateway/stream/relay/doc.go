// Package relay collects an answer from the replica that holds the agent, for somebody who came to another one. It never knows Kubernetes.
//
// # Use
//
// Dial the Replica and hand the Source on. The other replica checks the stream secret as it does for anybody; the answer stays sealed, and only one chunk of it
// is held here: while it is not taken nothing more is read, so the other replica's window fills and its agent waits.
//
// # Trust
//
// The other replica is known by the key of its serving certificate, as it stands in its Lease, and by nothing else: the name of a Pod's address is in no certificate.
// A relayed request names the instance that it is for, so one that gets to another replica (an address that was given to a new Pod) or that holds no such agent
// is refused there, and never goes round.
//
// Nothing here holds locks.
package relay
