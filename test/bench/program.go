package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/restic-manager/restic-manager/test/env"
)

// program is run on one repository.
type program struct {
	path    string
	options []string // before the others
	env     []string
}

// restic itself, with a cache of its own, on the repository that the secret opens.
func (w *world) restic(secret map[string]string, cache string) (*program, error) {
	p := &program{options: []string{"--cacert", w.CA.CertFile, "--cache-dir", w.cacheOf(cache)}, env: []string{
		"PATH=/usr/bin:/bin", "RESTIC_REPOSITORY=" + w.Rest.RepositoryURL(secret[restUser]), "RESTIC_PROGRESS_FPS=1", "TMPDIR=" + w.Dir,
	}}
	for name, value := range secret {
		p.env = append(p.env, name+"="+value)
	}
	var err error
	p.path, err = env.Binary("", env.Restic)
	return p, err
}

func (w *world) cacheOf(user string) string { return filepath.Join(w.Dir, "cache", user) }

// restUser is in the Secret of a Host.
const restUser = "RESTIC_REST_USERNAME"

// twin is restic on a copy of a repository that holds nothing yet: with the same keys, which take as long to open, and so with the same chunks.
func (w *world) twin(secret map[string]string, user string) (*program, error) {
	own := maps.Clone(secret)
	own[restUser] = user
	if err := w.Rest.SetUser(user, own["RESTIC_REST_PASSWORD"]); err != nil {
		return nil, err
	}
	if err := os.CopyFS(filepath.Join(w.Rest.Data, user), os.DirFS(filepath.Join(w.Rest.Data, secret[restUser]))); err != nil {
		return nil, err
	}
	return w.restic(own, user)
}

// profile is such a twin, and resticprofile, whose one profile is to back the files up into it as plain restic does.
func (w *world) profile(secret map[string]string, user, files string) (twin, profile *program, err error) {
	if twin, err = w.twin(secret, user); err != nil {
		return nil, nil, err
	}
	file := filepath.Join(w.Dir, user+".yaml")
	config := fmt.Sprintf("version: \"1\"\nglobal:\n  restic-binary: %q\ndefault:\n  cacert: %q\n  cache-dir: %q\n  backup:\n    json: true\n    source: [%q]\n",
		twin.path, w.CA.CertFile, w.cacheOf(user), files)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, nil, err
	}
	profile = &program{options: []string{"--no-ansi", "-c", file}, env: twin.env}
	profile.path, err = env.Binary("", env.Resticprofile)
	return twin, profile, err
}

// run returns how long the program took, and its CPU with that of its children.
func (p *program) run(ctx context.Context, args ...string) (cost, error) {
	cmd := p.command(ctx, args...)
	began := time.Now()
	if _, err := said(cmd); err != nil {
		return cost{}, err
	}
	return cost{wall: time.Since(began), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

// ownTime is how long the latest backup took by restic's own account.
func (p *program) ownTime(ctx context.Context) (time.Duration, error) {
	out, err := said(p.command(ctx, "snapshots", "--json", "--no-lock", "--latest", "1"))
	if err != nil {
		return 0, err
	}
	var snapshots []struct {
		Summary struct {
			Start time.Time `json:"backup_start"`
			End   time.Time `json:"backup_end"`
		} `json:"summary"`
	}
	if err := json.Unmarshal(out, &snapshots); err != nil {
		return 0, err
	}
	if len(snapshots) != 1 {
		return 0, fmt.Errorf("the repository has %d snapshots, want 1", len(snapshots))
	}
	return snapshots[0].Summary.End.Sub(snapshots[0].Summary.Start), nil
}

func (p *program) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.path, slices.Concat(p.options, args)...)
	cmd.Env = p.env
	return cmd
}

// said is what the command writes to its standard output.
func said(cmd *exec.Cmd) ([]byte, error) {
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, fmt.Errorf("%s: %w", cmd, err)
	}
	return out, nil
}
