package hook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/api/wire"
)

// script writes a shell script and returns the call that runs it.
func script(t *testing.T, body string, args ...string) Call {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook.sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return Call{Name: "preBackup 1", Hook: wire.Hook{Command: append([]string{path}, args...), TimeoutSeconds: 60, OnError: wire.HookOnErrorFail}}
}

// collect keeps the lines of a call.
func collect(c *Call) *[]string {
	var lines []string
	c.Output = func(line string) { lines = append(lines, line) }
	return &lines
}

func failed(t *testing.T, err error) *Error {
	t.Helper()
	var failure *Error
	if !errors.As(err, &failure) {
		t.Fatalf("error is %v, want an *Error", err)
	}
	return failure
}

func TestAHookSeesNothingOfTheAgent(t *testing.T) {
	t.Setenv("RESTIC_PASSWORD", "hunter2")
	t.Setenv("RESTIC_MANAGER_TOKEN", "not for hooks")
	c := script(t, `env | grep -v '^\(_\|PWD\|SHLVL\|OLDPWD\)=' | sort; pwd; printf '%s|' "$@"; echo; cat`, "a b", "$HOME", "*")
	c.Env = map[string]string{"RESTIC_MANAGER_HOST": "web-1", "RESTIC_MANAGER_MESSAGE": "it's\nbroken"}
	lines := collect(&c)
	if err := (&Runner{}).Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	want := []string{"HOME=/", "LANG=C.UTF-8", "PATH=" + safePath, "RESTIC_MANAGER_HOST=web-1", "RESTIC_MANAGER_MESSAGE=it's", "broken", "/", "a b|$HOME|*|"}
	slices.Sort(want)
	slices.Sort(*lines)
	if diff := cmp.Diff(want, *lines); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

func TestOtherVariablesAreRefused(t *testing.T) {
	for _, name := range []string{"PATH", "LD_PRELOAD", "RESTIC_PASSWORD", "RESTIC_MANAGER_A=B"} {
		c := script(t, "true")
		c.Env = map[string]string{name: "x"}
		if failure := failed(t, (&Runner{}).Run(t.Context(), c)); !strings.Contains(failure.Message, name) {
			t.Errorf("%s: %v", name, failure)
		}
	}
}

func TestHowAHookFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		call Call
		code int
		says []string
	}{
		{"an exit code, with the last line that was printed", script(t, "echo one; echo 'cannot connect' >&2; echo; exit 3"), 3, []string{"preBackup 1", "hook.sh", "exit code 3: cannot connect"}},
		{"an exit code without a word", script(t, "exit 1"), 1, []string{"exit code 1"}},
		{"a signal", script(t, "kill -9 $$"), -1, []string{"ended from outside (signal: killed)"}},
		{"a program that is not there", Call{Name: "x", Hook: wire.Hook{Command: []string{"/nonexistent/hook"}, TimeoutSeconds: 1}}, -1, []string{"could not be started: no such file"}},
		{"a folder", Call{Name: "x", Hook: wire.Hook{Command: []string{"/tmp"}, TimeoutSeconds: 1}}, -1, []string{"could not be started: permission denied"}},
		{"no command", Call{Name: "x"}, -1, []string{"no command"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			failure := failed(t, (&Runner{}).Run(t.Context(), tt.call))
			if failure.ExitCode != tt.code || failure.TimedOut {
				t.Errorf("failure is %+v, want exit code %d", failure, tt.code)
			}
			for _, want := range tt.says {
				if !strings.Contains(failure.Message, want) {
					t.Errorf("message %q does not say %q", failure.Message, want)
				}
			}
		})
	}
}

