// Package lease shows that this replica lives: one Lease per process, renewed every 10 s, deleted at a graceful stop.
//
// Its annotations tell other replicas where this one is reached.
//
// Controllers take a connection for lost when the Lease of the replica that wrote it has not changed for its duration. The name holds the
// instance id and not the Pod's, so that a container which restarts within its Pod is another replica. The Lease is owned by the Pod where that
// is known: garbage collection then removes what a killed process left behind. Nothing is cleaned up at the start: what looks left
// behind may be alive.
package lease
