package dump

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/restic-manager/restic-manager/agent/process"
)

// guard runs one command.
type guard struct {
	name   string
	report *reporter
	child  *process.Process
	stop   chan struct{} // hears when the command is to end
	passed chan error    // hears when the output ended, or could not be passed on

	// The rest belongs to run.
	stopped, isPassed, leftBehind bool
	passErr                       error
}

// runGuard starts the command, passes its output on, and ends its whole process group when it should not go on.
func runGuard(o options) int {
	closeOnExec()
	g := &guard{name: filepath.Base(o.argv[0]), report: newReporter(o.report), stop: make(chan struct{}, 1), passed: make(chan error, 1)}
	// With a handler for SIGPIPE a write to a reader that is gone fails instead of ending this process; an ignored signal the command would inherit.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		for s := range signals {
			if s != syscall.SIGPIPE {
				g.wantStop()
			}
		}
	}()
	go func() {
		_, _ = io.Copy(io.Discard, os.NewFile(lifelineDescriptor, "lifeline")) // returns when the front is gone
		g.wantStop()
	}()
	how, code, message := g.run(o.argv)
	g.report.end(how, message)
	return code
}

func (g *guard) wantStop() {
	select {
	case g.stop <- struct{}{}:
	default: // it was told already
	}
}

func (g *guard) run(argv []string) (outcome, int, string) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	output, outWrite, err := os.Pipe()
	if err != nil {
		return failed, ExitFailed, fmt.Sprintf("cannot make a pipe: %v", err)
	}
	defer output.Close()
	messages, errWrite, err := os.Pipe()
	if err != nil {
		return failed, ExitFailed, fmt.Sprintf("cannot make a pipe: %v", err)
	}
	defer messages.Close()
	cmd.Stdout, cmd.Stderr = outWrite, errWrite
	g.child, err = process.Start(cmd)
	outWrite.Close()
	errWrite.Close()
	if err != nil {
		return notStartedBecause(argv[0], err)
	}

	var copied int64 // set before passed is told
	go func() {
		var err error
		copied, err = pass(output)
		g.passed <- err
	}()
	said := make(chan struct{})
	go func() { g.report.lines(messages); close(said) }()

	g.waitForExit()
	g.waitForOutput()
	g.child.Signal(syscall.SIGKILL) // what is left of the group
	state := g.child.Reap()
	// Both pipes are closed now, unless something left the group and holds them.
	_ = messages.SetReadDeadline(time.Now().Add(time.Second))
	<-said
	if !g.isPassed {
		_ = output.SetReadDeadline(time.Now().Add(time.Second))
		<-g.passed
	}
	return g.judge(state, copied)
}

// waitForExit returns when the command has ended, of itself or since it was stopped.
func (g *guard) waitForExit() {
	var kill <-chan time.Time
	for {
		select {
		case <-g.child.Exited():
			return
		case <-g.stop:
			g.stopped = true
		case g.passErr = <-g.passed:
			g.isPassed = true
			if g.passErr == nil {
				continue // it closed its output, and is still at work
			}
		case <-kill:
			g.child.Signal(syscall.SIGKILL)
			continue
		}
		if kill == nil {
			g.child.Signal(syscall.SIGTERM)
			g.child.Signal(syscall.SIGCONT) // one that is halted could not end
			timer := time.NewTimer(StopGrace)
			defer timer.Stop()
			kill = timer.C
		}
	}
}

// waitForOutput waits for the end of what the command has started and left to write.
func (g *guard) waitForOutput() {
	if g.isPassed || g.stopped {
		return
	}
	timer := time.NewTimer(LeftoverPatience)
	defer timer.Stop()
	select {
	case g.passErr = <-g.passed:
		g.isPassed = true
	case <-g.stop:
		g.stopped = true
	case <-timer.C:
		g.leftBehind = true
	}
}

// judge tells how it went, with the exit code for it.
func (g *guard) judge(state *os.ProcessState, copied int64) (outcome, int, string) {
	code := exitCode(state)
	switch {
	case g.stopped:
		return stopped, ExitStopped, g.name + " was stopped"
	case g.passErr != nil:
		return stopped, ExitStopped, fmt.Sprintf("%s was stopped, since its output could not be passed on: %v", g.name, g.passErr)
	case state.ExitCode() < 0:
		return failed, code, fmt.Sprintf("%s was ended by the signal %q", g.name, syscall.Signal(code-128))
	case code != 0:
		return failed, code, fmt.Sprintf("%s failed with exit code %d", g.name, code)
	case g.leftBehind:
		return failed, ExitFailed, fmt.Sprintf("%s ended, and %s later something that it had started still held its output, so nobody can tell whether it is complete", g.name, LeftoverPatience)
	case copied == 0:
		return empty, ExitEmpty, g.name + " ended with exit code 0 and printed nothing"
	}
	return done, 0, fmt.Sprintf("%s printed %d bytes", g.name, copied)
}

// pass copies the command's output to ours until one of the two ends; only the failure of ours is an error.
func pass(output io.Reader) (copied int64, err error) {
	buffer := make([]byte, 256<<10)
	for {
		n, readErr := output.Read(buffer)
		if n > 0 {
			written, err := os.Stdout.Write(buffer[:n])
			copied += int64(written)
			if err != nil {
				return copied, err
			}
		}
		if readErr != nil {
			return copied, nil
		}
	}
}

func notStartedBecause(program string, err error) (outcome, int, string) {
	reason := err
	for next := errors.Unwrap(reason); next != nil; next = errors.Unwrap(reason) {
		reason = next
	}
	code := ExitNotStarted
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code = ExitNotFound
	}
	return notStarted, code, fmt.Sprintf("the command %q cannot be started: %v", program, reason)
}
