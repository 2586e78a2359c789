// Package agentgateway is one replica of the gateway: it holds the connections of agents, sends them what the controllers published, and
// writes what they report.
//
// # Use
//
// New a Gateway and Run it. Replicas need no knowledge of each other: a newer connection of a host, written to its ScheduleSet by
// another replica, ends the older one here. The one exception is an answer that is collected here from an agent that another replica holds: see replicas.go.
//
// # Parts
//
// session authenticates and moves messages; hub knows which host is connected and keeps what waits to be sent; desired offers sets and commands;
// admit decides fires; report is the one writer of status and Events; enrol answers machines that want to enrol; queries knows what people asked machines; stream
// moves the answers, to collectors (stream/collect) and between replicas (stream/relay); lease shows that the replica lives. They know nothing of each other: this
// package hands each what it needs.
//
// # Trust
//
// The gateway faces the world. It reads no Secret, decides no policy and signs nothing; what it passes on is signed by the controllers for the agent
// and by nobody else believed. rbac.go holds all that it may do.
//
// # Life and end
//
// The cache is synced and the Lease held before the first connection is taken. At the end agents are asked to reconnect elsewhere, nothing is
// written about their sessions, and the Lease is deleted last: a host that does not come back within 90 s is then found by the controllers.
package agentgateway
