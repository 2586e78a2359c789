package env

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

var errNoSuchProcess = errors.New("no such process")

func writePIDFile(path string, run *child) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, fmt.Appendf(nil, "%d %d\n", run.pid, run.started), 0o644)
}

// adopt returns the process that a pid file names, nil when it is not running any more.
func adopt(path string) *child {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	run := &child{done: make(chan struct{})}
	if _, err := fmt.Sscan(string(data), &run.pid, &run.started); err != nil {
		return nil
	}
	if !run.same() {
		return nil
	}
	go func() {
		defer close(run.done)
		tick := time.NewTicker(pollInterval)
		defer tick.Stop()
		for run.same() {
			<-tick.C
		}
	}()
	return run
}

// same tells whether the pid is still that very process.
func (c *child) same() bool {
	started, err := startTime(c.pid)
	return err == nil && started == c.started
}

// startTime returns when a process started, in clock ticks since boot. A process that has ended but was not yet reaped
// counts as gone.
func startTime(pid int) (uint64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, errNoSuchProcess
	}
	// The second field is the program's name in parentheses and may hold anything: the fields after it are counted.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	const state, start = 0, 19
	if len(fields) <= start || fields[state] == "Z" || fields[state] == "X" {
		return 0, errNoSuchProcess
	}
	return strconv.ParseUint(fields[start], 10, 64)
}
