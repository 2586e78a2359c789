package query

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

var shared struct {
	once sync.Once
	s    *stack.Stack
	c    client.Client
	err  error
}

func TestMain(m *testing.M) {
	code := env.Main(m)
	if shared.s != nil {
		if err := shared.s.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the stack:", err)
		}
		os.RemoveAll(shared.s.Dir)
	}
	os.Exit(code)
}

// theStack starts the stack with the first test that asks.
func theStack(t testing.TB) (*stack.Stack, client.Client) {
	t.Helper()
	cp := env.Shared(t)
	shared.once.Do(func() { shared.err = startStack(cp) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.s, shared.c
}

func startStack(cp *env.ControlPlane) error {
	bin, err := stack.Build(context.Background())
	if err != nil {
		return err
	}
	dir, err := env.TempDir()
	if err != nil {
		return err
	}
	if shared.s, err = stack.Start(context.Background(), stack.Options{Dir: dir, BinDir: bin, ControlPlane: cp, Gateways: 2}); err != nil {
		return err
	}
	shared.s.Spread()
	shared.c, err = shared.s.Client()
	return err
}

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

// logs shows the ends of all logs after a failure.
func logs(t testing.TB, s *stack.Stack) {
	files, err := filepath.Glob(filepath.Join(s.Dir, "logs", "*.log"))
	if err != nil {
		t.Log(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Log(err)
			continue
		}
		t.Logf("--- end of %s\n%s", filepath.Base(file), raw[max(0, len(raw)-4096):])
	}
}
