package restic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/restic-manager/restic-manager/agent/process"
)

const (
	defaultRetryLock        = 5 * time.Minute
	defaultUnreachableAfter = 5 * time.Minute
	defaultGrace            = 65 * time.Second
	// pipePatience is how long a pipe may stay open after restic ended (a program that restic started may hold it).
	pipePatience = 5 * time.Second
	// reportPatience is the same for a command that restic started: it ends after the 10 s that it is given to clean up.
	reportPatience = 20 * time.Second
	// firstInherited is the number of the first descriptor that a child gets beside its standard ones.
	firstInherited = 3
)

// invocation is one run of restic.
type invocation struct {
	command    string
	args       []string // from the subcommand on
	repository Repository
	limits     Limits
	observer   Observer
	// message gets each JSON message but status and exit_error. Calls never overlap.
	message func(message)
	// plain gets each line of stderr that is plain text and has no meaning of its own to this package. Calls never overlap with those of message.
	plain func(line string)
	// output gets each line of stdout that is plain text; it returns whether the line is worth the log. Calls never overlap with those of message.
	output func(line string) bool
	// counter: stdout has progress in text, which is told as Progress and not as a line.
	counter bool
	// stdout reads restic's stdout instead of the JSON line reader.
	stdout func(io.Reader) error
	// files writes what the run needs into its folder, which is gone afterwards, and returns the arguments that name it.
	files func(runDir string) (args []string, err error)
	// variables are passed to restic beside those of the repository.
	variables map[string]string
	// report gets each line that a program started by restic writes to descriptor 3, and a way to the job's log. Calls never overlap with those of message.
	report func(line []byte, log func(text string))
	// text: the command tells less with --json than without.
	text bool
	// silent: the command says nothing while it works well, and is quick; so a long silence means that the server does not answer.
	silent bool
	// locks: the command leaves a lock behind when it is killed or breaks down.
	locks bool
	// ownCache: the command makes a cache of its own below the one that it is given, and leaves it there when it is killed. It goes with the run's folder.
	ownCache bool
}

// run is an invocation under way. mu guards all below it: two readers, timers and the context meet there.
type run struct {
	inv        invocation
	runner     *Runner
	logger     *slog.Logger
	redact     *redactor
	dispatcher *dispatcher
	process    *process.Process
	state      *os.ProcessState // how it ended

	mu          sync.Mutex
	watch       retryWatch
	timer       *time.Timer // gives up; armed while retrying
	stopped     stopReason
	killTimer   *time.Timer
	killed      bool
	exitMessage string
	gaveUp      string
	crash       string
	stderr      []string
	lastOutput  time.Time
}

func (r *Runner) logger() *slog.Logger {
	if r.Logger != nil {
		return r.Logger
	}
	return slog.Default()
}

func orDefault(d, fallback time.Duration) time.Duration {
	switch {
	case d == 0:
		return fallback
	case d < 0:
		return 0
	}
	return d
}

// run starts restic and waits until it ended, both pipes were read to their end, and the observer heard everything. A context that is
// done ends it. The error is an *Error for what prevented the start; how the run went is in the outcome.
func (r *Runner) run(ctx context.Context, inv invocation) (outcome, error) {
	if err := r.check(); err != nil {
		return outcome{}, err
	}
	if err := inv.repository.Check(); err != nil {
		return outcome{}, err
	}
	if err := ctx.Err(); err != nil {
		stopped := contextStop(ctx)
		return outcome{exitCode: -1, stopped: stopped, cause: context.Cause(ctx)}, nil
	}
	runDir, caFile, err := r.makeRunDir(inv.repository)
	if err != nil {
		return outcome{}, err
	}
	defer func() {
		if err := os.RemoveAll(runDir); err != nil {
			r.logger().Warn("cannot remove the temporary folder of a restic run", "folder", runDir, "error", err)
		}
	}()
	args := inv.args
	if inv.files != nil {
		named, err := inv.files(runDir)
		if err != nil {
			return outcome{}, notStarted(err, "cannot prepare the files of a restic run: %v", err)
		}
		args = slices.Insert(slices.Clone(args), 1, named...)
	}
	env, err := r.environment(inv.repository, runDir, inv.variables)
	if err != nil {
		return outcome{}, err
	}
	certificate, err := inv.repository.certificatePipe()
	if err != nil {
		return outcome{}, err
	}
	var inherited []*os.File // by restic and by what it starts, as descriptors 3 and up
	var report *os.File
	if inv.report != nil {
		reading, writing, err := os.Pipe()
		if err != nil {
			return outcome{}, notStarted(err, "cannot make a pipe: %v", err)
		}
		defer reading.Close()
		defer writing.Close()
		report, inherited = reading, []*os.File{writing}
	}
	global := globals{text: inv.text, cacheDir: r.CacheDir, caFile: caFile, limits: inv.limits.or(r.Limits), retryLock: orDefault(r.RetryLock, defaultRetryLock)}
	if inv.ownCache {
		global.cacheDir = runDir
	}
	if certificate != nil {
		defer certificate.Close()
		inherited = append(inherited, certificate)
		global.clientCertificate = descriptorPath(firstInherited + len(inherited) - 1)
	}

	x := &run{inv: inv, runner: r, logger: r.logger().With("command", inv.command), redact: newRedactor(inv.repository.Environment)}
	x.watch.limit = orDefault(r.UnreachableAfter, defaultUnreachableAfter)
	x.dispatcher = newDispatcher(inv.observer, x.logger)
	defer x.dispatcher.close(observerPatience)

	cmd := &exec.Cmd{
		Path:       r.Binary.Path,
		Args:       slices.Concat([]string{r.Binary.Path}, global.args(), args),
		Env:        env,
		Dir:        runDir,
		ExtraFiles: inherited,
	}
	began := time.Now()
	if err := x.execute(ctx, cmd, report); err != nil {
		return outcome{}, &Error{Kind: KindNotStarted, Command: inv.command, ExitCode: -1, cause: err,
			Message: fmt.Sprintf("cannot start %s: %v", r.Binary.Path, rootCause(err))}
	}
	o := x.outcome(ctx, time.Since(began))
	x.logger.Debug("restic ended", "exitCode", o.exitCode, "after", time.Since(began).Round(time.Millisecond).String())
	if inv.locks && o.leftLock() {
		r.removeLeftLock(ctx, inv)
	}
	return o, nil
}

