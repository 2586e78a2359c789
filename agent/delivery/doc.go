// Package delivery brings durable reports into the outbox, and from there to the gateway: in order, a window at a time, again in each session until they
// are acknowledged.
//
// # Use
//
// New one over a Box (package outbox) and the session, Run it, and tell it of sessions and acknowledgements. AddDurable is for who can bring the report
// again, Add for all others: what the disk refuses then waits in memory, in order.
//
// # What it believes
//
// The gateway's word counts for reports that were sent to it in this session, under the epoch of the box. An acknowledgement of anything else is ignored,
// and told in the log once per session: a lying gateway can lose no report that it was not given. A report that breaks the protocol's limits is a defect
// of the agent; it is logged and dropped, lest it holds up all others.
//
// # Goroutines and locks
//
// Run is the only sender. One mutex guards all state, and is held while the box is used, since the order of reports is the order of their numbers.
package delivery
