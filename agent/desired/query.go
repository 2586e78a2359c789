package desired

import (
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// VerifyQuery returns a query that may be answered, or a *Refusal. It does not know whether the query was answered before, nor what the machine's owner
// consents to.
func (s *Store) VerifyQuery(open wire.StreamOpen) (*wire.HostQuery, error) {
	if err := open.Validate(); err != nil {
		return nil, refuse(wire.RefusalInvalid, "the query is not valid: %v", err)
	}
	if err := seal.Verify(open.Query, open.Signatures, s.Trusted()); err != nil {
		return nil, refuse(wire.RefusalBadSignature, "%v", err)
	}
	query, err := wire.ParseHostQuery(open.Query)
	if err != nil {
		return nil, refuse(wire.RefusalInvalid, "the query is not valid: %v", err)
	}
	if refusal := s.checkAddress("query", query.Host, query.IdentityHash); refusal != nil {
		return nil, refusal
	}
	if set := s.Current(); set != nil && set.Tombstone {
		return nil, refuse(wire.RefusalWrongHost, "the Host of this machine was removed; it answers no queries")
	}
	if now := s.config.Clock.Now(); !now.Before(query.NotAfter) {
		return nil, refuse(wire.RefusalExpired, "the query was valid until %s, and this machine's clock says %s",
			query.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return query, nil
}
