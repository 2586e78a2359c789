package restic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// MinimumVersion is the oldest restic that this package works with.
const MinimumVersion = "0.18.0"

// Binary is a restic that was found, and its version ("0.19.1").
type Binary struct {
	Path    string
	Version string
}

// Find locates restic, at path or (when that is empty) in $PATH, and asks for its version. An older one than MinimumVersion is refused.
func Find(ctx context.Context, path string) (Binary, error) {
	found, err := locate(path)
	if err != nil {
		return Binary{}, err
	}
	return ask(ctx, found)
}

// locate returns the absolute path of the program that is to be run.
func locate(path string) (string, error) {
	given := path
	if given == "" {
		given = "restic"
	}
	found, err := exec.LookPath(given)
	if err != nil {
		if path == "" {
			return "", notStarted(err, "restic was not found in $PATH; install restic %s or newer, or give its path", MinimumVersion)
		}
		return "", notStarted(err, "there is no executable restic at %s: %v", path, rootCause(err))
	}
	if found, err = filepath.Abs(found); err != nil {
		return "", notStarted(err, "cannot tell the absolute path of %s: %v", given, err)
	}
	return found, nil
}

// ask has a program tell its version.
func ask(ctx context.Context, found string) (Binary, error) {
	cmd := exec.CommandContext(ctx, found, "--json", "version")
	cmd.Env = []string{"PATH=" + safePath, "LANG=C.UTF-8"}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return Binary{}, notStarted(err, "%s version failed: %v: %s", found, err, firstLine(stderr.String()))
	}
	version, err := parseVersion(stdout.Bytes())
	if err != nil {
		return Binary{}, notStarted(err, "%s does not look like restic: %v", found, err)
	}
	if older(version, MinimumVersion) {
		return Binary{}, notStarted(nil, "%s is restic %s; %s or newer is needed", found, version, MinimumVersion)
	}
	return Binary{Path: found, Version: version}, nil
}

var versionLine = regexp.MustCompile(`^restic (\d+\.\d+\.\d+\S*)`)

// parseVersion reads both forms: JSON, and the text that some builds print even with --json.
func parseVersion(output []byte) (string, error) {
	var message struct {
		Version string `json:"version"`
	}
	if json.Unmarshal(output, &message) == nil && message.Version != "" {
		if _, err := versionNumbers(message.Version); err != nil {
			return "", err
		}
		return message.Version, nil
	}
	if m := versionLine.FindSubmatch(output); m != nil {
		return string(m[1]), nil
	}
	line := firstLine(string(output))
	return "", fmt.Errorf("`version` printed %q", line[:min(len(line), 80)])
}

var versionPrefix = regexp.MustCompile(`^v?(\d+)\.(\d+)\.(\d+)`)

func versionNumbers(version string) ([3]int, error) {
	var out [3]int
	m := versionPrefix.FindStringSubmatch(version)
	if m == nil {
		return out, fmt.Errorf("%q is not a version", version)
	}
	for i := range out {
		n, err := strconv.Atoi(m[i+1])
		if err != nil {
			return out, fmt.Errorf("%q is not a version", version)
		}
		out[i] = n
	}
	return out, nil
}

// older compares numbers only: a development build (0.18.1-dev) counts as its release.
func older(version, than string) bool {
	a, errA := versionNumbers(version)
	b, errB := versionNumbers(than)
	if errA != nil || errB != nil {
		return true
	}
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}

func notStarted(cause error, format string, args ...any) error {
	return &Error{Kind: KindNotStarted, ExitCode: -1, Message: strings.TrimSuffix(fmt.Sprintf(format, args...), ": "), cause: cause}
}

func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
