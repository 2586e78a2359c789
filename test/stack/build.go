package stack

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/restic-manager/restic-manager/test/env"
)

// Build builds the three programs into the cache folder, for tests that must run what the working tree says, and returns the folder.
func Build(ctx context.Context) (string, error) {
	root, err := env.Root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".cache", "test-bin")
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+string(filepath.Separator), "./cmd/...")
	command.Dir = root
	command.Env = append(command.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/...: %w\n%s", err, out)
	}
	return dir, nil
}
