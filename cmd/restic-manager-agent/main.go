// Command restic-manager-agent runs on each machine that is backed up: `enroll` once, `run` as a service.
//
// Exit codes: 0 success; 1 failure; 64 wrong command line; 69 the gateway cannot be reached or gives no verdict; 73 a folder cannot be
// written; 75 another agent runs with the same state folder; 77 the enrolment was refused; 78 agent.yaml is missing or not usable
// (a service manager need not restart after 64 and 78). That the machine's Host was removed is no failure: `run` goes on, and `status` says it and exits with 0.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // schedules name time zones, and small machines have no database of them

	"github.com/restic-manager/restic-manager/agent"
	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/agent/enroll"
	"github.com/spf13/cobra"
)

// The exit codes, after sysexits.h.
const (
	exitFailure     = 1
	exitUsage       = 64
	exitUnavailable = 69
	exitCannotWrite = 73
	exitTempFail    = 75
	exitRefused     = 77
	exitConfig      = 78
)

func main() {
	// The agent idles for most of its life: a smaller heap is worth more than a cheaper collection.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(64 << 20)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// usageError is a wrong command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func exitCode(err error) int {
	var usage usageError
	var bad *config.Error
	var failure *enroll.Failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &bad):
		return exitConfig
	case errors.Is(err, agent.ErrLocked):
		return exitTempFail
	case errors.As(err, &failure):
		switch failure.Cause {
		case enroll.CauseGateway, enroll.CauseTimeout:
			return exitUnavailable
		case enroll.CauseStorage:
			return exitCannotWrite
		case enroll.CauseStopped:
			return exitFailure
		}
		return exitRefused
	}
	return exitFailure
}

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// noArgs is cobra.NoArgs with an error of our own kind.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		if c.HasSubCommands() {
			return usagef("unknown command %q (see --help)", args[0])
		}
		return usagef("unexpected argument %q (see --help)", args[0])
	}
	return nil
}
