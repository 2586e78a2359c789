package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/restic-manager/restic-manager/test/env"
)

// agentGrace is how long an agent may take: it gives a running restic 65 s.
const agentGrace = 90 * time.Second

// Exists says whether a stack was started in a folder, with Detach, and not taken down.
func Exists(dir string) bool {
	return len(pidFiles(dir)) > 0
}

func pidFiles(dir string) []string {
	var all []string
	for _, pattern := range []string{"run/*.pid", "rest-server/run/*.pid", "control-plane/run/*.pid"} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern)) // fails for a malformed pattern only
		all = append(all, files...)
	}
	return all
}

// Gone names the programs of a detached stack that do not run any more.
func Gone(dir string) []string {
	var gone []string
	for _, file := range pidFiles(dir) {
		name := strings.TrimSuffix(filepath.Base(file), ".pid")
		if env.NewProcess(env.Command{Name: name, PIDFile: file}).PID() == 0 {
			gone = append(gone, name)
		}
	}
	return gone
}

// StopAgent ends the agent that works on a state folder, whoever started it, and waits until it has let go of it.
func StopAgent(ctx context.Context, stateDir string, log func(format string, args ...any)) error {
	lock, err := os.OpenFile(filepath.Join(stateDir, "lock"), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	free := func(context.Context) error { return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
	if free(ctx) == nil {
		return nil
	}
	// The holder of the lock wrote its pid into it.
	var pid int
	if _, err := fmt.Fscan(lock, &pid); err != nil || pid < 2 {
		return fmt.Errorf("an agent runs on %s, and %s does not say which process it is: stop it first", stateDir, lock.Name())
	}
	log("stopping the agent of the machine (pid %d)", pid)
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the agent (pid %d): %w", pid, err)
	}
	return env.Poll(ctx, agentGrace, fmt.Sprintf("the end of the agent (pid %d)", pid), free)
}

// Down ends a stack that another process started in dir with Detach: agents first, the control plane last.
func Down(dir string) error {
	var errs []error
	for _, pattern := range []string{"run/agent-*.pid", "run/*.pid", "rest-server/run/*.pid"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		errs = append(errs, err)
		for _, file := range files {
			errs = append(errs, env.NewProcess(env.Command{Name: filepath.Base(file), PIDFile: file}).Stop())
		}
	}
	cp, err := env.Attach(env.Options{Dir: filepath.Join(dir, "control-plane"), Detach: true})
	errs = append(errs, err)
	if cp != nil {
		errs = append(errs, cp.Stop())
	}
	return errors.Join(errs...)
}
