package node

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	// inside tells the program that it is in the namespaces of the tests, sandboxed that it becomes a Pod's program.
	inside    = "RESTIC_MANAGER_TEST_NODE"
	sandboxed = "RESTIC_MANAGER_TEST_POD"
)

// Main runs a package's tests in network and mount namespaces of their own. It does not return. Who may not make namespaces (root may) gets the tests
// skipped, and told why.
func Main(m *testing.M) {
	if spec := os.Getenv(sandboxed); spec != "" {
		err := becomePod(spec)
		fmt.Fprintln(os.Stderr, "preparing the Pod:", err)
		os.Exit(128)
	}
	if os.Getenv(inside) != "" {
		if err := prepareNetwork(); err != nil {
			fmt.Fprintln(os.Stderr, "preparing the tests' network:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	if os.Geteuid() != 0 {
		fmt.Println("skipped: these tests make namespaces for Pods, which root may; run them with sudo")
		os.Exit(0)
	}
	os.Exit(again())
}

// Inside tells whether this program runs in the namespaces that Main makes.
func Inside() bool { return os.Getenv(inside) != "" || os.Getenv(sandboxed) != "" }

// again runs this program in its namespaces, and hands on how it ended.
func again() int {
	// The kernel ties the parent-death signal to the thread that forked.
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM) // the child, in the same process group, decides
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "running the tests in namespaces of their own:", err)
	return 1
}
