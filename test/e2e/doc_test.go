// Package e2e tests restic-manager from end to end: a real API server, the controllers and two gateway replicas as processes under
// their own service accounts, agents as processes, a real restic and a real rest-server.
//
// One stack serves all tests, each in a namespace of its own. Those that kill or watch a part which others need run one after the other and bring
// it back; after them the rest run beside each other (t.Parallel).
package e2e
