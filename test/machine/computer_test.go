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

	"github.com/restic-manager/restic-manager/test/env"
)

// computer is a machine that has booted.
type computer struct {
	*env.Process
	pid string
}

// boot starts a machine for one test.
func boot(t *testing.T) *computer {
	t.Helper()
	needs(t, "systemctl", "nsenter", "unshare", "setpriv")
	dir := t.TempDir()
	log := filepath.Join(dir, "boot.log")
	inside := filepath.Join(dir, "machine")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &computer{}
	c.Process = env.NewProcess(env.Command{
		Name: "machine", Path: filepath.Join(root(t), "test/machine/boot.sh"), Args: []string{inside}, Env: []string{"PATH=" + os.Getenv("PATH")}, LogFile: log,
		Ready: func(ctx context.Context) error {
			pid, err := os.ReadFile(filepath.Join(inside, "pid"))
			if err != nil {
				return err
			}
			c.pid = strings.TrimSpace(string(pid))
			_, err = c.try(ctx, "", "systemctl is-system-running")
			return err
		},
	})
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			said, _ := c.try(context.Background(), "", "journalctl --no-pager -n 60 _TRANSPORT=stdout _TRANSPORT=syslog _TRANSPORT=journal")
			t.Logf("the machine's journal:\n%s", said)
		}
		if err := c.Stop(); err != nil {
			t.Errorf("stopping the machine: %v", err)
		}
	})
	return c
}

// try runs a bash script on the machine, as its root.
func (c *computer) try(ctx context.Context, stdin, script string) (string, error) {
	command := exec.CommandContext(ctx, "nsenter", "-t", c.pid, "-m", "-p", "-i", "-u", "-C", "-r", "-w", "--",
		"env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "bash", "-c", script)
	command.Stdin = strings.NewReader(stdin)
	out, err := command.CombinedOutput()
	return string(out), err
}

// run is try for what must work.
func (c *computer) run(t *testing.T, script string) string {
	t.Helper()
	out, err := c.try(t.Context(), "", script)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(out)
}

// refuses runs what must fail, and say why.
func (c *computer) refuses(t *testing.T, script string, says ...string) {
	t.Helper()
	out, err := c.try(t.Context(), "", script)
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
	out, err := c.try(t.Context(), string(content), fmt.Sprintf("mkdir -p %q && cat >%q", filepath.Dir(to), to))
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
