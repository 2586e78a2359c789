package agentgateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/restic-manager/restic-manager/agentgateway/queries"
	"github.com/restic-manager/restic-manager/agentgateway/stream"
	"github.com/restic-manager/restic-manager/agentgateway/stream/collect"
	"github.com/restic-manager/restic-manager/agentgateway/stream/relay"
	"github.com/restic-manager/restic-manager/api/wire"
)

// relayTimeout bounds the way to another replica. It is longer than that one waits for a query which its cache does not have yet.
const relayTimeout = 15 * time.Second

// busyRetry is when a collector whom a machine has no room for may come again, in seconds.
const busyRetry = 5

// agents lets collect open answers.
type agents struct{ g *Gateway }

// Open implements collect.Agents: from the agent itself, or from the replica that holds it.
func (a agents) Open(ctx context.Context, r collect.Request) (stream.Source, error) {
	if r.Relayed != "" && r.Relayed != a.g.o.Instance {
		return nil, notConnected(r.Query.Host, "the request is for another replica")
	}
	source, err := a.local(r.Query)
	if source != nil || err != nil {
		return source, err
	}
	if r.Relayed != "" {
		return nil, notConnected(r.Query.Host, "it has left the replica that held it")
	}
	return a.remote(ctx, r)
}

// local is nil when this replica does not hold the agent.
func (a agents) local(q collect.Query) (stream.Source, error) {
	link := a.g.hub.Get(q.Host)
	if link == nil {
		return nil, nil
	}
	found, ok := a.g.tables.Load(link)
	if !ok {
		return nil, nil // its session begins or ends just now
	}
	s, err := found.(*stream.Table).Open()
	switch {
	case errors.Is(err, stream.ErrEnded):
		return nil, nil
	case err != nil:
		return nil, &wire.Error{Code: wire.CodeBusy, Message: fmt.Sprintf("Host %s: %v", q.Host, err), RetryAfterSeconds: busyRetry}
	}
	if err := s.Start(q.Document, q.Signatures); err != nil {
		s.Close()
		return nil, fmt.Errorf("asking the agent: %w", err)
	}
	return s, nil
}

// remote asks the replica that the agent's newest session is on record for.
func (a agents) remote(ctx context.Context, r collect.Request) (stream.Source, error) {
	q := r.Query
	set, err := a.g.published(ctx, q.Host)
	if err != nil {
		return nil, notConnected(q.Host, "nothing is published for it")
	}
	on := set.Status.Connection
	if on == nil || on.DisconnectedTime != nil || on.Gateway == a.g.o.Instance {
		return nil, notConnected(q.Host, "no replica holds its session")
	}
	ctx, cancel := context.WithTimeout(ctx, relayTimeout)
	defer cancel()
	log := a.g.o.Logger.With("host", q.Host.String(), "query", q.Name, "replica", on.Gateway)
	replica, err := a.g.replica(ctx, on.Gateway)
	if err != nil {
		log.Info("answer cannot be relayed", "error", err)
		return nil, notConnected(q.Host, "the replica that held its session is gone, or cannot be reached by others")
	}
	source, err := relay.Dial(ctx, replica, relay.Query{Namespace: q.Namespace, Name: q.Name, Secret: r.Secret})
	if err != nil {
		log.Info("answer cannot be relayed", "address", replica.Address, "error", err)
		var said *wire.Error
		if errors.As(err, &said) && said.Code == wire.CodeBusy {
			return nil, said
		}
		return nil, notConnected(q.Host, "the replica that held its session does not give its answer")
	}
	log.Debug("answer is relayed", "address", replica.Address)
	return source, nil
}

func notConnected(host wire.HostRef, why string) *wire.Error {
	return &wire.Error{Code: wire.CodeNotConnected, Message: fmt.Sprintf("the agent of Host %s is not connected: %s", host, why), RetryAfterSeconds: busyRetry}
}

// asked lets collect look into the book of queries.
type asked struct{ *queries.Book }

// Query implements collect.Queries.
func (a asked) Query(namespace, name string) (collect.Query, bool) {
	q, ok := a.Book.Query(namespace, name)
	return collect.Query{Namespace: namespace, Name: name, UID: q.UID, Host: q.Host, SecretHash: q.SecretHash, Document: q.Document, Signatures: q.Signatures,
		Expires: q.Expires}, ok
}
