package stack

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/restic-manager/restic-manager/test/env"
)

// Exists says whether a stack was started in a folder, with Detach, and not taken down.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "run"))
	return err == nil
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
