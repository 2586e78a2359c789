package restic

import (
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// process is one running child with its process group.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it ended and was reaped; err is set then

	mu     sync.Mutex // guards reaped, so that no signal goes to a group id that was given to somebody else
	reaped bool
	err    error
}

// startProcess starts the child, in a process group of its own and with a parent-death signal.
//
// The kernel sends that signal when the *thread* that forked ends, not the process. Go ends threads when it likes, and that would kill a healthy backup.
// So one goroutine, locked to its thread, starts the child and waits for it: the thread lives exactly as long as the child or the agent, whichever
// ends first. Children of restic (ssh, rclone) are not covered by the signal; they end when their pipes to restic close, or with the unit's cgroup.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		p.wait()
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) wait() {
	// WNOWAIT leaves the child a zombie, and a zombie keeps its id: the rest of its group can be ended without hitting a stranger.
	var info unix.Siginfo
	for {
		if err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != unix.EINTR {
			break
		}
	}
	p.mu.Lock()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	p.reaped = true
	p.err = p.cmd.Wait()
	p.mu.Unlock()
	close(p.exited)
}

// signal sends to the whole process group; an ended one is left alone.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.cmd.Process.Pid, s)
	}
}

// descriptorPath is how a child opens a descriptor that it inherited.
func descriptorPath(descriptor int) string { return "/proc/self/fd/" + strconv.Itoa(descriptor) }
