package stream

import "context"

// Source is an answer on its way to a collector: from an agent of this replica, or from the replica that holds the agent.
type Source interface {
	// Next blocks until there is a chunk, which is good until the next call. Its error is an End: that of the answer, or the cause of ctx.
	Next(ctx context.Context) ([]byte, error)
	// Taken tells that the collector has taken what Next returned last.
	Taken(chunk []byte)
	// Close frees what the answer holds, and tells whoever still sends that nobody collects any more. It may be called more than once.
	Close()
}

// CauseOf is the End that a context was ended with; for any other cause the stream is lost.
func CauseOf(ctx context.Context) End {
	if end, ok := context.Cause(ctx).(End); ok {
		return end
	}
	return Lost
}

// RelayHeader is what a request has that another replica passed on: the instance that it is meant for. Such a request is never passed on again.
const RelayHeader = "Restic-Manager-Relayed-To"
