package env

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const roleVariable = "ENV_TEST_ROLE"

// playRole is what this test binary does as a child.
func playRole(role string) int {
	switch role {
	case "print-environment":
		fmt.Println(strings.Join(os.Environ(), "\n"))
		return 0
	case "fail":
		fmt.Println("the reason why")
		return 7
	case "sleep", "ignore-sigterm":
		if role == "ignore-sigterm" {
			signal.Ignore(syscall.SIGTERM)
		}
		fmt.Println("up")
		select {}
	case "parent":
		// Starts a child that is not detached, tells its pid, and is then killed by the test.
		child, err := StartProcess(context.Background(), roleCommand("sleep", os.Getenv("ENV_TEST_DIR")))
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("child", child.PID())
		select {}
	}
	return 2
}

func roleCommand(role, dir string) Command {
	logFile := filepath.Join(dir, role+".log")
	grace := 10 * time.Second
	if role == "ignore-sigterm" {
		grace = 200 * time.Millisecond
	}
	return Command{
		Name:    role,
		Path:    "/proc/self/exe",
		Env:     []string{roleVariable + "=" + role, "ENV_TEST_DIR=" + dir},
		LogFile: logFile,
		PIDFile: filepath.Join(dir, role+".pid"),
		Grace:   grace,
		Ready: func(context.Context) error {
			if data, err := os.ReadFile(logFile); err != nil || len(data) == 0 {
				return errors.New("has printed nothing yet")
			}
			return nil
		},
	}
}

func startRole(t *testing.T, role string) *Process {
	t.Helper()
	p := NewProcess(roleCommand(role, t.TempDir()))
	p.Log = t.Logf
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func gone(pid int) func(context.Context) error {
	return func(context.Context) error {
		if _, err := startTime(pid); err == nil {
			return fmt.Errorf("process %d is still there", pid)
		}
		return nil
	}
}

func TestProcessStopsOnSIGTERM(t *testing.T) {
	p := startRole(t, "sleep")
	pid := p.PID()
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := gone(pid)(t.Context()); err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := p.Wait(t.Context()); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v, expected SIGTERM", err)
	}
	if p.PID() != 0 {
		t.Errorf("PID() is %d after Stop, expected 0", p.PID())
	}
	if exists(p.PIDFile) {
		t.Error("the pid file is still there")
	}
	if err := p.Stop(); err != nil {
		t.Errorf("stopping again: %v", err)
	}
}

func TestProcessIsKilledAfterTheGrace(t *testing.T) {
	p := startRole(t, "ignore-sigterm")
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := p.Wait(t.Context()); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("ended with %v, expected SIGKILL", err)
	}
}

func TestProcessStartsAgainAfterAKill(t *testing.T) {
	p := startRole(t, "sleep")
	first := p.PID()
	if err := p.Start(t.Context()); err == nil {
		t.Error("starting a running process succeeded")
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if second := p.PID(); second == 0 || second == first {
		t.Errorf("pid %d after %d", second, first)
	}
}

func TestProcessInheritsNoEnvironment(t *testing.T) {
	t.Setenv("ENV_TEST_LEAK", "1")
	command := roleCommand("print-environment", t.TempDir())
	command.Ready = nil
	p, err := StartProcess(t.Context(), command)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	log := p.LogTail()
	if !strings.Contains(log, roleVariable+"=print-environment") || strings.Contains(log, "ENV_TEST_LEAK") {
		t.Errorf("the child's environment:\n%s", log)
	}
}

func TestProcessThatEndsBeforeItIsReadyTellsItsLog(t *testing.T) {
	command := roleCommand("fail", t.TempDir())
	command.Ready = func(context.Context) error { return errors.New("never ready") }
	_, err := StartProcess(t.Context(), command)
	var exited *ExitedError
	if !errors.As(err, &exited) {
		t.Fatalf("got %v, expected an ExitedError", err)
	}
	if !strings.Contains(err.Error(), "exit status 7") || !strings.Contains(exited.LogTail, "the reason why") {
		t.Errorf("the error does not tell what happened: %v", err)
	}
}

func TestProcessThatIsNeverReadyIsKilled(t *testing.T) {
	command := roleCommand("sleep", t.TempDir())
	command.ReadyTimeout = 300 * time.Millisecond
	command.Ready = func(context.Context) error { return errors.New("the port is closed") }
	p, err := StartProcess(t.Context(), command)
	if err == nil || !strings.Contains(err.Error(), "the port is closed") {
		t.Errorf("got %v, expected what the readiness check said last", err)
	}
	if pid := p.PID(); pid != 0 {
		t.Errorf("process %d is left behind", pid)
	}
}

func TestChildDiesWithAParentThatIsKilled(t *testing.T) {
	parent := startRole(t, "parent")
	var child int
	if _, err := fmt.Sscanf(parent.LogTail(), "child %d", &child); err != nil {
		t.Fatalf("%v in %q", err, parent.LogTail())
	}
	if _, err := startTime(child); err != nil {
		t.Fatalf("the child %d does not run: %v", child, err)
	}
	if err := parent.Kill(); err != nil {
		t.Fatal(err)
	}
	Eventually(t, 10*time.Second, "the child is gone after its parent's SIGKILL", gone(child))
}

func TestDetachedProcessIsStoppedThroughItsPIDFile(t *testing.T) {
	command := roleCommand("sleep", t.TempDir())
	command.Detach = true
	first, err := StartProcess(t.Context(), command)
	if err != nil {
		t.Fatal(err)
	}
	pid := first.PID()
	second := NewProcess(command) // as another program would
	if second.PID() != pid {
		t.Errorf("adopted pid %d, expected %d", second.PID(), pid)
	}
	if err := second.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := gone(pid)(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPIDFileOfAReusedPIDIsIgnored(t *testing.T) {
	command := roleCommand("sleep", t.TempDir())
	if err := writePIDFile(command.PIDFile, &child{pid: os.Getpid(), started: 1}); err != nil {
		t.Fatal(err)
	}
	if pid := NewProcess(command).PID(); pid != 0 {
		t.Errorf("adopted process %d, which is another one with the same pid", pid)
	}
}

func TestTakenPortIsReplaced(t *testing.T) {
	var tried []int
	err := onFreePorts(1, func(ports []int) error {
		tried = append(tried, ports[0])
		if len(tried) < 3 {
			return &ExitedError{Name: "x", LogTail: "listen tcp 127.0.0.1:1: bind: address already in use"}
		}
		return nil
	})
	if err != nil || len(tried) != 3 || tried[0] == tried[1] || tried[1] == tried[2] {
		t.Errorf("tried ports %v, error %v; expected three different ones", tried, err)
	}
	other := errors.New("another error")
	if err := onFreePorts(1, func([]int) error { return other }); !errors.Is(err, other) {
		t.Errorf("got %v, expected the start's own error", err)
	}
}
