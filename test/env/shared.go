package env

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	tempPrefix   = "restic-manager-env-"
	startTimeout = 3 * time.Minute
)

var shared struct {
	mu  sync.Mutex
	cp  *ControlPlane
	err error
}

// Main runs a package's tests and then stops the control plane that they shared, also on SIGINT and SIGTERM. Its result is
// for os.Exit. RESTIC_MANAGER_KEEP=1 in the environment keeps the folder with its logs.
func Main(m interface{ Run() int }) int {
	removeStale()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		// While a start holds the lock there is nothing to wait for: the kernel ends the children, and the next run
		// removes the folder.
		if shared.mu.TryLock() {
			stopLocked()
		}
		os.Exit(1)
	}()
	defer stopShared()
	return m.Run()
}

// Shared returns the control plane of this test package, with the CRDs of config/crd/bases installed, and starts it when
// no test has asked before. The package's TestMain must call Main. Tests share it: each works in a namespace of its own
// and leaves the rest as it was.
func Shared(t TB) *ControlPlane {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.cp == nil && shared.err == nil {
		t.Logf("starting the control plane that this package's tests share")
		shared.cp, shared.err = startShared(t.Logf)
	}
	if shared.err != nil {
		t.Fatalf("starting the shared control plane: %v", shared.err)
	}
	return shared.cp
}

func startShared(logf func(string, ...any)) (*ControlPlane, error) {
	dir, err := TempDir()
	if err != nil {
		return nil, err
	}
	options := Options{Dir: dir, Log: logf}
	root, err := Root()
	if err != nil {
		return nil, err
	}
	if crds := filepath.Join(root, "config", "crd", "bases"); exists(crds) {
		options.CRDs = []string{crds}
	}
	// Not the context of the test that asks first: the others use it too.
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	cp, err := Start(ctx, options)
	if err != nil {
		return nil, err
	}
	cp.options.Log = nil // logging through a test that has ended panics
	for _, process := range cp.processes() {
		process.Log = nil
	}
	return cp, nil
}

func stopShared() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	stopLocked()
}

func stopLocked() {
	if shared.cp == nil {
		return
	}
	for _, process := range shared.cp.processes() {
		_ = process.Kill() // nothing here needs an orderly end
	}
	if os.Getenv("RESTIC_MANAGER_KEEP") != "" {
		fmt.Fprintln(os.Stderr, "kept", shared.cp.Dir)
	} else {
		_ = os.RemoveAll(shared.cp.Dir)
	}
	shared.cp = nil
}

// TempDir makes a folder that a later run removes when this process ended without doing so.
func TempDir() (string, error) {
	return os.MkdirTemp("", tempPrefix+strconv.Itoa(os.Getpid())+"-")
}

// removeStale removes the folders of test processes that were killed.
func removeStale() {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), tempPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), tempPrefix), "-")
		if n, err := strconv.Atoi(pid); err == nil && !exists("/proc/"+strconv.Itoa(n)) {
			_ = os.RemoveAll(dir)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
