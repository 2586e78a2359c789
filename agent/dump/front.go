package dump

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// parentInterval is how often the front looks whether restic is still there.
const parentInterval = 500 * time.Millisecond

// lifelineDescriptor and reportDescriptor are the guard's.
const (
	lifelineDescriptor = 3
	reportDescriptor   = 4
)

// runFront starts the guard, and holds its lifeline until one of the two ends.
func runFront(o options) int {
	parent := os.Getppid()
	closeOnExec()
	clean()
	fail := func(err error) int {
		fmt.Fprintf(os.Stderr, "dump: cannot start the process that guards the command: %v\n", err)
		return ExitFailed
	}
	reading, writing, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	program, err := self()
	if err != nil {
		return fail(err)
	}
	guard := &exec.Cmd{Path: program, Args: []string{os.Args[0], Subcommand, guardFlag}, Stdout: os.Stdout, Stderr: os.Stderr, Dir: "/",
		ExtraFiles: []*os.File{reading}, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}
	if o.report != 0 {
		guard.ExtraFiles = append(guard.ExtraFiles, os.NewFile(uintptr(o.report), "report"))
		guard.Args = append(guard.Args, fmt.Sprintf("%s%d", reportFlag, reportDescriptor))
	}
	guard.Args = append(append(guard.Args, "--"), o.argv...)

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if err := guard.Start(); err != nil {
		return fail(err)
	}
	// Only the guard may hold these: who waits for their end waits for the guard.
	for _, file := range guard.ExtraFiles {
		file.Close()
	}
	ended := make(chan struct{})
	go func() {
		_ = guard.Wait() // its state says all
		close(ended)
	}()
	look := time.NewTicker(parentInterval)
	defer look.Stop()
	for {
		select {
		case <-ended:
			return exitCode(guard.ProcessState)
		case <-signals:
			writing.Close()
		case <-look.C:
			if os.Getppid() != parent {
				writing.Close()
			}
		}
	}
}

// exitCode is that of a process, as a shell tells it.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
