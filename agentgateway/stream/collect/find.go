package collect

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// Query is a query as far as it is known here.
type Query struct {
	Namespace, Name string
	// UID tells one from another of the same name.
	UID  string
	Host wire.HostRef
	// SecretHash is wire.StreamSecretHash of the secret that its collector has.
	SecretHash string
	// Document and Signatures are what the agent gets; empty while it is not signed, or not any more.
	Document   string
	Signatures []wire.Signature
	// Expires is when it is void.
	Expires time.Time
}

// Queries knows the queries there are.
type Queries interface {
	// Query returns one; false when there is none.
	Query(namespace, name string) (Query, bool)
	// Changes returns a channel that has a value after a change of that query. stop ends it.
	Changes(namespace, name string) (changes <-chan struct{}, stop func())
}

// name is that of a query.
type name struct{ namespace, name string }

// secretOf is the secret that a collector shows.
func secretOf(r *http.Request) ([]byte, bool) {
	secret, err := base64.StdEncoding.DecodeString(r.Header.Get(wire.StreamSecretHeader))
	if err != nil || len(secret) != wire.StreamSecretSize {
		return nil, false
	}
	return secret, true
}

// find returns the query of which the secret was shown, signed and not void. It may have been created a moment ago.
func (h *Handler) find(ctx context.Context, n name, secret []byte, remote string) (Query, error) {
	if query, ok := h.match(n, secret); ok && query.Document != "" {
		return query, nil
	}
	leave, err := h.waiting.Take(remote)
	if err != nil {
		return Query{}, busy("waiting for a query: " + err.Error())
	}
	defer leave()
	changes, stop := h.o.Queries.Changes(n.namespace, n.name)
	defer stop()
	timer := h.o.Clock.NewTimer(h.o.Wait)
	defer timer.Stop()
	for {
		query, ok := h.match(n, secret)
		if ok && query.Document != "" {
			return query, nil
		}
		select {
		case <-changes:
		case <-ctx.Done():
			return Query{}, goingAway()
		case <-timer.C():
			if ok {
				return Query{}, busy("the query is not signed: see its condition Ready")
			}
			return Query{}, &wire.Error{Code: wire.CodeUnknownQuery, Message: "there is no such query, its time is over, or this is not its secret"}
		}
	}
}

// match returns a query that is not void and of which this is the secret.
func (h *Handler) match(n name, secret []byte) (Query, bool) {
	query, ok := h.o.Queries.Query(n.namespace, n.name)
	if !ok || len(secret) == 0 || !query.Expires.IsZero() && !h.o.Clock.Now().Before(query.Expires) {
		return Query{}, false
	}
	same := subtle.ConstantTimeCompare([]byte(wire.StreamSecretHash(secret)), []byte(query.SecretHash)) == 1
	return query, same
}
