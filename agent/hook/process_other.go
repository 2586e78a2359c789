//go:build unix && !linux

package hook

import (
	"os"
	"os/exec"
	"sync"
	"syscall"
)

const (
	sigterm = syscall.SIGTERM
	sigkill = syscall.SIGKILL
)

// process is a running hook with its process group. Outside Linux there is no parent-death signal: a hook can outlive an agent that is
// killed hard.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}

	mu   sync.Mutex
	gone bool
}

func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // the state tells
		p.mu.Lock()
		p.gone = true
		p.mu.Unlock()
		close(p.exited)
	}()
	return p, nil
}

// signal sends to the process group while its leader lives.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		_ = syscall.Kill(-p.cmd.Process.Pid, s)
	}
}

func (p *process) reap() *os.ProcessState { return p.cmd.ProcessState }
