package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// sandbox is what becomePod needs to know, as a file.
type sandbox struct {
	// Root is the image's files, Scratch an empty folder, both on the node.
	Root, Scratch string
	Hosts         string
	Hostname      string
	Mounts        []mount
	ReadOnlyRoot  bool
	Command       []string
	Env           []string
	WorkingDir    string
	UID, GID      int
	Groups        []int
	// KeepCapabilities leaves the bounding set as it is.
	KeepCapabilities bool
	NoNewPrivileges  bool
}

// mount is a folder or file of the node, at a path of the container.
type mount struct {
	Source, Path string
	ReadOnly     bool
}

// becomePod prepares this process, the first in its namespaces, and becomes the container's program.
func becomePod(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var s sandbox
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	// The node plugs the cable in, and then closes the other end.
	if _, err := io.Copy(io.Discard, os.NewFile(3, "ready")); err != nil {
		return err
	}
	for _, step := range []func() error{s.enterRoot, s.dropRights} {
		if err := step(); err != nil {
			return err
		}
	}
	if err := os.Chdir(s.WorkingDir); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", s.Command[0], syscall.Exec(s.Command[0], s.Command, s.Env))
}

// enterRoot puts the file system together and makes it the only one.
func (s *sandbox) enterRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	root := s.Scratch
	if err := unix.Mount("root", root, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.Root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := bind(filepath.Join(s.Root, e.Name()), filepath.Join(root, e.Name()), true); err != nil {
			return err
		}
	}
	for _, m := range append([]mount{{s.Hosts, "/etc/hosts", true}, {"/dev/null", "/dev/null", false}, {"/dev/urandom", "/dev/urandom", false}}, s.Mounts...) {
		if err := bind(m.Source, filepath.Join(root, m.Path), m.ReadOnly); err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
	}
	proc := filepath.Join(root, "proc")
	if err := errors.Join(os.MkdirAll(proc, 0o555), os.MkdirAll(filepath.Join(root, ".node"), 0o700)); err != nil {
		return err
	}
	if err := unix.Mount("proc", proc, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	if err := unix.PivotRoot(root, filepath.Join(root, ".node")); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	if err := errors.Join(os.Chdir("/"), unix.Unmount("/.node", unix.MNT_DETACH), os.Remove("/.node"), unix.Sethostname([]byte(s.Hostname))); err != nil {
		return err
	}
	if s.ReadOnlyRoot {
		return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
	}
	return nil
}

// bind shows a folder or file at another place, which is made when it is not there.
func bind(source, target string, readOnly bool) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		err = os.WriteFile(target, nil, 0o644)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if readOnly {
		return unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
	}
	return nil
}

// dropRights leaves this process what the spec gives it.
func (s *sandbox) dropRights() error {
	if !s.KeepCapabilities {
		for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("dropping capability %d: %w", c, err)
			}
		}
	}
	if err := errors.Join(unix.Setgroups(s.Groups), syscall.Setgid(s.GID), syscall.Setuid(s.UID)); err != nil {
		return fmt.Errorf("becoming user %d: %w", s.UID, err)
	}
	if s.NoNewPrivileges {
		return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	return nil
}
