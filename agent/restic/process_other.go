//go:build unix && !linux

package restic

import (
	"os/exec"
	"strconv"
	"sync"
	"syscall"
)

// process is one running child with its process group. Outside Linux there is no parent-death signal: a child can outlive an agent that is killed hard.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}

	mu     sync.Mutex
	reaped bool
	err    error
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.reaped, p.err = true, err
		p.mu.Unlock()
		close(p.exited)
	}()
	return p, nil
}

func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.cmd.Process.Pid, s)
	}
}

// descriptorPath is how a child opens a descriptor that it inherited.
func descriptorPath(descriptor int) string { return "/dev/fd/" + strconv.Itoa(descriptor) }
