package dump

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Exit codes beside the command's own.
const (
	// ExitFailed: something other than the command failed, or it left something behind that held its output.
	ExitFailed = 1
	exitUsage  = 64
	// ExitEmpty: the command ended well and printed nothing.
	ExitEmpty = 65
	// ExitNotStarted and ExitNotFound: as a shell has them.
	ExitNotStarted = 126
	ExitNotFound   = 127
	// ExitStopped: the command was stopped from outside, as by SIGTERM.
	ExitStopped = 143
)

const (
	// StopGrace is the time between SIGTERM and SIGKILL for a command that is to stop.
	StopGrace = 10 * time.Second
	// LeftoverPatience is how long the output may stay open after the command ended.
	LeftoverPatience = 10 * time.Second
	// MaxLine is the length in bytes after which a line of the command's stderr is cut.
	MaxLine = 8 << 10
)

const (
	// Subcommand of the agent's program that calls Main.
	Subcommand = "dump"
	reportFlag = "--report-fd="
	guardFlag  = "--guard"
)

// Main runs the command in args, which are those after the subcommand: [--report-fd=N] -- PROGRAM [ARGUMENT…]. It returns the exit code for the process, which should end at
// once then. It takes over the process's signals and descriptors: call it once.
func Main(args []string) int {
	o, err := parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "dump: %v\n", err)
		return exitUsage
	}
	if o.guard {
		return runGuard(o)
	}
	return runFront(o)
}

type options struct {
	guard  bool
	report int // descriptor; 0: stderr
	argv   []string
}

func parse(args []string) (options, error) {
	var o options
	for i, arg := range args {
		switch {
		case arg == "--":
			o.argv = args[i+1:]
			if len(o.argv) == 0 || o.argv[0] == "" {
				return o, errors.New("there is no command after --")
			}
			return o, nil
		case arg == guardFlag:
			o.guard = true
		case strings.HasPrefix(arg, reportFlag):
			n, err := strconv.Atoi(strings.TrimPrefix(arg, reportFlag))
			if err != nil || n < 3 {
				return o, fmt.Errorf("%s is no descriptor from 3", arg)
			}
			o.report = n
		default:
			return o, fmt.Errorf("unknown argument %q; want [--report-fd=N] -- PROGRAM [ARGUMENT…]", arg)
		}
	}
	return o, errors.New("-- and a command are missing; this is for restic, not for people")
}
