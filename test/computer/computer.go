package computer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/restic-manager/restic-manager/test/env"
)

// Tools are what Boot and Try call.
var Tools = []string{"systemctl", "nsenter", "unshare", "setpriv"}

// InstallTools makes sure that programs are there.
func InstallTools(ctx context.Context, tools ...string) error {
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		root, err := env.Root()
		if err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, filepath.Join(root, "hack/debian-tools.sh"), tools...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s is needed and cannot be installed: %w\n%s", tool, err, out)
		}
		return nil
	}
	return nil
}

// Computer is a machine that has booted. Its Process is that of boot.sh.
type Computer struct {
	*env.Process
	pid string
}

// Boot starts a machine in an empty folder, and waits until its systemd says that it runs.
func Boot(ctx context.Context, dir string) (*Computer, error) {
	root, err := env.Root()
	if err != nil {
		return nil, err
	}
	inside := filepath.Join(dir, "machine")
	if err := os.Mkdir(inside, 0o755); err != nil {
		return nil, err
	}
	c := &Computer{}
	c.Process = env.NewProcess(env.Command{
		Name: "machine", Path: filepath.Join(root, "test/computer/boot.sh"), Args: []string{inside}, Env: []string{"PATH=" + os.Getenv("PATH")},
		LogFile: filepath.Join(dir, "boot.log"),
		Ready: func(ctx context.Context) error {
			pid, err := os.ReadFile(filepath.Join(inside, "pid"))
			if err != nil {
				return err
			}
			c.pid = strings.TrimSpace(string(pid))
			_, err = c.Try(ctx, "", "systemctl is-system-running")
			return err
		},
	})
	return c, c.Start(ctx)
}

// Try runs a bash script on the machine, as its root, and returns what it wrote to either output.
func (c *Computer) Try(ctx context.Context, stdin, script string) (string, error) {
	command := exec.CommandContext(ctx, "nsenter", "-t", c.pid, "-m", "-p", "-i", "-u", "-C", "-r", "-w", "--",
		"env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "bash", "-c", script)
	command.Stdin = strings.NewReader(stdin)
	out, err := command.CombinedOutput()
	return string(out), err
}

// Journal returns the end of what the machine's services wrote.
func (c *Computer) Journal(ctx context.Context) string {
	said, _ := c.Try(ctx, "", "journalctl --no-pager -n 60 _TRANSPORT=stdout _TRANSPORT=syslog _TRANSPORT=journal")
	return said
}
