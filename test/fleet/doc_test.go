// Package fleet tests the operator with a fleet: three hundred simulated agents (package swarm: everything of a real agent but restic) and three real ones, two gateway
// replicas, and a Prometheus with the alert rules that are shipped.
//
// One test goes through the life of the fleet, part after part, on one namespace: making three hundred Hosts anew for each part would cost more than all parts do.
package fleet