func TestAHookThatTakesTooLongIsStoppedWithItsChildren(t *testing.T) {
	c := script(t, `trap 'echo tidied; exit 0' TERM; sleep 1000 & echo "child $!"; while :; do wait; done`)
	c.Hook.TimeoutSeconds = 300
	var lines []string
	over := make(chan time.Time)
	c.Output = func(line string) {
		if lines = append(lines, line); len(lines) == 1 {
			close(over)
		}
	}
	failure := failed(t, (&Runner{timeout: func(time.Duration) <-chan time.Time { return over }}).Run(t.Context(), c))
	if !failure.TimedOut || !strings.Contains(failure.Message, "timeout of 5m0s") {
		t.Errorf("failure is %+v", failure)
	}
	if len(lines) != 2 || lines[1] != "tidied" {
		t.Fatalf("output is %q: the hook had no chance to tidy up", lines)
	}
	gone(t, pidOf(t, lines[0]))
}

func TestAHookThatIgnoresTheRequestIsKilled(t *testing.T) {
	c := script(t, `trap '' TERM; echo "child $$"; while :; do sleep 1000; done`)
	ctx, cancel := context.WithCancelCause(t.Context())
	var pid int
	c.Output = func(line string) {
		pid = pidOf(t, line)
		cancel(errors.New("the job was cancelled"))
	}
	failure := failed(t, (&Runner{Grace: 200 * time.Millisecond}).Run(ctx, c))
	if failure.TimedOut || !strings.Contains(failure.Message, "was stopped: the job was cancelled") || !errors.Is(failure, context.Cause(ctx)) {
		t.Errorf("failure is %+v", failure)
	}
	gone(t, pid)
}

func TestAContextThatEndedStartsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := script(t, "echo ran")
	lines := collect(&c)
	if failure := failed(t, (&Runner{}).Run(ctx, c)); !strings.Contains(failure.Message, "not started") || len(*lines) != 0 {
		t.Errorf("failure is %+v, output %q", failure, *lines)
	}
}

func TestAChildThatKeepsTheOutputOpenDoesNotHangTheJob(t *testing.T) {
	c := script(t, `trap '' HUP; sleep 1000 & echo "child $!"`)
	lines := collect(&c)
	if err := (&Runner{}).Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	pid := pidOf(t, (*lines)[0])
	// It may have been started on purpose: a hook may bring a service back.
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("the child was ended: %v", err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestOutputIsBounded(t *testing.T) {
	c := script(t, fmt.Sprintf(`head -c %d /dev/zero | tr '\0' x; echo; printf 'tab\tbell\007 bad\377 end\r\n'; i=0; while [ $i -lt %d ]; do echo $i; i=$((i+1)); done; printf 'no line break'; exit 1`,
		3*MaxLine, MaxLines))
	lines := collect(&c)
	failure := failed(t, (&Runner{}).Run(t.Context(), c))
	if len(*lines) != MaxLines+1 || !strings.Contains((*lines)[MaxLines], "left out") {
		t.Errorf("%d lines came, the last is %q", len(*lines), (*lines)[len(*lines)-1])
	}
	if got := (*lines)[0]; got != strings.Repeat("x", MaxLine)+cutMark {
		t.Errorf("the long line has %d bytes and ends with %q", len(got), got[len(got)-30:])
	}
	if want := "tab\tbell\uFFFD bad\uFFFD end"; (*lines)[1] != want {
		t.Errorf("line is %q, want %q", (*lines)[1], want)
	}
	if !strings.HasSuffix(failure.Message, ": no line break") {
		t.Errorf("message is %q", failure.Message)
	}
}

func TestALongLineIsCutInMessages(t *testing.T) {
	failure := failed(t, (&Runner{}).Run(t.Context(), script(t, "head -c 4000 /dev/zero | tr '\\0' x; exit 1")))
	if len(failure.Message) > 1000 || !strings.HasSuffix(failure.Message, "…") {
		t.Errorf("message has %d bytes", len(failure.Message))
	}
}

func pidOf(t *testing.T, line string) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimPrefix(line, "child "))
	if err != nil {
		t.Fatalf("no pid in %q", line)
	}
	return pid
}

// gone waits until a process was ended; one that nobody has reaped yet is a zombie.
func gone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) || err == nil && strings.Contains(string(stat), ") Z ") {
			return
		}
		<-tick.C
	}
	t.Errorf("process %d is still there", pid)
	_ = syscall.Kill(pid, syscall.SIGKILL)
}
