package stack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/test/env"
)

// TB is what is needed of a testing.TB.
type TB interface {
	env.TB
	Failed() bool
}

// Shared is a stack that all tests of a package use, on the control plane that they share. The first one that asks starts it. Options are read then; folders, programs
// and control plane are its own.
type Shared struct {
	Options Options

	once   sync.Once
	stack  *Stack
	client client.Client
	err    error
}

// Main is for TestMain: it runs the tests, and ends what they shared. RESTIC_MANAGER_KEEP=1 keeps the folder.
func (s *Shared) Main(m interface{ Run() int }) int {
	code := env.Main(m)
	if s.stack == nil {
		return code
	}
	if err := s.stack.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the stack:", err)
	}
	if os.Getenv("RESTIC_MANAGER_KEEP") == "" {
		os.RemoveAll(s.stack.Dir)
	} else {
		fmt.Fprintln(os.Stderr, "kept:", s.stack.Dir)
	}
	return code
}

// Get returns the stack and a client with the admin's rights. A test that fails shows the ends of all logs.
func (s *Shared) Get(t TB) (*Stack, client.Client) {
	t.Helper()
	cp := env.Shared(t)
	s.once.Do(func() { s.err = s.start(cp) })
	if s.err != nil {
		t.Fatalf("%v", s.err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.stack.ShowLogs(t)
		}
	})
	return s.stack, s.client
}

func (s *Shared) start(cp *env.ControlPlane) error {
	o := s.Options
	o.ControlPlane = cp
	var err error
	if o.BinDir, err = Build(context.Background()); err != nil {
		return err
	}
	if o.Dir, err = env.TempDir(); err != nil {
		return err
	}
	if s.stack, err = Start(context.Background(), o); err != nil {
		return err
	}
	s.client, err = s.stack.Client()
	return err
}

// ShowLogs logs the ends of all logs.
func (s *Stack) ShowLogs(t env.TB) {
	files, err := filepath.Glob(filepath.Join(s.Dir, "logs", "*.log"))
	if err != nil {
		t.Logf("%v", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Logf("%v", err)
			continue
		}
		t.Logf("--- end of %s\n%s", filepath.Base(file), raw[max(0, len(raw)-4096):])
	}
}
