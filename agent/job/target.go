package job

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// restoreTarget returns where a restore goes, and an error that says who can allow it when it may not go there.
func (m *Manager) restoreTarget(jobID, wanted string) (string, error) {
	if wanted == "" {
		return filepath.Join(m.options.RestoreDir, jobID), nil
	}
	if !filepath.IsAbs(wanted) {
		return "", fmt.Errorf("the target %q is not an absolute path", wanted)
	}
	target, err := resolve(filepath.Clean(wanted))
	if err != nil {
		return "", fmt.Errorf("the target %s cannot be used: %w", wanted, err)
	}
	if own, err := resolve(m.options.RestoreDir); err == nil && within(target, own) {
		return target, nil
	}
	if overlaps(target, m.options.Protected) {
		return "", fmt.Errorf("the target %s holds the agent's own state, which is never restored over: restore to another folder", wanted)
	}
	if overlaps(target, m.options.ConfigDirs) {
		return "", fmt.Errorf("the target %s is, holds or lies in the folder of agent.yaml, which holds this machine's keys and what its owner allows, and is "+
			"never restored over: restore to another folder", wanted)
	}
	for _, dir := range m.options.AllowRestore {
		if dir, err := resolve(filepath.Clean(dir)); err == nil && within(target, dir) {
			return target, nil
		}
	}
	where := ""
	if target != filepath.Clean(wanted) {
		where = fmt.Sprintf(" (which leads to %s)", target)
	}
	return "", fmt.Errorf("this machine does not allow restores to %s%s: its owner can, with %s in allow.restore of agent.yaml "+
		"(enroll --allow-restore %s); or leave the target out to restore below %s", wanted, where, target, target, m.options.RestoreDir)
}

// overlaps tells whether the target holds, or lies in, one of the folders.
func overlaps(target string, folders []string) bool {
	return slices.ContainsFunc(folders, func(dir string) bool {
		dir, err := resolve(filepath.Clean(dir))
		return err == nil && (within(target, dir) || within(dir, target))
	})
}

// resolve follows the symbolic links of the part of path that exists.
func resolve(path string) (string, error) {
	rest := ""
	for dir := path; ; {
		real, err := filepath.EvalSymlinks(dir)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		// A link that leads nowhere would be followed by whoever makes the folder.
		if info, err := os.Lstat(dir); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return "", fmt.Errorf("%s is a symbolic link that leads nowhere", dir)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", err
		}
		rest, dir = filepath.Join(filepath.Base(dir), rest), parent
	}
}

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
