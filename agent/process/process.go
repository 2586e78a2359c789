//go:build unix

package process

import (
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// Process is a program that was started, with its process group.
type Process struct {
	cmd     *exec.Cmd
	exited  chan struct{} // closed when the program ended
	release chan struct{} // closed by Reap
	reaped  chan struct{} // closed when cmd.ProcessState is there and the id is given back

	mu   sync.Mutex // guards gone, so that no signal goes to an id that was given to somebody else
	gone bool
}

// Start starts the program as the leader of a process group of its own; on Linux it is killed when this process ends. It sets cmd.SysProcAttr. The
// error is that of cmd.Start, and then there is nothing to reap.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, exited: make(chan struct{}), release: make(chan struct{}), reaped: make(chan struct{})}
	cmd.SysProcAttr = attributes()
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // until the program is reaped; doc.go says why
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		waitForExit(cmd)
		close(p.exited)
		<-p.release
		_ = cmd.Wait() // the state tells
		close(p.reaped)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Exited is closed when the program itself has ended, whatever it left running.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Signal sends to what is left of the process group, on Linux also to the program itself where that has left its group. After Reap it does nothing.
func (p *Process) Signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		signal(p.cmd.Process.Pid, s)
	}
}

// Reap waits for the end of the program, gives its id back, and returns how it ended (also in cmd.ProcessState). What is left of the group lives on.
func (p *Process) Reap() *os.ProcessState {
	<-p.exited
	p.mu.Lock()
	if !p.gone {
		p.gone = true
		close(p.release)
	}
	p.mu.Unlock()
	<-p.reaped
	return p.cmd.ProcessState
}
