package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
)

// Compare returns what differs between two trees, one line each, in order; at most limit lines (0: all). Paths that begin with one of
// skip are left out.
func Compare(want, got string, limit int, skip ...string) ([]string, error) {
	a, err := scan(want, skip)
	if err != nil {
		return nil, err
	}
	b, err := scan(got, skip)
	if err != nil {
		return nil, err
	}
	return differences(a, b, limit), nil
}

// CompareArchived is Compare for a tree that went through restic's archive to somebody who unpacked it as himself: times are rounded to seconds, hard links are files of
// their own, and nothing runs as somebody else.
func CompareArchived(want, got string, limit int) ([]string, error) {
	a, err := scan(want, nil)
	if err != nil {
		return nil, err
	}
	b, err := scan(got, nil)
	if err != nil {
		return nil, err
	}
	for _, entries := range []map[string]entry{a, b} {
		for name, e := range entries {
			e.mode, e.mtime, e.linked = e.mode&^(fs.ModeSetuid|fs.ModeSetgid), (e.mtime+5e8)/1e9, ""
			entries[name] = e
		}
	}
	return differences(a, b, limit), nil
}

func differences(a, b map[string]entry, limit int) []string {
	var diffs []string
	for path, x := range a {
		y, ok := b[path]
		switch {
		case !ok:
			diffs = append(diffs, fmt.Sprintf("%q is missing", path))
		case x != y:
			diffs = append(diffs, fmt.Sprintf("%q differs: want %s, got %s", path, x, y))
		}
	}
	for path := range b {
		if _, ok := a[path]; !ok {
			diffs = append(diffs, fmt.Sprintf("%q should not be there", path))
		}
	}
	sort.Strings(diffs)
	if limit > 0 && len(diffs) > limit {
		diffs = append(diffs[:limit], fmt.Sprintf("… and %d more", len(diffs)-limit))
	}
	return diffs
}

// entry is what must be equal.
type entry struct {
	mode    fs.FileMode
	mtime   int64 // nanoseconds; a symlink's is not compared, many systems cannot set it
	content string
	target  string
	linked  string // the first path with the same inode, for hard links
}

func (e entry) String() string {
	return fmt.Sprintf("{%s mtime=%d sha256=%.12s target=%q linked=%q}", e.mode, e.mtime, e.content, e.target, e.linked)
}

func scan(root string, skip []string) (map[string]entry, error) {
	entries := map[string]entry{}
	inodes := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, s := range skip {
			if name == s || strings.HasPrefix(name, s+"/") {
				return nil
			}
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := entry{mode: info.Mode()}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			e.target, err = os.Readlink(path)
		case info.Mode().IsRegular():
			e.mtime = info.ModTime().UnixNano()
			e.content, err = hash(path)
			if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 {
				if inodes[stat.Ino] == "" {
					inodes[stat.Ino] = name
				}
				e.linked = inodes[stat.Ino]
			}
		case info.IsDir() && name != ".":
			e.mtime = info.ModTime().UnixNano()
		}
		entries[name] = e
		return err
	})
	// The root itself may have been made by the restore's caller.
	delete(entries, ".")
	return entries, err
}

func hash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
