package hook

import (
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	sigterm = syscall.SIGTERM
	sigkill = syscall.SIGKILL
)

// process is a running hook with its process group.
type process struct {
	cmd *exec.Cmd
	// exited is closed when the program has ended. It stays a zombie, which keeps its id and that of its group, until reap.
	exited  chan struct{}
	release chan struct{}
	reaped  chan struct{}

	mu   sync.Mutex // guards gone, so that no signal goes to an id that was given to somebody else
	gone bool
}

// start starts the child in a process group of its own, with a parent-death signal.
//
// The kernel sends that signal when the *thread* that forked ends, not the process, and Go ends threads when it likes. So one goroutine, locked
// to its thread, starts the child and stays until it is reaped: the thread lives as long as the child or the agent, whichever ends first.
func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{}), release: make(chan struct{}), reaped: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) wait() {
	var info unix.Siginfo
	for unix.Waitid(unix.P_PID, p.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	close(p.exited)
	<-p.release
	p.mu.Lock()
	p.gone = true
	_ = p.cmd.Wait() // the state tells
	p.mu.Unlock()
	close(p.reaped)
}

// signal sends to what is left of the process group, and to the program itself where that has left its group.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return
	}
	pid := p.cmd.Process.Pid
	_ = syscall.Kill(-pid, s)
	if group, err := syscall.Getpgid(pid); err == nil && group != pid {
		_ = syscall.Kill(pid, s)
	}
}

// reap gives the ended program's id back. Call it once, after exited.
func (p *process) reap() *os.ProcessState {
	close(p.release)
	<-p.reaped
	return p.cmd.ProcessState
}
