package restic

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// globEscaper makes a pattern of a path that matches that path alone.
var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// exactIncludes splits paths into those that a pattern file can hold, one in a line, and those that must be arguments. Such a file has its lines trimmed and its $variables
// expanded; arguments can be read by every user of the machine, and there is room for some hundreds only.
func exactIncludes(paths []string) (lines, args []string) {
	for _, p := range paths {
		pattern := globEscaper.Replace(p)
		if strings.TrimSpace(pattern) == pattern && !strings.ContainsAny(pattern, "\r\n") {
			lines = append(lines, strings.ReplaceAll(pattern, "$", "$$"))
		} else {
			args = append(args, "--include="+pattern)
		}
	}
	return lines, args
}

// exactFiles writes the pattern file of a restore, and returns all arguments that name its exact paths.
func exactFiles(paths []string) func(runDir string) ([]string, error) {
	if len(paths) == 0 {
		return nil
	}
	return func(runDir string) ([]string, error) {
		lines, args := exactIncludes(paths)
		if len(lines) == 0 {
			return args, nil
		}
		file := filepath.Join(runDir, "include")
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			return nil, err
		}
		return append(args, "--include-file="+file), nil
	}
}

const (
	maxExactPaths = 100_000
	// maxExactArgs keeps what must be arguments below what the kernel takes.
	maxExactArgs = 512 << 10
)

// checkSnapshotPath refuses what restic would clean into something else.
func checkSnapshotPath(p string) error {
	if err := checkText("the path in the snapshot", p); err != nil {
		return err
	}
	if !path.IsAbs(p) || path.Clean(p) != p || p == "/" {
		return invalid("the path in the snapshot %q is not absolute, clean and below /", p)
	}
	return nil
}

func checkExactPaths(paths []string) error {
	if len(paths) > maxExactPaths {
		return invalid("%d exact paths are too many, at most %d; restore their folder", len(paths), maxExactPaths)
	}
	for _, p := range paths {
		if err := checkSnapshotPath(p); err != nil {
			return err
		}
	}
	_, args := exactIncludes(paths)
	size := 0
	for arg := range slices.Values(args) {
		size += len(arg)
	}
	if size > maxExactArgs {
		return invalid("too many exact paths have a line break, or white space at their end; restore their folder")
	}
	return nil
}
