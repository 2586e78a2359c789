package dump

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"unsafe"
)

// child is the command with its process group.
type child struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it ended; it stays a zombie until finish
	reap   chan struct{}
	reaped chan struct{}

	mu     sync.Mutex
	isGone bool
}

// startChild starts the command in a process group of its own, with a parent-death signal. The kernel sends that signal when the thread that forked ends; so one goroutine,
// locked to its thread, starts the command and waits for it.
func startChild(cmd *exec.Cmd) (*child, error) {
	c := &child{cmd: cmd, exited: make(chan struct{}), reap: make(chan struct{}), reaped: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		waitForZombie(cmd.Process.Pid)
		close(c.exited)
		<-c.reap
		_ = cmd.Wait() // its state says all
		close(c.reaped)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// waitForZombie returns when the child ended, and leaves it unreaped: a zombie keeps its id, so that its group can be signalled without hitting a stranger.
func waitForZombie(pid int) {
	const byPID = 1      // P_PID
	var info [128]uint64 // siginfo_t has 128 bytes
	for {
		_, _, err := syscall.Syscall6(syscall.SYS_WAITID, byPID, uintptr(pid), uintptr(unsafe.Pointer(&info)), syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if err != syscall.EINTR {
			return
		}
	}
}

// signal sends to the whole process group, and to the command itself where that has left its group; one that was reaped is left alone.
func (c *child) signal(s syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isGone {
		return
	}
	pid := c.cmd.Process.Pid
	_ = syscall.Kill(-pid, s)
	if group, err := syscall.Getpgid(pid); err == nil && group != pid {
		_ = syscall.Kill(pid, s)
	}
}

// finish kills what is left of the group, and reaps the command, which has exited.
func (c *child) finish() {
	c.signal(syscall.SIGKILL)
	c.mu.Lock()
	c.isGone = true
	c.mu.Unlock()
	close(c.reap)
	<-c.reaped
}

// self is this program, even after its file was replaced.
func self() (string, error) { return "/proc/self/exe", nil }

// closeOnExec lets no child inherit what this process inherited beyond the standard descriptors.
func closeOnExec() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		closeOnExecBelow(1024)
		return
	}
	for _, entry := range entries {
		if descriptor, err := strconv.Atoi(entry.Name()); err == nil && descriptor > 2 {
			syscall.CloseOnExec(descriptor)
		}
	}
}
