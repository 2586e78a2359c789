package restic

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

const runDirPrefix = "run-"

// makeRunDir makes the folders of a run, and writes its CA bundle.
func (r *Runner) makeRunDir(repository Repository) (dir, caFile string, err error) {
	fail := func(err error) (string, string, error) {
		if dir != "" {
			os.RemoveAll(dir)
		}
		return "", "", notStarted(err, "cannot prepare the folders of a restic run: %v", err)
	}
	for _, d := range []string{r.CacheDir, r.TempDir} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fail(err)
		}
	}
	if dir, err = os.MkdirTemp(r.TempDir, runDirPrefix); err != nil { // mode 0700
		return fail(err)
	}
	if len(repository.CABundle) > 0 {
		caFile = filepath.Join(dir, "ca.pem")
		if err := os.WriteFile(caFile, repository.CABundle, 0o600); err != nil {
			return fail(err)
		}
	}
	return dir, caFile, nil
}

// RemoveLeftovers removes the temporary folders of runs whose agent was killed. Call it once, before the first run.
func (r *Runner) RemoveLeftovers() error {
	entries, err := os.ReadDir(r.TempDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if entry.IsDir() && strings.HasPrefix(entry.Name(), runDirPrefix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(r.TempDir, entry.Name())))
		}
	}
	return err
}
