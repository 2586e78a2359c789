package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ticks are the units in which the kernel counts CPU; a second has a hundred on every Linux.
const ticks = 10 * time.Millisecond

// cpu is what a process has used, in user mode and in the kernel: its clock, which counts nanoseconds.
func cpu(pid int) (time.Duration, error) {
	const ofProcess = 2 // CPUCLOCK_SCHED of linux/posix-timers.h, as in clock_getcpuclockid(3)
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|ofProcess), &spent); err != nil {
		return 0, fmt.Errorf("the clock of process %d: %w", pid, err)
	}
	return time.Duration(spent.Nano()), nil
}

// ofFamily is what a process used, and those of its children that have ended, in ticks.
func ofFamily(pid int) (itself, children time.Duration, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// After the name, which may hold anything.
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	var used [4]time.Duration // each in user mode and in the kernel
	for i, f := range fields[11:15] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		used[i] = time.Duration(n) * ticks
	}
	return used[0] + used[1], used[2] + used[3], nil
}

// resident is what a process holds in memory now; peak the most it ever did.
func resident(pid int) (size, error) { return memory(pid, "VmRSS") }
func peak(pid int) (size, error)     { return memory(pid, "VmHWM") }

// own is the part of resident that is not a mapped file: the kernel takes the program's own pages back when memory is short, and has them once for all processes.
func own(pid int) (size, error) { return memory(pid, "RssAnon") }

func memory(pid int, what string) (size, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		var kilobytes int64
		if n, _ := fmt.Sscanf(line, what+": %d kB", &kilobytes); n == 1 {
			return size(kilobytes << 10), nil
		}
	}
	return 0, fmt.Errorf("the kernel tells no %s of process %d", what, pid)
}

// total sums a figure over processes.
func total[T size | time.Duration](pids []int, of func(int) (T, error)) (T, error) {
	var sum T
	for _, pid := range pids {
		n, err := of(pid)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// shares tells who has used how much CPU since it was made: where the time of a wave goes.
type shares struct {
	pids   map[string]int
	before map[string]time.Duration
}

func (w *world) shares() (*shares, error) {
	s := &shares{pids: w.CP.PIDs(), before: map[string]time.Duration{}}
	s.pids["controllers"], s.pids["agents and bench"] = w.Controller.PID(), os.Getpid()
	for _, g := range w.Replicas {
		s.pids[g.Instance] = g.PID()
	}
	for name, pid := range s.pids {
		used, err := cpu(pid)
		if err != nil {
			return nil, err
		}
		s.before[name] = used
	}
	return s, nil
}

// ofServer is what API server and etcd have used together: what a change costs them, on whatever machines they run.
func (s *shares) ofServer() (time.Duration, error) {
	var sum time.Duration
	for _, name := range []string{"kube-apiserver", "etcd"} {
		used, err := cpu(s.pids[name])
		if err != nil {
			return 0, err
		}
		sum += used - s.before[name]
	}
	return sum, nil
}

// String is a list, the greatest first.
func (s *shares) String() string {
	type part struct {
		name string
		used time.Duration
	}
	var parts []part
	for name, pid := range s.pids {
		if used, err := cpu(pid); err == nil {
			parts = append(parts, part{name, used - s.before[name]})
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return int(b.used - a.used) })
	var said []string
	for _, p := range parts {
		said = append(said, fmt.Sprintf("%s %s", p.name, span(p.used)))
	}
	return strings.Join(said, ", ")
}
