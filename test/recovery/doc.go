// Package recovery tests what no day at work shows: signing keys that are replaced or lost, and a cluster that is restored from what people keep outside it.
// Everything is real, as in package e2e: API server, programs under their own accounts, agents, restic.
//
// The tests share one stack and run one after the other: each concerns all machines.
package recovery
