// Package collect is where people collect answers: an HTTP endpoint that becomes a WebSocket. It never knows Kubernetes.
//
// # Use
//
// A Handler serves wire.QueryPath/{namespace}/{name}. It finds the query by the Queries that it is given, checks the stream secret, has Agents open the answer, and
// copies that to the collector until one of them ends. Stop ends all of them, Wait waits until they have.
//
// # What somebody without the secret learns
//
// Nothing. Only a query whose secret was shown is ever taken for one that is there. For any other (there is none, another secret, no secret) the handler waits for
// as long as a query may take to get here from the API server, and then says the same. How many may wait is bounded, by address too.
//
// # What a collector can cost
//
// MaxStreams answers at once, each with the window of its stream and four goroutines. One that takes nothing holds that until the time of its query is
// over.
//
// # Locks
//
// None of its own: atomic counters, and contexts that end with a stream.End as their cause.
package collect
