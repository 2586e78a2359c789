// Command demo shows the main job of restic-manager once, in four acts, on real parts, and exits non-zero when anything differs from what it should
// be. It leaves nothing behind; RESTIC_MANAGER_KEEP=1 keeps its folder.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/scenario"
	"github.com/restic-manager/restic-manager/test/stack"
)

func main() {
	log.SetLogger(logr.Discard()) // what is printed here is for people
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "\nThe demo failed: %v\n", err)
		os.Exit(1)
	}
}

func print(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func run(ctx context.Context) (err error) {
	dir, err := env.TempDir()
	if err != nil {
		return err
	}
	defer func() {
		if os.Getenv("RESTIC_MANAGER_KEEP") != "" {
			print("kept: %s", dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
		print("Everything is stopped, and %s is removed (RESTIC_MANAGER_KEEP=1 keeps it).", dir)
	}()

	print("== start API server, rest-server, controllers and gateway")
	began := time.Now()
	s, err := stack.Start(ctx, stack.Options{Dir: dir, ControllerArgs: scenario.ControllerArgs(), Log: func(format string, args ...any) { print("   "+format, args...) }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	started := time.Since(began)

	r, err := scenario.New(s, scenario.Options{Print: print})
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, r.Stop())
		if err != nil {
			printLogs(s, r)
		}
	}()
	if err := r.All(ctx); err != nil {
		return err
	}
	if err := show(ctx, s); err != nil {
		return err
	}
	print("\n== what was seen")
	print("  %6.1f s  %s", started.Seconds(), "start everything")
	print("%s", r.Summary())
	print("The main job works: %.0f s in all.", time.Since(began).Seconds())
	return nil
}

// show prints what a person would look at.
func show(ctx context.Context, s *stack.Stack) error {
	for _, args := range [][]string{
		{"get", "hosts,sourcegroups,schedules,hostjobs,schedulesets,repomaintenances", "-n", scenario.Namespace},
		{"get", "events", "-n", scenario.Namespace, "--sort-by=.metadata.creationTimestamp"},
	} {
		out, err := s.CP.Kubectl(ctx, args...)
		if err != nil {
			return err
		}
		print("\n$ kubectl %s %s %s %s\n%s", args[0], args[1], args[2], args[3], out)
	}
	return nil
}

// printLogs shows the ends of the programs' logs after a failure.
func printLogs(s *stack.Stack, r *scenario.Run) {
	processes := map[string]*env.Process{"controller": s.Controller}
	for _, g := range s.Replicas {
		processes[g.Instance] = g.Process
	}
	if r.Agent != nil {
		processes["agent"] = r.Agent.Process
	}
	for name, p := range processes {
		if p != nil {
			print("\n--- end of the log of %s (%s)\n%s", name, filepath.Base(p.LogFile), p.LogTail())
		}
	}
}