// check tells whether the Runner was set up.
func (r *Runner) check() error {
	switch {
	case r.Binary.Path == "":
		return invalid("no restic binary was found yet (Runner.Binary)")
	case !filepath.IsAbs(r.CacheDir), !filepath.IsAbs(r.TempDir):
		return invalid("Runner.CacheDir and Runner.TempDir must be absolute paths")
	}
	if err := checkText("Runner.Hostname", r.Hostname); err != nil {
		return err
	}
	return r.Limits.check()
}

// execute runs the child to its end. Its error is one of starting. report is nil or the reading end of what a grandchild reports.
func (x *run) execute(ctx context.Context, cmd *exec.Cmd, report *os.File) error {
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	defer outRead.Close()
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		outWrite.Close()
		return err
	}
	defer errRead.Close()
	cmd.Stdout, cmd.Stderr = outWrite, errWrite
	x.lastOutput = time.Now()
	x.process, err = process.Start(cmd)
	outWrite.Close()
	errWrite.Close()
	for _, file := range cmd.ExtraFiles {
		file.Close()
	}
	if err != nil {
		return err
	}
	x.logger.Debug("restic started", "pid", cmd.Process.Pid)

	var readers sync.WaitGroup
	readers.Go(func() { x.readStdout(outRead) })
	readers.Go(func() { readLines(errRead, MaxLine, x.stderrLine) })
	limit := pipePatience
	if report != nil {
		readers.Go(func() { readLines(report, MaxLine, x.reportLine) })
		limit = reportPatience
	}

	unhook := context.AfterFunc(ctx, func() { x.stop(contextStop(ctx)) })
	defer unhook()
	if x.inv.silent && x.watch.limit > 0 {
		silence := time.AfterFunc(x.watch.limit, func() { x.stopIfSilent(x.watch.limit) })
		defer silence.Stop()
	}

	<-x.process.Exited()
	x.process.Signal(syscall.SIGKILL) // what is left of the group
	x.state = x.process.Reap()
	drained := make(chan struct{})
	go func() { readers.Wait(); close(drained) }()
	patience := time.NewTimer(limit)
	defer patience.Stop()
	select {
	case <-drained:
	case <-patience.C:
		x.logger.Warn("a program that restic started still holds its output; it is read no further")
		outRead.Close()
		errRead.Close()
		report.Close() // fine when nil
		<-drained
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, timer := range []*time.Timer{x.timer, x.killTimer} {
		if timer != nil {
			timer.Stop()
		}
	}
	return nil
}

func contextStop(ctx context.Context) stopReason {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return stoppedByDeadline
	}
	return stoppedByContext
}

// stop asks restic to end, once, and ends it by force after the grace.
func (x *run) stop(reason stopReason) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stopLocked(reason)
}

func (x *run) stopLocked(reason stopReason) {
	if x.stopped != notStopped {
		return
	}
	x.stopped = reason
	x.logger.Info("stopping restic")
	x.process.Signal(syscall.SIGINT)
	grace := orDefault(x.runner.Grace, defaultGrace)
	x.killTimer = time.AfterFunc(grace, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.logger.Warn("restic did not end after SIGINT; killing it", "grace", grace.String())
		x.killed = true
		x.process.Signal(syscall.SIGKILL)
	})
}

func (x *run) stopIfSilent(limit time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if time.Since(x.lastOutput) >= limit {
		x.stopLocked(stoppedSilent)
	}
}

// outcome collects what is known after the end.
func (x *run) outcome(ctx context.Context, took time.Duration) outcome {
	x.mu.Lock()
	defer x.mu.Unlock()
	o := outcome{stopped: x.stopped, exitMessage: x.exitMessage, gaveUp: x.gaveUp, redact: x.redact.text, last: x.watch.last,
		retrying: !x.watch.since.IsZero(), wasAway: x.watch.away, stderr: x.stderr, waited: took, killed: x.killed}
	if x.stopped == stoppedByContext || x.stopped == stoppedByDeadline {
		o.cause = context.Cause(ctx)
	}
	if o.exitMessage == "" && len(x.stderr) > 0 {
		o.exitMessage = x.stderr[len(x.stderr)-1] // restic broke down before it could print its JSON
	}
	state := x.state
	if state == nil {
		o.exitCode = -1
		return o
	}
	o.exitCode = state.ExitCode()
	if o.exitCode == exitCrashed {
		o.crash = x.crash
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		o.signal = status.Signal()
	}
	return o
}

// removeLeftLock removes the lock that a restic left which was killed or broke down, as well as it can: the server may be why it had to be killed.
func (r *Runner) removeLeftLock(ctx context.Context, inv invocation) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	brief := *r
	brief.Grace = 5 * time.Second
	if _, err := brief.Unlock(ctx, inv.repository, nil); err != nil {
		r.logger().Warn("a restic that was killed or broke down may have left a lock; others wait for it for up to half an hour", "error", err)
	}
}
