//go:build unix && !linux

package process

import (
	"os/exec"
	"syscall"
)

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// waitForExit reaps the program: the standard library has no other way to notice the end. Another cmd.Wait returns at once.
func waitForExit(cmd *exec.Cmd) { _ = cmd.Wait() }

// signal sends to the group alone: the id of its leader may be somebody else's already.
func signal(pid int, s syscall.Signal) { _ = syscall.Kill(-pid, s) }
