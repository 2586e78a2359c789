package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	booting "github.com/restic-manager/restic-manager/test/computer"
	"github.com/restic-manager/restic-manager/test/env"
)

// computer is a machine that has booted, for one test.
type computer struct{ *booting.Computer }

// boot starts a machine.
func boot(t *testing.T) *computer {
	t.Helper()
	needs(t, booting.Tools...)
	booted, err := booting.Boot(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the machine's journal:\n%s", booted.Journal(context.Background()))
		}
		if err := booted.Stop(); err != nil {
			t.Errorf("stopping the machine: %v", err)
		}
	})
	return &computer{booted}
}

// run is Try for what must work.
func (c *computer) run(t *testing.T, script string) string {
	t.Helper()
	out, err := c.Try(t.Context(), "", script)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(out)
}

// refuses runs what must fail, and say why.
func (c *computer) refuses(t *testing.T, script string, says ...string) {
	t.Helper()
	out, err := c.Try(t.Context(), "", script)
	var failed *exec.ExitError
	if !errors.As(err, &failed) {
		t.Errorf("%.300s: %v, want a failure\n%s", script, err, out)
	}
	for _, part := range says {
		if !strings.Contains(out, part) {
			t.Errorf("%.300s says\n%s\nwant %q in it", script, out, part)
		}
	}
}

// copy puts a file of this computer on the machine.
func (c *computer) copy(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Try(t.Context(), string(content), fmt.Sprintf("mkdir -p %q && cat >%q", filepath.Dir(to), to))
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// wait polls.
func wait(t *testing.T, what string, done func(context.Context) error) {
	t.Helper()
	if err := env.Poll(t.Context(), 60*time.Second, what, done); err != nil {
		t.Fatal(err)
	}
}
