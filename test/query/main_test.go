package query

import (
	"crypto/tls"
	"os"
	"testing"

	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

var shared = stack.Shared{Options: stack.Options{Gateways: 2}}

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// record puts a recorder before the replicas, for all that connects from now on, until the test ends.
func record(t *testing.T, s *stack.Stack) *recorder {
	t.Helper()
	leaf, err := s.CA.Issue("recorder", env.LeafRequest{})
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(s.CA.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := os.ReadFile(leaf.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(leaf.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(append(certificate, authority...), key) // agents pin the CA
	if err != nil {
		t.Fatal(err)
	}
	r := startRecorder(t, pair, s.Replicas[0].Address, s.Replicas[1].Address)
	s.Balancer.Point(r.address())
	t.Cleanup(s.Spread)
	return r
}
