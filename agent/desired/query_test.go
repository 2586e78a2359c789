package desired

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/api/wire"
)

func (m *machine) query(change func(*wire.HostQuery), keys ...ed25519.PrivateKey) wire.StreamOpen {
	m.t.Helper()
	q := &wire.HostQuery{Label: wire.HostQueryLabel, Host: m.host, IdentityHash: m.identity.Hash(), Name: "q", UID: "uid-1", NotAfter: now.Add(time.Minute),
		Kind: wire.QueryLog, PublicKey: make([]byte, wire.KeySize)}
	if change != nil {
		change(q)
	}
	raw, err := json.Marshal(q) // of what is not valid too
	if err != nil {
		m.t.Fatal(err)
	}
	return wire.StreamOpen{Stream: 1, Query: string(raw), Signatures: m.signer(keys...).Sign(string(raw)), Credit: wire.StreamWindow}
}

func TestQueriesCountOnlyWhereTheControllersMeantThem(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	applied(t, s.Offer(m.offer(100, "r1", "s")), "r1")
	if q, err := s.VerifyQuery(m.query(nil, m.a)); err != nil || q.UID != "uid-1" || q.Kind != wire.QueryLog {
		t.Errorf("a good one: %+v, %v", q, err)
	}
	unsigned, tampered, poor := m.query(nil, m.a), m.query(nil, m.a), m.query(nil, m.a)
	unsigned.Signatures = nil
	tampered.Query = strings.Replace(tampered.Query, `"kind":"Log"`, `"kind":"Content"`, 1)
	poor.Credit = 1
	for name, tt := range map[string]struct {
		open   wire.StreamOpen
		reason wire.RefusalReason
		part   string
	}{
		"unsigned":               {unsigned, wire.RefusalBadSignature, "not signed"},
		"tampered with":          {tampered, wire.RefusalBadSignature, "does not match"},
		"signed by a stranger":   {m.query(nil, newKey(t)), wire.RefusalBadSignature, ""},
		"without credit":         {poor, wire.RefusalInvalid, "credit"},
		"of another label":       {m.query(func(q *wire.HostQuery) { q.Label = wire.JobCommandLabel }, m.a), wire.RefusalInvalid, "label"},
		"of an unknown kind":     {m.query(func(q *wire.HostQuery) { q.Kind = "Shell" }, m.a), wire.RefusalInvalid, "kind"},
		"for another host":       {m.query(func(q *wire.HostQuery) { q.Host.Name = "web-2" }, m.a), wire.RefusalWrongHost, "web-2"},
		"for other keys":         {m.query(func(q *wire.HostQuery) { q.IdentityHash = "00" }, m.a), wire.RefusalWrongIdentity, "identity changed"},
		"at the end of its time": {m.query(func(q *wire.HostQuery) { q.NotAfter = now }, m.a), wire.RefusalExpired, "this machine's clock"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.VerifyQuery(tt.open)
			checkRefusal(t, err, tt.reason, tt.part)
		})
	}
	good := m.query(nil, m.a)
	query, err := s.VerifyQuery(good)
	if diff := cmp.Diff(good.Query, mustEncode(t, query)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	applied(t, s.Offer(m.tombstone(101)), "removed")
	_, err = s.VerifyQuery(good)
	checkRefusal(t, err, wire.RefusalWrongHost, "was removed")
}
