package env

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	defaultReadyTimeout = 90 * time.Second
	defaultGrace        = 10 * time.Second
	logTailBytes        = 4 << 10
)

// Command says how a child process is run.
type Command struct {
	Name string   // for messages
	Path string   // the program
	Args []string // without the program's name
	Env  []string // the whole environment: nothing is inherited
	Dir  string   // working directory, default: this process's

	LogFile string // stdout and stderr are appended here; its folder is made

	// Ready is polled until it returns nil; nil means ready as soon as started.
	Ready        func(context.Context) error
	ReadyTimeout time.Duration // default 90 s

	Grace time.Duration // between SIGTERM and SIGKILL on Stop, default 10 s

	// Detach lets the child outlive this process, in a session of its own. PIDFile is required then: a Process with the
	// same PIDFile in another process can stop it.
	Detach  bool
	PIDFile string

	Log func(format string, args ...any) // progress, default: none
}

// Process is one child process that can be stopped and started again with the same command. Its methods may be called
// from several goroutines.
type Process struct {
	Command

	mu      sync.Mutex
	running *child
}

// child is one run. done is closed after err is set.
type child struct {
	pid     int
	started uint64 // in clock ticks since boot, to tell a reused pid
	done    chan struct{}
	err     error
	logFrom int64
}

// ExitedError says that a process ended before it was ready.
type ExitedError struct {
	Name    string
	Err     error // as exec.Cmd.Wait gave it; nil for exit code 0
	LogTail string
}

func (e *ExitedError) Error() string {
	how := "exit status 0"
	if e.Err != nil {
		how = e.Err.Error()
	}
	return fmt.Sprintf("%s ended before it was ready: %s; the end of its log:\n%s", e.Name, how, e.LogTail)
}

func (e *ExitedError) Unwrap() error { return e.Err }

// NewProcess returns a process that is not started yet.
func NewProcess(command Command) *Process { return &Process{Command: command} }

// StartProcess starts a command and waits until it is ready.
func StartProcess(ctx context.Context, command Command) (*Process, error) {
	p := NewProcess(command)
	return p, p.Start(ctx)
}

// Start starts the child and waits until it is ready. ctx bounds the wait, not the child's life. After an error nothing is
// left running.
func (p *Process) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alive() {
		return fmt.Errorf("%s is already running with pid %d", p.Name, p.running.pid)
	}
	if p.Detach && p.PIDFile == "" {
		return fmt.Errorf("%s: a detached process needs a PIDFile", p.Name)
	}
	began := time.Now()
	run, err := p.spawn()
	if err != nil {
		return fmt.Errorf("starting %s: %w", p.Name, err)
	}
	p.running = run
	if err := p.awaitReady(ctx, run); err != nil {
		_ = p.signal(syscall.SIGKILL)
		<-run.done
		p.removePIDFile()
		return err
	}
	p.logf("%s is ready after %s (pid %d, log %s)", p.Name, time.Since(began).Round(10*time.Millisecond), run.pid, p.LogFile)
	return nil
}

func (p *Process) awaitReady(ctx context.Context, run *child) error {
	timeout := p.ReadyTimeout
	if timeout == 0 {
		timeout = defaultReadyTimeout
	}
	err := Poll(ctx, timeout, "waiting until "+p.Name+" is ready", func(ctx context.Context) error {
		select {
		case <-run.done:
			return Permanent(&ExitedError{Name: p.Name, Err: run.err, LogTail: p.tail(run)})
		default:
		}
		if p.Ready == nil {
			return nil
		}
		return p.Ready(ctx)
	})
	var exited *ExitedError
	if err == nil || errors.As(err, &exited) {
		return err
	}
	return fmt.Errorf("%w; the end of its log:\n%s", err, p.tail(run))
}

// spawn starts the child on a thread that lives as long as the child does: the kernel sends the parent-death signal when
// the forking thread ends.
func (p *Process) spawn() (*child, error) {
	if err := os.MkdirAll(filepath.Dir(p.LogFile), 0o755); err != nil {
		return nil, err
	}
	logFile, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	info, err := logFile.Stat()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Env = append([]string{}, p.Env...) // never nil, which would inherit ours
	cmd.Dir = p.Dir
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if p.Detach {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	} else {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	}
	run := &child{done: make(chan struct{}), logFrom: info.Size()}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		run.pid = cmd.Process.Pid
		run.started, _ = startTime(run.pid)
		started <- nil
		run.err = cmd.Wait()
		close(run.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	if p.PIDFile != "" {
		if err := writePIDFile(p.PIDFile, run); err != nil {
			_ = syscall.Kill(run.pid, syscall.SIGKILL)
			return nil, err
		}
	}
	return run, nil
}

// Stop sends SIGTERM, and SIGKILL when the child is still there after the grace. Stopping what does not run is no error.
func (p *Process) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	grace := p.Grace
	if grace == 0 {
		grace = defaultGrace
	}
	if !p.alive() {
		p.removePIDFile()
		return nil
	}
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.running.done:
		p.removePIDFile()
		return nil
	case <-timer.C:
		p.logf("%s (pid %d) did not end within %s of SIGTERM: sending SIGKILL", p.Name, p.running.pid, grace)
	}
	return p.kill()
}

// Kill sends SIGKILL and waits until the child is gone. Killing what does not run is no error.
func (p *Process) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kill()
}

func (p *Process) kill() error {
	if p.alive() {
		if err := p.signal(syscall.SIGKILL); err != nil {
			return err
		}
		<-p.running.done
	}
	p.removePIDFile()
	return nil
}

// Signal sends a signal to the child alone, not to its own children.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive() {
		return fmt.Errorf("%s is not running", p.Name)
	}
	return p.signal(sig)
}

func (p *Process) signal(sig syscall.Signal) error {
	if err := syscall.Kill(p.running.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("sending %s to %s (pid %d): %w", sig, p.Name, p.running.pid, err)
	}
	return nil
}

// PID returns the process id of the child, 0 when none is running.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive() {
		return 0
	}
	return p.running.pid
}

// Wait blocks until the child has ended and returns its error as exec.Cmd.Wait does (nil for exit code 0), or ctx's. For a
// child that another process started, how it ended is not known and nil is returned.
func (p *Process) Wait(ctx context.Context) error {
	p.mu.Lock()
	alive := p.alive()
	run := p.running
	p.mu.Unlock()
	if run == nil {
		return fmt.Errorf("%s was not started", p.Name)
	}
	if !alive {
		return run.err
	}
	select {
	case <-run.done:
		return run.err
	case <-ctx.Done():
		return fmt.Errorf("waiting for %s to end: %w", p.Name, ctx.Err())
	}
}

// LogTail returns the last 4 KiB that the current or last run wrote.
func (p *Process) LogTail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return ""
	}
	return p.tail(p.running)
}

func (p *Process) tail(run *child) string {
	data, err := os.ReadFile(p.LogFile)
	if err != nil {
		return err.Error()
	}
	data = data[min(run.logFrom, int64(len(data))):]
	return string(data[max(0, len(data)-logTailBytes):])
}

func (p *Process) logf(format string, args ...any) {
	if p.Log != nil {
		p.Log(format, args...)
	}
}

// alive tells whether a child runs, and adopts the one of the pid file.
func (p *Process) alive() bool {
	if p.running == nil && p.PIDFile != "" {
		p.running = adopt(p.PIDFile)
	}
	if p.running == nil {
		return false
	}
	select {
	case <-p.running.done:
		return false
	default:
		return true
	}
}

func (p *Process) removePIDFile() {
	if p.PIDFile != "" {
		_ = os.Remove(p.PIDFile)
	}
}
