// Package e2e tests restic-manager from end to end: a real API server, the controllers and two gateway replicas as processes under
// their own service accounts, agents as processes, a real restic and a real rest-server.
//
// One stack serves all tests, which run one after the other, each in a namespace of its own; a test that kills a part brings it back.
package e2e
