package hook

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/restic-manager/restic-manager/agent/process"
	"github.com/restic-manager/restic-manager/api/wire"
)

const (
	// MaxLine is where a line of output is cut, in bytes; MaxLines is how many lines of one hook are passed on.
	MaxLine  = 4096
	MaxLines = 1000

	defaultGrace = 10 * time.Second
	// pipePatience is how long the output of an ended hook may stay open.
	pipePatience = 2 * time.Second
	// maxReason bounds the line of output that is quoted in an error.
	maxReason = 512

	variablePrefix = "RESTIC_MANAGER_"
	safePath       = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// Call is one run of one hook.
type Call struct {
	// Name says which hook it is, for errors and logs: "host preBackup 1".
	Name string
	// Hook is a valid one (wire.Hooks.Validate); TimeoutSeconds is needed, OnError is the caller's business.
	Hook wire.Hook
	// Env is added to the environment. Each name begins with RESTIC_MANAGER_.
	Env map[string]string
	// Output gets each line of stdout and stderr, without the line break. Optional.
	Output func(line string)
}

// Runner runs hooks. The zero value is ready.
type Runner struct {
	// Grace is the time between SIGTERM and SIGKILL. Default 10 s; negative: none.
	Grace time.Duration
	// Logger gets what concerns the agent's operator. Default slog.Default().
	Logger *slog.Logger
	// timeout replaces the timer of a hook's timeout in tests.
	timeout func(time.Duration) <-chan time.Time
}

// Error is every error of Run. Message is a sentence for people.
type Error struct {
	Message string
	// ExitCode is the hook's own; -1 when it was not started or ended by a signal.
	ExitCode int
	// TimedOut: it was stopped because it took longer than its timeout.
	TimedOut bool

	cause error
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives the cause of a context that ended, or of a failure to start.
func (e *Error) Unwrap() error { return e.cause }

// Run runs a hook to its end; nil means that it ended with exit code 0 within its time. When ctx ends, the hook is stopped, and Run
// returns once it has ended.
func (r *Runner) Run(ctx context.Context, c Call) error {
	e, err := r.run(ctx, c)
	if err != nil {
		return err
	}
	return e.failure(ctx, c)
}

// ending is how a hook ended.
type ending struct {
	state    *os.ProcessState
	stopped  bool
	timedOut bool
	last     string
}

func (r *Runner) run(ctx context.Context, c Call) (ending, error) {
	if len(c.Hook.Command) == 0 || c.Hook.TimeoutSeconds <= 0 {
		return ending{}, notStarted(c, errors.New("it has no command or no timeout"))
	}
	if ctx.Err() != nil {
		return ending{}, &Error{Message: c.text() + " was not started: " + context.Cause(ctx).Error(), ExitCode: -1, cause: context.Cause(ctx)}
	}
	env, err := environment(c.Env)
	if err != nil {
		return ending{}, notStarted(c, err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return ending{}, notStarted(c, err)
	}
	defer read.Close()
	// One pipe for both streams keeps their order.
	cmd := &exec.Cmd{Path: c.Hook.Command[0], Args: c.Hook.Command, Env: env, Dir: "/", Stdout: write, Stderr: write}
	p, err := process.Start(cmd)
	_ = write.Close()
	if err != nil {
		return ending{}, notStarted(c, err)
	}
	r.logger().Debug("a hook was started", "hook", c.Name, "pid", cmd.Process.Pid)
	out := &output{to: c.Output}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		out.read(read)
	}()

	var e ending
	e.stopped, e.timedOut = r.wait(ctx, c, p, drained)
	e.state = p.Reap()
	if !within(pipePatience, drained) {
		_ = read.Close() // ends the reader
		<-drained
	}
	e.last = out.last
	return e, nil
}

// wait returns when the program has ended; one that has to be stopped is.
func (r *Runner) wait(ctx context.Context, c Call, p *process.Process, drained <-chan struct{}) (stopped, timedOut bool) {
	after := r.timeout
	if after == nil {
		after = time.After
	}
	select {
	case <-p.Exited():
		return false, false
	case <-after(time.Duration(c.Hook.TimeoutSeconds) * time.Second):
		timedOut = true
	case <-ctx.Done():
	}
	grace := r.Grace
	if grace == 0 {
		grace = defaultGrace
	}
	r.logger().Debug("a hook is being stopped", "hook", c.Name, "timedOut", timedOut)
	p.Signal(syscall.SIGTERM)
	if !within(grace, p.Exited(), drained) {
		r.logger().Warn("a hook did not end when asked to, and was killed", "hook", c.Name, "grace", grace.String())
	}
	p.Signal(syscall.SIGKILL) // also to what the program left behind
	<-p.Exited()
	return true, timedOut
}

// within waits for all of the channels, for at most d.
func within(d time.Duration, all ...<-chan struct{}) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	for _, c := range all {
		select {
		case <-c:
		case <-timer.C:
			return false
		}
	}
	return true
}

func (r *Runner) logger() *slog.Logger {
	if r.Logger != nil {
		return r.Logger
	}
	return slog.Default()
}

// environment is built from nothing.
func environment(extra map[string]string) ([]string, error) {
	env := []string{"PATH=" + safePath, "LANG=C.UTF-8", "HOME=/"}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		if !strings.HasPrefix(name, variablePrefix) || strings.ContainsAny(name, "=\x00") {
			return nil, fmt.Errorf("%q is no variable for hooks: their names begin with %s", name, variablePrefix)
		}
		env = append(env, name+"="+strings.ReplaceAll(extra[name], "\x00", "\uFFFD"))
	}
	return env, nil
}

// text names the hook and its program.
func (c Call) text() string {
	if len(c.Hook.Command) == 0 {
		return fmt.Sprintf("the hook %s", c.Name)
	}
	return fmt.Sprintf("the hook %s (%s)", c.Name, c.Hook.Command[0])
}

func notStarted(c Call, err error) *Error {
	message := err.Error()
	var path *fs.PathError
	if errors.As(err, &path) {
		message = path.Err.Error() // the path is named already
	}
	return &Error{Message: fmt.Sprintf("%s could not be started: %s", c.text(), message), ExitCode: -1, cause: err}
}

// failure tells how the hook failed, or returns nil.
func (e ending) failure(ctx context.Context, c Call) error {
	code := e.state.ExitCode() // -1 for a signal
	said := ""
	if e.last != "" {
		said = ": " + wire.Cut(e.last, maxReason)
	}
	switch {
	case e.timedOut:
		return &Error{ExitCode: code, TimedOut: true, Message: fmt.Sprintf("%s did not end within its timeout of %s and was stopped; allow it more time (timeout), or see in the log what it waited for",
			c.text(), time.Duration(c.Hook.TimeoutSeconds)*time.Second)}
	case e.stopped:
		return &Error{ExitCode: code, Message: fmt.Sprintf("%s was stopped: %v", c.text(), context.Cause(ctx)), cause: context.Cause(ctx)}
	case e.state.Success():
		return nil
	case code < 0:
		return &Error{ExitCode: code, Message: fmt.Sprintf("%s was ended from outside (%s)%s", c.text(), e.state, said)}
	}
	return &Error{ExitCode: code, Message: fmt.Sprintf("%s ended with exit code %d%s", c.text(), code, said)}
}
