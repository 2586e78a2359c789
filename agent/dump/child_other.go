//go:build unix && !linux

package dump

import (
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// child is the command with its process group. Outside Linux there is no parent-death signal: the command can outlive a guard that is killed hard.
type child struct {
	cmd    *exec.Cmd
	exited chan struct{}

	mu     sync.Mutex
	isGone bool
}

func startChild(cmd *exec.Cmd) (*child, error) {
	c := &child{cmd: cmd, exited: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // its state says all
		close(c.exited)
	}()
	return c, nil
}

func (c *child) signal(s syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isGone {
		_ = syscall.Kill(-c.cmd.Process.Pid, s)
	}
}

func (c *child) finish() {
	c.signal(syscall.SIGKILL)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isGone = true
}

func self() (string, error) { return os.Executable() }

func closeOnExec() { closeOnExecBelow(1024) }
