// Package hub knows which host is connected by which session, and keeps what waits to be sent to each. It never knows Kubernetes.
//
// # Use
//
// Add takes a session in; the one with the greater counter wins, and the other is closed with superseded. Remove takes out only the very
// link that it is given, so that the end of an older session never disconnects the newer. A Link takes messages without blocking: Offer
// keeps only the newest set, Send keeps messages in order up to MaxQueued.
//
// # Internals and trade-offs
//
// A link has no goroutine while nothing waits: the first message starts a writer, which ends when the queue is empty. So an idle
// connection costs its entry in the map. A peer that does not read is cut by its connection's own write timeout; until then its queue is
// bounded, and no other link waits for it.
//
// A set that waits is sent before messages that wait: a command may need the credentials of the newest set.
//
// # Locks
//
// Hub.mu guards the map, Link.mu the queue. Neither is held while something is written or closed, and they are never held together.
package hub
