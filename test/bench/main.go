package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

// scene is a part of the benchmark.
type scene struct {
	name string
	run  func(*world) ([]row, error)
	// alone: it needs no fleet.
	alone bool
}

// scenes in the order in which they run: what changes the fleet for good comes last.
var scenes = []scene{
	{name: "agent", run: agent, alone: true},
	{name: "idle", run: idle}, {name: "change", run: change}, {name: "backups", run: backups}, {name: "store", run: store},
	{name: "wave", run: wave}, {name: "storm", run: storm}, {name: "restart", run: restart},
}

func main() {
	if run, ok := role(os.Args); ok {
		if err := run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	agents := flag.Int("agents", 2000, "simulated agents")
	replicas := flag.Int("replicas", 1, "replicas of the gateway, over which the agents are spread")
	page := flag.String("page", "", "file whose tables, between the marks of this program, are written anew")
	keep := flag.Bool("keep", false, "keep the folder with logs")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: bench [flags] [scene...]\nscenes: %s\n", strings.Join(names(), ", "))
		flag.PrintDefaults()
	}
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *agents, *replicas, *page, *keep, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func names() []string {
	var all []string
	for _, s := range scenes {
		all = append(all, s.name)
	}
	return all
}

func run(ctx context.Context, agents, replicas int, page string, keep bool, want []string) (err error) {
	for _, name := range want {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("there is no scene %q: they are %s", name, strings.Join(names(), ", "))
		}
	}
	dir, err := os.MkdirTemp("", "restic-manager-bench-")
	if err != nil {
		return err
	}
	if !keep {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	w, err := newWorld(ctx, dir, agents, replicas)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	var rows []row
	for _, s := range scenes {
		if len(want) > 0 && !slices.Contains(want, s.name) {
			continue
		}
		if !s.alone && w.fleet == nil {
			if err := w.settle(); err != nil {
				return err
			}
		}
		began := time.Now()
		w.logf("scene %s", s.name)
		got, err := s.run(w)
		if err != nil {
			return fmt.Errorf("scene %s: %w", s.name, err)
		}
		w.logf("scene %s took %s\n%s", s.name, span(time.Since(began)), terminal(got))
		rows = append(rows, got...)
	}
	name, of := fmt.Sprintf("swarm-%d", agents), fmt.Sprintf("%d agents", agents)
	switch {
	case w.fleet == nil:
		name, of = "agent", "one real agent"
	case replicas > 1:
		name, of = fmt.Sprintf("%s-%d", name, replicas), fmt.Sprintf("%s on %d replicas of the gateway", of, replicas)
	}
	fmt.Println(title(of))
	fmt.Print(terminal(rows))
	if page == "" {
		return nil
	}
	return writePage(page, name, title(of)+"\n\n"+markdown(rows))
}

func logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
