package swarm

import (
	"fmt"
	"os"
	"syscall"
)

// spareFiles is what a process needs beside the agents' connections and what it has open already: clients of the API server, logs, tests.
const spareFiles = 200

// allowFiles raises the limit of open files to the hard one, when that is needed for so many connections.
func allowFiles(connections int) error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("counting open files: %w", err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	need := uint64(len(open) + connections + spareFiles)
	if need <= limit.Cur {
		return nil
	}
	if need > limit.Max {
		return fmt.Errorf("%d simulated agents need %d open files, and this process may have %d at most (ulimit -Hn): raise that limit, or spread the agents over several processes",
			connections, need, limit.Max)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raising the limit of open files to %d: %w", limit.Max, err)
	}
	return nil
}
