package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/test/stack"
	"github.com/restic-manager/restic-manager/test/tree"
)

// Names in the samples.
const (
	Namespace = "shop"
	Host      = "web-1"
	Group     = "etc-and-home"
	Schedule  = "nightly"
	// Locked is a second group, with a file that the agent cannot read.
	Locked = "with-a-locked-file"
)

// Options of a run.
type Options struct {
	// Files in the tree that is backed up, default 3000.
	Files int
	// Print gets what a person would want to see.
	Print func(format string, args ...any)
}

// Run is the main job, and what keeps its repository healthy, on a running stack.
type Run struct {
	Options
	Stack *stack.Stack
	Agent *stack.Agent
	// Fleet are the machines of the third act.
	Fleet []*stack.Agent
	// Source is the tree that is backed up, Restored where it came back.
	Source   string
	Restored string
	// Passwords are the secrets of this run, for a search by value.
	Passwords map[string]string
	// EnrollLine is the line that was pasted; it holds the token.
	EnrollLine string
	// Steps tell what was done and how long it took.
	Steps []Step

	client client.Client
}

// Step is one thing that was seen to work.
type Step struct {
	Name string
	Took time.Duration
	// Seen is what it showed, in half a sentence.
	Seen string
}

// New prepares a run on a stack.
func New(s *stack.Stack, options Options) (*Run, error) {
	if options.Files == 0 {
		options.Files = 3000
	}
	if options.Print == nil {
		options.Print = func(string, ...any) {}
	}
	c, err := s.Client()
	if err != nil {
		return nil, err
	}
	return &Run{
		Options: options, Stack: s, client: c,
		Source:   filepath.Join(s.Dir, "machines", Namespace, Host, "srv"),
		Restored: filepath.Join(s.Dir, "machines", Namespace, Host, "restored"),
	}, nil
}

// step is something to do, and to see.
type step struct {
	name string
	do   func(context.Context) (string, error)
}

// All does every step of all acts in order and stops at the first that fails.
func (r *Run) All(ctx context.Context) error {
	for _, act := range []struct {
		name  string
		steps []step
	}{{"The main job", r.mainJob()}, {"What keeps a repository healthy", r.upkeep()}, {"A fleet", r.fleet()}, {"At the terminal", r.terminal()}} {
		r.Print("\n==== %s", act.name)
		if err := r.do(ctx, act.steps); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends the agents that run.
func (r *Run) Stop() error {
	var errs []error
	for _, agent := range append(r.Fleet, r.Agent) {
		if agent != nil {
			errs = append(errs, agent.Stop())
		}
	}
	return errors.Join(errs...)
}

// mainJob is the first act.
func (r *Run) mainJob() []step {
	return []step{
		{"make files to back up", r.makeTree},
		{"kubectl apply the samples", r.apply},
		{"enrol the machine with the line from its Secret", r.enroll},
		{"the agent connects and initialises the repository", r.connect},
		{"a backup by schedule", r.scheduledBackup},
		{"a backup by HostJob", r.backupOnDemand},
		{"change files, back up again", r.backupChanges},
		{"a file that cannot be read: completed with errors", r.backupLockedFile},
		{"restore latest into another folder", r.restore},
		{"compare it with the original", r.compare},
		{"read the snapshots with plain restic", r.plainRestic},
	}
}

func (r *Run) do(ctx context.Context, steps []step) error {
	for _, step := range steps {
		r.Print("\n== %s", step.name)
		began := time.Now()
		seen, err := step.do(ctx)
		took := time.Since(began)
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		r.Steps = append(r.Steps, Step{Name: step.name, Took: took, Seen: seen})
		r.Print("   %s (%.1f s)", seen, took.Seconds())
	}
	return nil
}

func (r *Run) makeTree(context.Context) (string, error) {
	stats, err := tree.Make(r.Source, r.Files, 42)
	if err != nil {
		return "", err
	}
	if err := tree.MakeUnreadable(r.lockedSource()); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d files, %d MiB, with symlinks, a hard link, holes and odd names, in %s", stats.Files, stats.Bytes>>20, r.Source), nil
}

func (r *Run) lockedSource() string { return r.Source + "-locked" }

func (r *Run) compare(context.Context) (string, error) {
	diffs, err := tree.Compare(r.Source, filepath.Join(r.Restored, r.Source), 20)
	if err != nil {
		return "", err
	}
	if len(diffs) > 0 {
		return "", fmt.Errorf("the restored tree differs:\n  %s", strings.Join(diffs, "\n  "))
	}
	return "content, modes, times, links and hard links are equal", nil
}

// Summary is a table of the steps.
func (r *Run) Summary() string {
	var b strings.Builder
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "  %6.1f s  %-52s %s\n", s.Took.Seconds(), s.Name, s.Seen)
	}
	return b.String()
}

func writeFile(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o600)
}
