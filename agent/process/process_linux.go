package process

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// waitForExit returns when the program ended, and leaves it a zombie.
func waitForExit(cmd *exec.Cmd) {
	var info unix.Siginfo
	for unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// signal sends to the group of that leader, which is not reaped.
func signal(pid int, s syscall.Signal) {
	_ = syscall.Kill(-pid, s)
	if group, err := syscall.Getpgid(pid); err == nil && group != pid {
		_ = syscall.Kill(pid, s)
	}
}
