package gitops

import (
	"bytes"
	"testing"

	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

func newQuery(name string, edits ...func(*v1alpha1.HostQuerySpec)) *v1alpha1.HostQuery {
	query := &v1alpha1.HostQuery{ObjectMeta: named(name)}
	query.Spec = v1alpha1.HostQuerySpec{HostRef: v1alpha1.LocalReference{Name: "web-1"}, Kind: v1alpha1.QueryLog,
		PublicKey: bytes.Repeat([]byte{3}, wire.KeySize), StreamSecretHash: wire.StreamSecretHash(make([]byte, wire.StreamSecretSize)), TTLSeconds: 3600}
	for _, edit := range edits {
		edit(&query.Spec)
	}
	return query
}

// Nobody keeps queries in Git, and whoever waits for one waits until its answer can be collected.
func TestHostQueries(t *testing.T) {
	o := startOperator(t)
	query := newQuery("q")
	expectStates(t, o, []state{
		{
			name:  "one to a Host that is missing is in progress",
			given: func(s *space) { s.create(newQuery("q")) },
			about: query, ready: "False HostNotFound", also: told{"Stalled": ""}, want: status.InProgressStatus,
		},
		{
			name:  "one to a Host that is not enrolled is in progress",
			given: func(s *space) { s.create(newHost("web-1"), newQuery("q")) },
			about: query, ready: "False NotEnrolled", want: status.InProgressStatus,
		},
		{
			name:  "one that is signed is current",
			given: func(s *space) { s.create(newHost("web-1", enrolled(s.t)), newQuery("q")) },
			about: query, ready: "True Signed", want: status.CurrentStatus,
		},
		{
			name:  "one that came before its Host is current",
			given: func(s *space) { s.create(newQuery("q"), newHost("web-1", enrolled(s.t))) },
			about: query, ready: "True Signed", want: status.CurrentStatus,
		},
		{
			name: "one with a key to which nothing can be sealed has failed",
			given: func(s *space) {
				s.create(newHost("web-1", enrolled(s.t)), newQuery("q", func(spec *v1alpha1.HostQuerySpec) { spec.PublicKey = make([]byte, wire.KeySize) }))
			},
			about: query, ready: "False Invalid", also: told{"Stalled": "True Invalid"}, want: status.FailedStatus,
		},
	})
}
