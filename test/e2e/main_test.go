package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/scenario"
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
		if os.Getenv("RESTIC_MANAGER_KEEP") == "" {
			os.RemoveAll(shared.s.Dir)
		} else {
			fmt.Fprintln(os.Stderr, "kept:", shared.s.Dir)
		}
	}
	os.Exit(code)
}

// theStack starts the stack with the first test that asks.
func theStack(t *testing.T) (*stack.Stack, client.Client) {
	t.Helper()
	cp := env.Shared(t)
	shared.once.Do(func() {
		shared.err = func() error {
			bin, err := stack.Build(context.Background())
			if err != nil {
				return err
			}
			dir, err := env.TempDir()
			if err != nil {
				return err
			}
			shared.s, err = stack.Start(context.Background(), stack.Options{Dir: dir, BinDir: bin, ControlPlane: cp, Gateways: 2, ControllerArgs: scenario.ControllerArgs()})
			if err != nil {
				return err
			}
			shared.c, err = shared.s.Client()
			return err
		}()
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logTails(t)
		}
	})
	return shared.s, shared.c
}

// logTails shows the ends of all logs after a failure.
func logTails(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(shared.s.Dir, "logs", "*.log"))
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
